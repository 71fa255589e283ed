SELECT d.ports_revision, o.service, o.protocol, o.first_port, o.last_port, o.label, o.allowed, o.until, o.reason, o.decided_by, o.decided_at
FROM device AS d
LEFT JOIN port_override AS o ON o.device_id = d.id
WHERE d.id = :device_id
ORDER BY o.service, o.first_port, o.last_port, o.protocol;
