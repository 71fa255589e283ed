INSERT INTO operator (id, name, name_key, password_hash, role, sites, created_at)
VALUES (:id, :name, :name_key, :password_hash, :role, :sites, :created_at);
