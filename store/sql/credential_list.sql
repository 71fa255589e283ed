SELECT id AS key, operator_id AS value
FROM session
WHERE expires_at > :now
UNION ALL
SELECT id, operator_id
FROM api_token
WHERE expires_at IS NULL
   OR expires_at > :now;
