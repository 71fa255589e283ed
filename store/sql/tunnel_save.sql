UPDATE tunnel
SET state = :state,
    up_at = coalesce(:up_at, up_at),
    steps = coalesce(:steps, steps)
WHERE id = :id
  AND ended_at IS NULL;
