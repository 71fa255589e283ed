INSERT INTO code (id, code_hash, uses, used, auto_approve, site, created_by, created_at, expires_at)
VALUES (:id, :code_hash, :uses, 0, :auto_approve, :site, :created_by, :created_at, :expires_at);
