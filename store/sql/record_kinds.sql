-- One look into the index for each kind, however many lines there are.
WITH RECURSIVE found (kind) AS (
    SELECT min(kind) FROM audit
    UNION ALL
    SELECT (SELECT min(kind) FROM audit WHERE audit.kind > found.kind) FROM found WHERE found.kind IS NOT NULL
)
SELECT kind
FROM found
WHERE kind IS NOT NULL;
