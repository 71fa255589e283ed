UPDATE tunnel
SET state          = 'ended',
    reason         = :reason,
    ended_at       = :ended_at,
    received_bytes = :received_bytes,
    sent_bytes     = :sent_bytes,
    steps          = coalesce(:steps, steps)
WHERE id = :id
  AND ended_at IS NULL;
