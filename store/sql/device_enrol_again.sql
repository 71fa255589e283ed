UPDATE device
SET state         = :state,
    hostname      = :hostname,
    os            = :os,
    os_version    = :os_version,
    arch          = :arch,
    agent_version = :agent_version,
    link          = :link,
    machine       = :machine,
    site          = :site,
    replaces      = :replaces,
    last_seen     = :last_seen
WHERE id = :id;
