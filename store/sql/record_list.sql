-- A line with AND is left out when its argument is not given. The plus keeps SQLite
-- from sorting all lines of a site to find the newest.
SELECT seq, at, actor, session, source, kind, device_id, tunnel_id, target, result, reason, detail, hash,
       (SELECT hostname FROM device WHERE device.id = audit.device_id) AS hostname
FROM audit
WHERE true
  AND device_id IS NOT NULL AND :devices_only
  AND device_id = :device_id
  AND tunnel_id = :tunnel_id
  AND (tunnel_id IS NULL OR kind = :quiet)
  AND actor = :actor
  AND kind = :kind
  AND result = :result
  AND at >= :from
  AND at < :to
  AND seq < :before
  AND seq > :after
  AND +device_id IN (SELECT id FROM device WHERE site IN (SELECT value FROM json_each(:sites)))
  AND (instr(lower(concat_ws(' ', actor, source, kind, target, reason, detail)), lower(:text)) > 0 OR device_id IN (SELECT id FROM device WHERE instr(lower(hostname), lower(:text)) > 0))
ORDER BY seq DESC
LIMIT :limit;
