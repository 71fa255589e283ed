SELECT count(*) AS count
FROM sqlite_schema;
