SELECT id, name, password_hash, role, sites, created_at
FROM operator
ORDER BY name_key;
