INSERT INTO identity (issuer, subject, operator_id)
VALUES (:issuer, :subject, :operator_id);
