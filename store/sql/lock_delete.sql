DELETE FROM lock
WHERE kind = :kind
  AND target = :target;
