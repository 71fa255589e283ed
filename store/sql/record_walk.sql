SELECT seq, at, actor, session, source, kind, device_id, tunnel_id, target, result, reason, detail, hash, '' AS hostname
FROM audit
WHERE seq > :after
ORDER BY seq
LIMIT :limit;
