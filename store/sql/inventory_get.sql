SELECT at, document
FROM inventory
WHERE device_id = :device_id;
