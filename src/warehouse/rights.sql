-- Every right of PUBLIC and of the roles $2 on the schemas $1 and what is in them, and
-- which of those roles owns what. A missing list of rights stands for the default one.
WITH things AS (
    SELECT 'SCHEMA' AS kind, format('"%s"', replace(nspname, '"', '""')) AS name, NULL::text AS column_name,
           nspowner AS owner, coalesce(nspacl, acldefault('n', nspowner)) AS acl
    FROM pg_namespace WHERE nspname = ANY($1)
    UNION ALL
    SELECT CASE WHEN c.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
           format('"%s"."%s"', replace(n.nspname, '"', '""'), replace(c.relname, '"', '""')), NULL, c.relowner,
           coalesce(c.relacl, acldefault(CASE WHEN c.relkind = 'S' THEN 's'::"char" ELSE 'r'::"char" END, c.relowner))
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY($1) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT 'TABLE', format('"%s"."%s"', replace(n.nspname, '"', '""'), replace(c.relname, '"', '""')),
           a.attname::text, c.relowner, a.attacl
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = ANY($1) AND a.attacl IS NOT NULL AND NOT a.attisdropped
    UNION ALL
    SELECT 'ROUTINE', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)), NULL,
           p.proowner, coalesce(p.proacl, acldefault('f', p.proowner))
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = ANY($1)
)
SELECT t.kind, t.name, t.column_name, a.privilege_type AS privilege, coalesce(r.rolname::text, 'PUBLIC') AS grantee,
       a.grantee = t.owner AS owns
FROM things t, aclexplode(t.acl) a
LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE a.grantee = 0 OR r.rolname = ANY($2)
UNION ALL
-- An owner that took its own rights away is one all the same.
SELECT t.kind, t.name, NULL, '', r.rolname::text, true
FROM things t JOIN pg_roles r ON r.oid = t.owner
WHERE t.column_name IS NULL AND r.rolname = ANY($2)
