DELETE FROM passkey
WHERE operator_id = :operator_id;
