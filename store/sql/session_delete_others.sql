DELETE FROM session
WHERE operator_id = :operator_id
  AND id <> :id;
