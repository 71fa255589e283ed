-- Times are integers of nanoseconds since 1970 in UTC. Virtual IP addresses are
-- IPv4 addresses as integers. Hashes are SHA-256.

CREATE TABLE operator (
    id            TEXT    NOT NULL PRIMARY KEY,
    name          TEXT    NOT NULL CHECK (name <> ''),
    name_key      TEXT    NOT NULL UNIQUE,  -- the name in lower case
    password_hash TEXT    NOT NULL,
    role          TEXT    NOT NULL CHECK (role <> ''),
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE session (
    id          TEXT    NOT NULL PRIMARY KEY,
    token_hash  BLOB    NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    operator_id TEXT    NOT NULL REFERENCES operator (id) ON DELETE CASCADE,
    created_at  INTEGER NOT NULL,
    seen_at     INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    remote_addr TEXT    NOT NULL,
    user_agent  TEXT    NOT NULL
) STRICT;

CREATE INDEX session_operator ON session (operator_id);

CREATE TABLE api_token (
    id          TEXT    NOT NULL PRIMARY KEY,
    token_hash  BLOB    NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    operator_id TEXT    NOT NULL REFERENCES operator (id) ON DELETE CASCADE,
    label       TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,
    expires_at  INTEGER  -- NULL: never
) STRICT;

CREATE INDEX api_token_operator ON api_token (operator_id);

CREATE TABLE code (
    id           TEXT    NOT NULL PRIMARY KEY,
    code_hash    BLOB    NOT NULL UNIQUE CHECK (length(code_hash) = 32),
    uses         INTEGER NOT NULL CHECK (uses BETWEEN 1 AND 10000),
    used         INTEGER NOT NULL CHECK (used BETWEEN 0 AND uses),
    auto_approve INTEGER NOT NULL CHECK (auto_approve IN (0, 1)),
    site         TEXT    NOT NULL,
    created_by   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE device (
    id            TEXT    NOT NULL PRIMARY KEY,
    pin           TEXT    NOT NULL UNIQUE CHECK (length(pin) = 52),
    state         TEXT    NOT NULL CHECK (state IN ('pending', 'active', 'quarantined', 'revoked')),
    hostname      TEXT    NOT NULL,
    os            TEXT    NOT NULL,
    os_version    TEXT    NOT NULL,
    arch          TEXT    NOT NULL,
    agent_version TEXT    NOT NULL,
    link          TEXT    NOT NULL,
    machine       TEXT    NOT NULL,
    site          TEXT    NOT NULL,
    virtual_ip    INTEGER UNIQUE REFERENCES lease (address),  -- the one in use
    created_at    INTEGER NOT NULL,
    last_seen     INTEGER
) STRICT;

CREATE INDEX device_hostname ON device (hostname COLLATE NOCASE, id);
CREATE INDEX device_pending ON device (state) WHERE state = 'pending';

-- An address that was given once belongs to that device for good. A device has
-- several when the engine's pool was changed.
CREATE TABLE lease (
    address   INTEGER NOT NULL PRIMARY KEY CHECK (address BETWEEN 1 AND 4294967294),
    device_id TEXT    NOT NULL REFERENCES device (id),
    given_at  INTEGER NOT NULL
) STRICT;

CREATE INDEX lease_device ON lease (device_id, address);

CREATE TABLE tunnel (
    id             TEXT    NOT NULL PRIMARY KEY,
    device_id      TEXT    NOT NULL REFERENCES device (id),
    operator       TEXT    NOT NULL,
    token_id       TEXT    NOT NULL UNIQUE,
    virtual_ip     INTEGER,
    state          TEXT    NOT NULL CHECK (state <> ''),
    reason         TEXT    NOT NULL,
    requested_at   INTEGER NOT NULL,
    up_at          INTEGER,
    ended_at       INTEGER CHECK ((ended_at IS NULL) = (state <> 'ended')),
    received_bytes INTEGER NOT NULL CHECK (received_bytes >= 0),
    sent_bytes     INTEGER NOT NULL CHECK (sent_bytes >= 0),
    steps          TEXT    NOT NULL CHECK (json_valid(steps))
) STRICT;

CREATE INDEX tunnel_device ON tunnel (device_id, requested_at);
CREATE UNIQUE INDEX tunnel_open_device ON tunnel (device_id) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX tunnel_open_address ON tunnel (virtual_ip) WHERE ended_at IS NULL;

CREATE TABLE tunnel_token (
    id         TEXT    NOT NULL PRIMARY KEY,
    tunnel_id  TEXT    NOT NULL UNIQUE REFERENCES tunnel (id),
    state      TEXT    NOT NULL CHECK (state IN ('issued', 'used', 'void')),
    expires_at INTEGER NOT NULL,
    used_at    INTEGER CHECK ((used_at IS NOT NULL) = (state = 'used'))
) STRICT;

-- What happened stays recorded whatever becomes of the rows that it names.
CREATE TABLE activity (
    id        INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at        INTEGER NOT NULL,
    device_id TEXT,
    tunnel_id TEXT,
    actor     TEXT    NOT NULL,
    kind      TEXT    NOT NULL CHECK (kind <> ''),
    reason    TEXT    NOT NULL,
    detail    TEXT    NOT NULL
) STRICT;

CREATE INDEX activity_device ON activity (device_id, id);

CREATE TRIGGER activity_keep BEFORE DELETE ON activity
BEGIN
    SELECT raise(ABORT, 'activity is never deleted');
END;

CREATE TRIGGER activity_fixed BEFORE UPDATE ON activity
BEGIN
    SELECT raise(ABORT, 'activity is never changed');
END;

CREATE TABLE setting (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;
