SELECT operator.id, operator.name, operator.password_hash, operator.role, operator.sites, operator.created_at
FROM identity
JOIN operator ON operator.id = identity.operator_id
WHERE identity.issuer = :issuer
  AND identity.subject = :subject;
