UPDATE tunnel_token
SET state = 'void'
WHERE tunnel_id = :tunnel_id
  AND state = 'issued';
