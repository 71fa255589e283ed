SELECT seq, at, actor, session, source, kind, device_id, tunnel_id, target, result, reason, detail, hash,
       (SELECT hostname FROM device WHERE device.id = audit.device_id) AS hostname
FROM audit
WHERE tunnel_id IN (SELECT value FROM json_each(:tunnel_ids))
ORDER BY seq;
