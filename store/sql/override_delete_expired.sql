DELETE FROM port_override
WHERE until <= :now;
