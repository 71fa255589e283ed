SELECT id, operator_id, label, created_at, expires_at
FROM api_token
WHERE id = :id;
