UPDATE device
SET virtual_ip = :virtual_ip
WHERE id = :id;
