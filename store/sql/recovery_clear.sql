DELETE FROM recovery_code
WHERE operator_id = :operator_id;
