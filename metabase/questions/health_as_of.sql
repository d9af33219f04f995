-- ---
-- title = "As of"
-- description = "When the latest load was committed, how many pipelines ended their last run badly, how many rows wait in quarantine, and how many open stores have not reported the last business date."
-- display = "scalar"
-- y = ["As of"]
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
),
late AS (
    SELECT count(*) AS stores
    FROM {{ schema }}.as_of AS a
    CROSS JOIN latest AS l
    WHERE {{ in_scope("a") }}
      AND a.business_date IS DISTINCT FROM l.business_date AND (a.closed_on IS NULL OR a.closed_on >= l.business_date)
)
SELECT
    concat_ws(
        ' · ',
        coalesce('last load ' || to_char(max(p.last_load_at) AT TIME ZONE 'UTC', 'FMDay, DD FMMonth YYYY HH24:MI') || ' UTC', 'nothing loaded yet'),
        count(*) FILTER (WHERE p.last_status IN ('failed', 'interrupted', 'partial')) || ' of ' || count(*) || ' pipelines need somebody',
        coalesce(sum(p.rows_refused), 0) || ' rows refused',
        (SELECT t.stores FROM late AS t) || ' stores late'
    ) AS "As of"
FROM {{ schema }}.pipeline_health AS p
