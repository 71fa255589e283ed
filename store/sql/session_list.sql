SELECT id, operator_id, method, created_at, seen_at, expires_at, verified_at, shell_at, remote_addr, user_agent
FROM session
WHERE :operator_id = ''
   OR operator_id = :operator_id
ORDER BY created_at DESC, id DESC;
