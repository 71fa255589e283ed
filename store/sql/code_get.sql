SELECT id, uses, used, auto_approve, site, created_by, created_at, expires_at
FROM code
WHERE id = :id;
