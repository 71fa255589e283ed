SELECT address
FROM lease
WHERE device_id = :device_id
  AND address BETWEEN :first AND :last
ORDER BY address
LIMIT 1;
