DELETE FROM code
WHERE id = :id;
