SELECT seq, hash, at, key, vouch, signature
FROM audit_checkpoint
ORDER BY seq DESC
LIMIT 1;
