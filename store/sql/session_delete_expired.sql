DELETE FROM session
WHERE seen_at < :idle_before
   OR expires_at <= :now;
