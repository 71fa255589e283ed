INSERT INTO lease (address, device_id, given_at)
VALUES (:address, :device_id, :given_at);
