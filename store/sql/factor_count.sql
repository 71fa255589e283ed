SELECT EXISTS (SELECT 1 FROM totp WHERE operator_id = :operator_id)            AS totp,
       (SELECT count(*) FROM recovery_code WHERE operator_id = :operator_id) AS recovery;
