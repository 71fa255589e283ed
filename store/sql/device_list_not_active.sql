SELECT id AS key, state AS value
FROM device
WHERE state IN ('pending', 'quarantined', 'revoked');
