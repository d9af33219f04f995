-- Everything that could show rows, but for the system's own and for what extensions bring.
SELECT n.nspname::text AS schema, c.relname::text AS name,
       CASE WHEN c.relispartition THEN 'partition' ELSE c.relkind::text END AS kind,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'store_id' AND NOT a.attisdropped)
           AS by_store,
       EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'brand' AND NOT a.attisdropped)
           AS by_brand,
       false AS as_of, NULL::text AS signature
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND NOT starts_with(n.nspname::text, 'pg_temp')
  AND NOT starts_with(n.nspname::text, 'pg_toast_temp')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
UNION ALL
SELECT n.nspname::text, p.proname::text, 'function',
       coalesce('store_id' = ANY (p.proargnames[p.pronargs + 1:]), false)
           OR EXISTS (SELECT FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid
                      WHERE t.oid = p.prorettype AND a.attname = 'store_id' AND NOT a.attisdropped),
       coalesce('brand' = ANY (p.proargnames[p.pronargs + 1:]), false),
       p.prokind = 'f' AND p.proretset AND p.proname::text LIKE '%\_as\_of'
           AND p.pronargs = 1 AND p.proargtypes[0] = 'timestamptz'::regtype,
       p.oid::text
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT starts_with(n.nspname::text, 'pg_temp')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 1, 2, 3
