-- The lowest address that follows a given one, or the first when that is free.
SELECT CASE
         WHEN NOT EXISTS (SELECT 1 FROM lease WHERE address = :first) THEN :first
         ELSE (SELECT given.address + 1
               FROM lease AS given
               WHERE given.address BETWEEN :first AND :last - 1
                 AND NOT EXISTS (SELECT 1 FROM lease AS next WHERE next.address = given.address + 1)
               ORDER BY given.address
               LIMIT 1)
       END AS address;
