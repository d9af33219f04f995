-- rights: owner
-- How each pipeline of this brand stands: its last run, its last load, what is still
-- refused. For the readers of the whole brand and above: a store's reader gets no row.
SELECT
    last.pipeline,
    last.status AS last_status,
    last.started_at AS last_run_at,
    loaded.committed_at AS last_load_at,
    loaded.rows_new,
    loaded.rows_changed,
    loaded.rows_removed,
    coalesce(refused.open_rows, 0) AS rows_refused,
    coalesce(failed.runs, 0) AS failed_runs
FROM (
    SELECT DISTINCT ON (r.pipeline) r.pipeline, r.status, r.started_at
    FROM ops.runs AS r
    WHERE r.brand = {{ brand }}
    ORDER BY r.pipeline, r.run_id DESC
) AS last
LEFT JOIN LATERAL (
    SELECT l.committed_at, l.rows_inserted AS rows_new, l.rows_updated AS rows_changed, l.rows_deleted AS rows_removed
    FROM ops.loads AS l
    WHERE l.brand = {{ brand }} AND l.pipeline = last.pipeline
    ORDER BY l.load_id DESC
    LIMIT 1
) AS loaded ON true
LEFT JOIN LATERAL (
    SELECT count(DISTINCT (q.file_id, q.source_row)) AS open_rows
    FROM ops.quarantine AS q
    WHERE q.brand = {{ brand }} AND q.pipeline = last.pipeline AND q.state = 'open'
) AS refused ON true
LEFT JOIN LATERAL (
    -- Of the week up to its last run: a pipeline that stopped keeps showing why.
    SELECT count(*) AS runs
    FROM ops.runs AS f
    WHERE f.brand = {{ brand }} AND f.pipeline = last.pipeline
      AND f.status IN ('failed', 'interrupted') AND f.started_at > last.started_at - interval '7 days'
) AS failed ON true
WHERE coalesce((SELECT w.scope FROM walls.roles AS w WHERE w.role_name = current_user), 'owner')
    IN ('owner', 'chain', 'brand:' || {{ brand }})
