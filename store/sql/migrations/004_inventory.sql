-- What the devices are made of, each as it said last. The engine does not ask what is in
-- a document, only that it is one.
CREATE TABLE inventory (
    device_id TEXT    NOT NULL PRIMARY KEY REFERENCES device (id) ON DELETE CASCADE,
    at        INTEGER NOT NULL,
    document  TEXT    NOT NULL CHECK (length(CAST(document AS BLOB)) <= 65536 AND json_valid(document))
) STRICT, WITHOUT ROWID;
