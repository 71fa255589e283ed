SELECT id, name, password_hash, role, created_at
FROM operator
WHERE name_key = :name_key;
