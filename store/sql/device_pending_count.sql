SELECT count(*) AS count
FROM device
WHERE state = 'pending';
