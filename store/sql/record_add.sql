INSERT INTO audit (seq, at, actor, session, source, kind, device_id, tunnel_id, target, result, reason, detail, hash)
VALUES (:seq, :at, :actor, :session, :source, :kind, :device_id, :tunnel_id, :target, :result, :reason, :detail, :hash);
