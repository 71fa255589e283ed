DELETE FROM passkey
WHERE id = :id
  AND operator_id = :operator_id;
