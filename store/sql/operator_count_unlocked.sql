SELECT count(*) AS count
FROM operator
WHERE role = :role
  AND NOT EXISTS (SELECT 1
                  FROM lock
                  WHERE lock.kind = 'operator'
                    AND lock.target = operator.id
                    AND (lock.until IS NULL OR lock.until > :now));
