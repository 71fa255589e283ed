UPDATE session
SET seen_at = max(seen_at, :seen_at)
WHERE id = :id;
