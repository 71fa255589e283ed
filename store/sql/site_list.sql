SELECT DISTINCT site
FROM device
WHERE site <> ''
ORDER BY site;
