INSERT INTO api_token (id, token_hash, operator_id, label, created_at, expires_at)
VALUES (:id, :token_hash, :operator_id, :label, :created_at, :expires_at);
