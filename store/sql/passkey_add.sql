INSERT INTO passkey (id, operator_id, name, rp_id, credential_id, credential, added_at, used_at)
VALUES (:id, :operator_id, :name, :rp_id, :credential_id, :credential, :added_at, :used_at);
