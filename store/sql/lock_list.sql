SELECT kind, target, name, reason, locked_by, at, until
FROM lock
WHERE until IS NULL
   OR until > :now
ORDER BY at DESC, kind, target;
