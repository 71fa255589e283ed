-- One that an operator has approved comes first, then the newest.
SELECT id, pin, state, hostname, os, os_version, arch, agent_version, link, machine, site, replaces, virtual_ip, created_at, last_seen
FROM device
WHERE machine = :machine
  AND machine <> ''
  AND pin <> :pin
  AND state <> 'revoked'
ORDER BY state = 'pending', created_at DESC, id DESC
LIMIT 1;
