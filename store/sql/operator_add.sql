INSERT INTO operator (id, name, name_key, password_hash, role, created_at)
VALUES (:id, :name, :name_key, :password_hash, :role, :created_at);
