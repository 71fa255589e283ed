SELECT state, count(*) AS count
FROM device
GROUP BY state;
