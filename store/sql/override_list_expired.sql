SELECT device_id, service, protocol, first_port, last_port, label, allowed, until, reason, decided_by, decided_at
FROM port_override
WHERE until <= :now
ORDER BY device_id, until, service, first_port, last_port, protocol;
