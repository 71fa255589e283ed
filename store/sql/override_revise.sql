UPDATE device
SET ports_revision = ports_revision + 1
WHERE id = :device_id;
