SELECT activity.id,
       activity.at,
       activity.device_id,
       activity.tunnel_id,
       activity.actor,
       activity.kind,
       activity.reason,
       activity.detail,
       device.hostname
FROM activity
LEFT JOIN device ON device.id = activity.device_id
WHERE activity.device_id = :device_id
  AND (:before = 0 OR activity.id < :before)
ORDER BY activity.id DESC
LIMIT :limit;
