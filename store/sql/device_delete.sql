DELETE FROM device
WHERE id = :id
  AND state = 'pending';
