-- rights: owner
-- Rows that are refused and still open, by pipeline, column and rule; no value of any row. For
-- the readers of the whole brand and above: a store's reader gets no row.
SELECT
    q.pipeline,
    q.column_name,
    q.rule,
    count(*) AS refusals,
    min(r.started_at) AS first_at,
    max(r.started_at) AS last_at
FROM ops.quarantine AS q
JOIN ops.runs AS r ON r.run_id = q.run_id
WHERE q.brand = {{ brand }} AND q.state = 'open'
  AND coalesce((SELECT w.scope FROM walls.roles AS w WHERE w.role_name = current_user), 'owner')
      IN ('owner', 'chain', 'brand:' || {{ brand }})
GROUP BY 1, 2, 3
