DELETE FROM api_token
WHERE id = :id;
