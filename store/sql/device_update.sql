UPDATE device
SET hostname      = :hostname,
    os            = :os,
    os_version    = :os_version,
    arch          = :arch,
    agent_version = :agent_version,
    link          = :link,
    last_seen     = max(coalesce(last_seen, :seen), :seen)
WHERE id = :id;
