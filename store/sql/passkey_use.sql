UPDATE passkey
SET credential = :credential,
    used_at    = :used_at
WHERE id = :id;
