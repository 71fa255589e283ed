UPDATE device
SET state = :state
WHERE id = :id;
