INSERT INTO port_override (device_id, service, protocol, first_port, last_port, label, allowed, until, reason, decided_by, decided_at)
VALUES (:device_id, :service, :protocol, :first_port, :last_port, :label, :allowed, :until, :reason, :decided_by, :decided_at);
