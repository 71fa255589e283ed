INSERT INTO inventory (device_id, at, document)
SELECT id, :at, :document
FROM device
WHERE id = :device_id
ON CONFLICT (device_id) DO UPDATE
SET at = excluded.at,
    document = excluded.document;
