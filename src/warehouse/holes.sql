-- What the catalog shows to be open. $1: roles that only read, those without a scope too;
-- $2: the brands' schemas; $3: those of $1 that may sign in.
-- Counting finds what is open now; this finds what would open with the next right given.
WITH spaces AS (
    SELECT oid, nspname::text AS name, nspname = ANY($2) AS brand, nspacl AS acl, nspowner AS owner
    FROM pg_namespace WHERE nspname = ANY($2 || ARRAY['access', 'mart_all', 'ops', 'walls'])
), relations AS (
    SELECT s.name || '.' || c.relname AS path, s.brand OR s.name = 'mart_all' AS rows_of_brands, c.*,
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'store_id'
                   AND NOT a.attisdropped) AS by_store
    FROM pg_class c JOIN spaces s ON s.oid = c.relnamespace
), rights AS (
    SELECT 'schema ' || s.name AS what, 'USAGE' AS usual, a.grantee, a.privilege_type, a.is_grantable
    FROM spaces s, aclexplode(s.acl) a
    UNION ALL
    SELECT path, 'SELECT', a.grantee, a.privilege_type, a.is_grantable FROM relations r, aclexplode(r.relacl) a
    UNION ALL
    SELECT path || '.' || t.attname, 'SELECT', a.grantee, a.privilege_type, a.is_grantable
    FROM relations r JOIN pg_attribute t ON t.attrelid = r.oid AND NOT t.attisdropped, aclexplode(t.attacl) a
    UNION ALL
    SELECT s.name || '.' || p.proname || '()', 'EXECUTE', a.grantee, a.privilege_type, a.is_grantable
    FROM pg_proc p JOIN spaces s ON s.oid = p.pronamespace,
         aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
)
SELECT 'PUBLIC' AS who, what, 'may ' || privilege_type AS how FROM rights WHERE grantee = 0
UNION ALL
SELECT r.rolname::text, what, 'may ' || privilege_type || CASE WHEN is_grantable THEN ' and pass it on' ELSE '' END
FROM rights JOIN pg_roles r ON r.oid = grantee
WHERE r.rolname = ANY($1) AND (privilege_type <> usual OR is_grantable)
UNION ALL
SELECT 'every reader', path, 'rows by store without row policies'
FROM relations
WHERE rows_of_brands AND by_store AND relkind IN ('r', 'p') AND NOT relispartition AND NOT starts_with(relname::text, '_')
  AND NOT (relrowsecurity AND relforcerowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = relations.oid))
UNION ALL
SELECT 'every reader', r.path, 'policy `' || p.polname || '` is not ours'
FROM relations r JOIN pg_policy p ON p.polrelid = r.oid
WHERE r.rows_of_brands AND p.polname NOT IN ('storekeeper_readers', 'storekeeper_owner')
UNION ALL
SELECT 'every reader', path, 'view that asks with its owner''s rights'
FROM relations
WHERE rows_of_brands AND relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY(reloptions), false)
  AND (by_store OR NOT coalesce(obj_description(oid, 'pg_class') LIKE 'rights: owner%', false))
UNION ALL
-- In any schema: it acts as its owner for everybody who may call it.
SELECT 'every reader', n.nspname || '.' || p.proname || '()', 'function that acts as its owner'
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
              LEFT JOIN pg_roles r ON r.oid = a.grantee
              WHERE a.privilege_type = 'EXECUTE' AND (a.grantee = 0 OR r.rolname = ANY($1)))
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT coalesce(r.rolname::text, 'PUBLIC'), 'what ' || pg_get_userbyid(d.defaclrole) || ' will make',
       'may ' || a.privilege_type || ' by default'
FROM pg_default_acl d, aclexplode(d.defaclacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
WHERE d.defaclobjtype <> 'T' AND (a.grantee = 0 OR r.rolname = ANY($1))
UNION ALL
SELECT rolname::text, 'the cluster', 'is more than a reader'
FROM pg_roles WHERE rolname = ANY($1) AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
UNION ALL
SELECT rolname::text, 'the database', 'signs in, and its scope is gone'
FROM pg_roles WHERE rolcanlogin AND rolname = ANY($1) AND rolname <> ALL($3)
UNION ALL
SELECT m.rolname::text, 'role ' || r.rolname, 'is a member of it'
FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
WHERE m.rolname = ANY($1)
UNION ALL
SELECT r.rolname::text, 'schema ' || n.nspname, 'may CREATE'
FROM pg_namespace n, pg_roles r
WHERE r.rolname = ANY($1) AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname NOT LIKE 'pg\_t%'
  AND has_schema_privilege(r.oid, n.oid, 'CREATE')
ORDER BY 1, 2, 3
