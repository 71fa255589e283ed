INSERT INTO device (id, pin, state, hostname, os, os_version, arch, agent_version, link, machine, site, replaces, created_at, last_seen)
VALUES (:id, :pin, :state, :hostname, :os, :os_version, :arch, :agent_version, :link, :machine, :site, :replaces, :created_at, :last_seen);
