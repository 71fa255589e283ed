UPDATE session
SET token_hash  = :token_hash,
    verified_at = :verified_at
WHERE id = :id;
