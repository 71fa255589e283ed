SELECT count(*) AS count
FROM device
WHERE :text = ''
   OR instr(lower(hostname), lower(:text)) > 0
   OR instr(lower(site), lower(:text)) > 0
   OR instr(lower(os), lower(:text)) > 0
   OR id = :text
   OR virtual_ip = :address;
