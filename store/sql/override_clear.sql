DELETE FROM port_override
WHERE device_id = :device_id;
