-- ---
-- title = "As of"
-- description = "The last business date of any store, and how many of the open stores have reported it. Numbers of stores that have not reported are missing from everything on this page that speaks of yesterday."
-- display = "scalar"
-- y = ["As of"]
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    concat_ws(
        ' · ',
        coalesce('sales up to ' || to_char(max(l.business_date), 'FMDay, DD FMMonth YYYY'), 'no sales loaded yet'),
        count(*) FILTER (WHERE a.business_date = l.business_date) || ' of ' || count(*) || ' open stores reported',
        'loaded ' || to_char(max(a.loaded_at) AT TIME ZONE 'UTC', 'FMDay HH24:MI') || ' UTC'
    ) AS "As of"
FROM {{ schema }}.as_of AS a
CROSS JOIN latest AS l
WHERE {{ in_scope("a") }} AND (a.closed_on IS NULL OR a.closed_on >= l.business_date)
