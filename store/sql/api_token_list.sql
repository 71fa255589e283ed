SELECT id, operator_id, label, created_at, expires_at
FROM api_token
WHERE :operator_id = ''
   OR operator_id = :operator_id
ORDER BY created_at DESC, id DESC;
