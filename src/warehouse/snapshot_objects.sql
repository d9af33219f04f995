-- Everything but rows, by kind: how many, and a digest of their definitions.
-- What belongs to an extension is left out: it is in no dump.
WITH schemas AS (
    SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), relations AS (
    SELECT c.*, s.nspname FROM pg_catalog.pg_class c JOIN schemas s ON s.oid = c.relnamespace
    WHERE c.relpersistence <> 't'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
), described (kind, text) AS (
    SELECT 'views', nspname || '.' || relname || ' ' || pg_catalog.pg_get_viewdef(oid) || coalesce(reloptions::text, '')
    FROM relations WHERE relkind IN ('v', 'm')
    UNION ALL
    SELECT 'indexes', pg_catalog.pg_get_indexdef(oid) FROM relations WHERE relkind IN ('i', 'I')
    UNION ALL
    SELECT 'sequences', nspname || '.' || relname FROM relations WHERE relkind = 'S'
    UNION ALL
    SELECT 'constraints', r.nspname || '.' || r.relname || ' ' || c.conname || ' ' || pg_catalog.pg_get_constraintdef(c.oid)
    FROM pg_catalog.pg_constraint c JOIN relations r ON r.oid = c.conrelid
    UNION ALL
    SELECT 'columns', r.nspname || '.' || r.relname || ' ' || a.attname || ' '
        || pg_catalog.format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' '
        || coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid), '')
    FROM pg_catalog.pg_attribute a
    JOIN relations r ON r.oid = a.attrelid AND r.relkind IN ('r', 'p')
    LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'triggers', pg_catalog.pg_get_triggerdef(t.oid)
    FROM pg_catalog.pg_trigger t JOIN relations r ON r.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'functions', pg_catalog.pg_get_functiondef(p.oid)
    FROM pg_catalog.pg_proc p JOIN schemas s ON s.oid = p.pronamespace
    WHERE p.prokind IN ('f', 'p')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    -- The walls: which tables have one, and what each policy says to whom.
    SELECT 'walls', nspname || '.' || relname FROM relations WHERE relkind IN ('r', 'p') AND relrowsecurity
    UNION ALL
    SELECT 'policies', r.nspname || '.' || r.relname || ' ' || p.polname || ' ' || p.polcmd::text || ' ' || p.polpermissive
        || ' ' || ARRAY(SELECT CASE WHEN member = 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(member)::text END
                        FROM unnest(p.polroles) AS member ORDER BY 1)::text
        || ' ' || coalesce(pg_catalog.pg_get_expr(p.polqual, p.polrelid), '')
        || ' ' || coalesce(pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid), '')
    FROM pg_catalog.pg_policy p JOIN relations r ON r.oid = p.polrelid
    UNION ALL
    -- Rights of others than the owner, who may be another one after a restore.
    SELECT 'rights', r.nspname || '.' || r.relname || ' ' || a.privilege_type || ' '
        || CASE WHEN a.grantee = 0 THEN 'public' ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END
    FROM relations r, pg_catalog.aclexplode(r.relacl) a
    WHERE r.relkind IN ('r', 'p', 'v', 'm') AND a.grantee <> r.relowner
)
SELECT kind, count(*) AS count,
       encode(sha256(convert_to(string_agg(text, E'\n' ORDER BY text COLLATE "C"), 'UTF8')), 'hex') AS digest
FROM described GROUP BY kind ORDER BY kind
