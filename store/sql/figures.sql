-- Each is one step into an index, however long the trail is.
SELECT coalesce((SELECT max(seq) FROM audit), 0) AS records,
       coalesce((SELECT max(seq) FROM audit_checkpoint), 0) AS signed,
       (SELECT at FROM audit_checkpoint ORDER BY seq DESC LIMIT 1) AS signed_at,
       (SELECT at FROM audit WHERE kind = 'backup_made' ORDER BY seq DESC LIMIT 1) AS backup_at;
