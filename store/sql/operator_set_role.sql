UPDATE operator
SET role  = :role,
    sites = :sites
WHERE id = :id;
