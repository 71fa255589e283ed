-- Which ports of a device are open beyond the defaults of its operating system. The
-- revision grows with each change of a device's overrides.

ALTER TABLE device ADD COLUMN ports_revision INTEGER NOT NULL DEFAULT 0 CHECK (ports_revision >= 0);

-- What somebody decided about a built-in service, which has no port here, or about a
-- custom port, which has no service. A device without rows has the defaults; rows
-- that close everything are something else.
CREATE TABLE port_override (
    device_id  TEXT    NOT NULL REFERENCES device (id),
    service    TEXT    NOT NULL,
    protocol   TEXT    NOT NULL,
    first_port INTEGER NOT NULL,
    last_port  INTEGER NOT NULL,
    label      TEXT    NOT NULL CHECK (length(label) <= 64),
    allowed    INTEGER NOT NULL CHECK (allowed IN (0, 1)),
    until      INTEGER CHECK (until > 0),  -- NULL: never
    reason     TEXT    NOT NULL CHECK (length(reason) <= 200),
    decided_by TEXT    NOT NULL,
    decided_at INTEGER NOT NULL,
    PRIMARY KEY (device_id, service, protocol, first_port, last_port),
    CHECK (
        (service <> '' AND protocol = '' AND first_port = 0 AND last_port = 0 AND label = '')
        OR (service = '' AND protocol IN ('tcp', 'udp') AND first_port BETWEEN 1 AND last_port AND last_port <= 65535)
    )
) STRICT;

CREATE INDEX port_override_until ON port_override (until) WHERE until IS NOT NULL;
