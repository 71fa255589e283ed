UPDATE totp
SET step = :step
WHERE operator_id = :operator_id
  AND step < :step;
