UPDATE device
SET last_seen = max(coalesce(last_seen, :seen), :seen)
WHERE id = :id;
