SELECT id, pin, state, hostname, os, os_version, arch, agent_version, link, machine, site, replaces, virtual_ip, created_at, last_seen
FROM device
WHERE (:all OR site IN (SELECT value FROM json_each(:sites)))
  AND (:state = '' OR state = :state)
  AND (:text = ''
       OR instr(lower(hostname), lower(:text)) > 0
       OR instr(lower(site), lower(:text)) > 0
       OR instr(lower(os), lower(:text)) > 0
       OR id = :text
       OR virtual_ip = :address)
ORDER BY hostname COLLATE NOCASE, id
LIMIT :limit OFFSET :offset;
