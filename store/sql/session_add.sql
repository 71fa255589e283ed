INSERT INTO session (id, token_hash, operator_id, method, created_at, seen_at, expires_at, verified_at, shell_at, remote_addr, user_agent)
VALUES (:id, :token_hash, :operator_id, :method, :created_at, :seen_at, :expires_at, :verified_at, :shell_at, :remote_addr, :user_agent);
