INSERT INTO recovery_code (operator_id, code_hash)
VALUES (:operator_id, :code_hash);
