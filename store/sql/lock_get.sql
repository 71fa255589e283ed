SELECT kind, target, name, reason, locked_by, at, until
FROM lock
WHERE kind = :kind
  AND target = :target;
