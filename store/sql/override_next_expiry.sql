SELECT min(until) AS until
FROM port_override
WHERE until IS NOT NULL;
