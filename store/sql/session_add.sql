INSERT INTO session (id, token_hash, operator_id, created_at, seen_at, expires_at, remote_addr, user_agent)
VALUES (:id, :token_hash, :operator_id, :created_at, :seen_at, :expires_at, :remote_addr, :user_agent);
