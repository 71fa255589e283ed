UPDATE code
SET used = used + 1
WHERE id = :id
  AND used < uses;
