SELECT kind, target, name, reason, locked_by, at, until
FROM lock
WHERE until <= :now
ORDER BY until, kind, target;
