SELECT id, operator_id, name, rp_id, credential_id, credential, added_at, used_at
FROM passkey
WHERE operator_id = :operator_id
ORDER BY added_at, id;
