SELECT site
FROM device
WHERE site = :site
  AND site <> ''
LIMIT 1;
