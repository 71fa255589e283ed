SELECT id, operator_id, name, rp_id, credential_id, credential, added_at, used_at
FROM passkey
WHERE credential_id = :credential_id;
