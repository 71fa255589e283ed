INSERT INTO tunnel (id, device_id, operator, token_id, virtual_ip, state, reason, requested_at, up_at, ended_at, received_bytes, sent_bytes, steps)
VALUES (:id, :device_id, :operator, :token_id, :virtual_ip, :state, '', :requested_at, NULL, NULL, 0, 0, :steps);
