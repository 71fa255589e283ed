-- Who may do what, and a record of it that shows when it was tampered with.

ALTER TABLE operator ADD COLUMN sites TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(sites));  -- []: every site

ALTER TABLE session ADD COLUMN method TEXT NOT NULL DEFAULT 'password' CHECK (method IN ('password', 'passkey', 'oidc'));
ALTER TABLE session ADD COLUMN verified_at INTEGER;  -- when a second factor was last proven; NULL: never
ALTER TABLE session ADD COLUMN shell_at INTEGER;     -- when such a proof was last spent on a shell; NULL: never

-- The device that was known on the same machine when this one enrolled.
ALTER TABLE device ADD COLUMN replaces TEXT NOT NULL DEFAULT '';

CREATE INDEX device_machine ON device (machine) WHERE machine <> '';
CREATE INDEX device_site ON device (site);

-- Second factors. The secret is sealed before it comes here.
CREATE TABLE totp (
    operator_id TEXT    NOT NULL PRIMARY KEY REFERENCES operator (id) ON DELETE CASCADE,
    sealed      BLOB    NOT NULL CHECK (length(sealed) > 0),
    step        INTEGER NOT NULL,  -- the latest time step whose code was used
    added_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE passkey (
    id            TEXT    NOT NULL PRIMARY KEY,
    operator_id   TEXT    NOT NULL REFERENCES operator (id) ON DELETE CASCADE,
    name          TEXT    NOT NULL,
    rp_id         TEXT    NOT NULL,
    credential_id BLOB    NOT NULL UNIQUE CHECK (length(credential_id) > 0),
    credential    BLOB    NOT NULL CHECK (length(credential) > 0),
    added_at      INTEGER NOT NULL,
    used_at       INTEGER  -- NULL: never
) STRICT;

CREATE INDEX passkey_operator ON passkey (operator_id);

CREATE TABLE recovery_code (
    operator_id TEXT NOT NULL REFERENCES operator (id) ON DELETE CASCADE,
    code_hash   BLOB NOT NULL CHECK (length(code_hash) = 32),
    PRIMARY KEY (operator_id, code_hash)
) STRICT, WITHOUT ROWID;

-- As whom operators are known to an OpenID provider.
CREATE TABLE identity (
    issuer      TEXT NOT NULL CHECK (issuer <> ''),
    subject     TEXT NOT NULL CHECK (subject <> ''),
    operator_id TEXT NOT NULL REFERENCES operator (id) ON DELETE CASCADE,
    PRIMARY KEY (issuer, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX identity_operator ON identity (operator_id);

CREATE TABLE lock (
    kind      TEXT    NOT NULL CHECK (kind IN ('operator', 'device', 'site')),
    target    TEXT    NOT NULL CHECK (target <> ''),
    name      TEXT    NOT NULL,
    reason    TEXT    NOT NULL,
    locked_by TEXT    NOT NULL,
    at        INTEGER NOT NULL,
    until     INTEGER,  -- NULL: until it is lifted
    PRIMARY KEY (kind, target)
) STRICT, WITHOUT ROWID;

-- What happened stays recorded whatever becomes of the rows that it names. Each
-- line's hash covers the line and the hash of the line before.
CREATE TABLE audit (
    seq       INTEGER NOT NULL PRIMARY KEY CHECK (seq > 0),
    at        INTEGER NOT NULL,
    actor     TEXT    NOT NULL,
    session   TEXT    NOT NULL,
    source    TEXT    NOT NULL,
    kind      TEXT    NOT NULL CHECK (kind <> ''),
    device_id TEXT,   -- NULL: none
    tunnel_id TEXT,   -- NULL: none
    target    TEXT    NOT NULL,
    result    TEXT    NOT NULL CHECK (result IN ('done', 'refused', 'failed')),
    reason    TEXT    NOT NULL,
    detail    TEXT    NOT NULL,
    hash      BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE INDEX audit_device ON audit (device_id) WHERE device_id IS NOT NULL;
CREATE INDEX audit_tunnel ON audit (tunnel_id) WHERE tunnel_id IS NOT NULL;
CREATE INDEX audit_kind ON audit (kind);
CREATE INDEX audit_actor ON audit (actor);

-- Also keeps INSERT OR REPLACE from a line that is there, for that deletes without
-- the trigger below.
CREATE TRIGGER audit_next BEFORE INSERT ON audit
WHEN new.seq IS NOT (SELECT coalesce(max(seq), 0) + 1 FROM audit)
BEGIN
    SELECT raise(ABORT, 'audit lines are only ever appended');
END;

CREATE TRIGGER audit_keep BEFORE DELETE ON audit
BEGIN
    SELECT raise(ABORT, 'audit lines are never deleted');
END;

CREATE TRIGGER audit_fixed BEFORE UPDATE ON audit
BEGIN
    SELECT raise(ABORT, 'audit lines are never changed');
END;

-- The engine's signatures under the chain.
CREATE TABLE audit_checkpoint (
    seq       INTEGER NOT NULL PRIMARY KEY REFERENCES audit (seq),
    hash      BLOB    NOT NULL CHECK (length(hash) = 32),
    at        INTEGER NOT NULL,
    key       BLOB    NOT NULL,
    vouch     BLOB    NOT NULL,
    signature BLOB    NOT NULL
) STRICT;

CREATE TRIGGER audit_checkpoint_new BEFORE INSERT ON audit_checkpoint
WHEN EXISTS (SELECT 1 FROM audit_checkpoint WHERE seq = new.seq)
BEGIN
    SELECT raise(ABORT, 'there is a checkpoint of this line');
END;

CREATE TRIGGER audit_checkpoint_keep BEFORE DELETE ON audit_checkpoint
BEGIN
    SELECT raise(ABORT, 'checkpoints are never deleted');
END;

CREATE TRIGGER audit_checkpoint_fixed BEFORE UPDATE ON audit_checkpoint
BEGIN
    SELECT raise(ABORT, 'checkpoints are never changed');
END;
