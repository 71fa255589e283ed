INSERT INTO activity (at, device_id, tunnel_id, actor, kind, reason, detail)
VALUES (:at, :device_id, :tunnel_id, :actor, :kind, :reason, :detail);
