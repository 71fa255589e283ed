SELECT id, requested_at
FROM tunnel
WHERE ended_at IS NULL;
