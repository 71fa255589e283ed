SELECT id, pin, state, hostname, os, os_version, arch, agent_version, link, machine, site, replaces, virtual_ip, created_at, last_seen
FROM device
WHERE state = 'pending'
  AND created_at < :before
ORDER BY created_at, id;
