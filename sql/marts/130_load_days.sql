-- rights: owner
-- Rows that the loads of each day (UTC) brought, by pipeline. For the readers of the whole
-- brand and above: a store's reader gets no row.
SELECT
    (l.committed_at AT TIME ZONE 'UTC')::date AS loaded_on,
    l.pipeline,
    count(*) AS loads,
    sum(l.rows_inserted)::bigint AS rows_new,
    sum(l.rows_updated)::bigint AS rows_changed,
    sum(l.rows_deleted)::bigint AS rows_removed
FROM ops.loads AS l
WHERE l.brand = {{ brand }}
  AND coalesce((SELECT w.scope FROM walls.roles AS w WHERE w.role_name = current_user), 'owner')
      IN ('owner', 'chain', 'brand:' || {{ brand }})
GROUP BY 1, 2
