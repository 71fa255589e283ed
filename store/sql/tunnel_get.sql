SELECT id, device_id, operator, token_id, virtual_ip, state, reason, requested_at, up_at, ended_at, received_bytes, sent_bytes, steps
FROM tunnel
WHERE id = :id;
