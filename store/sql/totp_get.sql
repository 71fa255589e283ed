SELECT sealed
FROM totp
WHERE operator_id = :operator_id;
