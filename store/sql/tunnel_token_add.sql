INSERT INTO tunnel_token (id, tunnel_id, state, expires_at)
VALUES (:id, :tunnel_id, 'issued', :expires_at);
