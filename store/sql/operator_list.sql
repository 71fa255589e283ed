SELECT id, name, password_hash, role, created_at
FROM operator
ORDER BY name_key;
