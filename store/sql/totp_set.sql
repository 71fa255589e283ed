INSERT INTO totp (operator_id, sealed, step, added_at)
VALUES (:operator_id, :sealed, :step, :added_at)
ON CONFLICT (operator_id) DO UPDATE SET sealed   = excluded.sealed,
                                        step     = excluded.step,
                                        added_at = excluded.added_at;
