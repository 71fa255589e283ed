SELECT id, name, password_hash, role, sites, created_at
FROM operator
WHERE id = :id;
