SELECT id, name, password_hash, role, created_at
FROM operator
WHERE id = :id;
