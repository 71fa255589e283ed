INSERT INTO lock (kind, target, name, reason, locked_by, at, until)
VALUES (:kind, :target, :name, :reason, :locked_by, :at, :until);
