SELECT id, operator_id, created_at, seen_at, expires_at, remote_addr, user_agent
FROM session
WHERE token_hash = :token_hash;
