UPDATE tunnel_token
SET state   = 'used',
    used_at = :now
WHERE id = :id
  AND state = 'issued'
  AND expires_at > :now;
