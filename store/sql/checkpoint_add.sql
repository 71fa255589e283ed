INSERT INTO audit_checkpoint (seq, hash, at, key, vouch, signature)
SELECT seq, hash, :at, :key, :vouch, :signature
FROM audit
WHERE seq = :seq
  AND hash = :hash;
