UPDATE session
SET shell_at = max(:now, verified_at)
WHERE id = :id
  AND verified_at >= :not_before
  AND (shell_at IS NULL OR shell_at < verified_at);
