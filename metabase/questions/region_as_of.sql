-- ---
-- title = "As of"
-- description = "The last business date of the region, how many of its open stores have reported it, and which have not."
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
        count(*) FILTER (WHERE a.business_date = l.business_date) || ' of ' || count(*) || ' stores reported',
        'missing: ' || string_agg(a.store_id, ', ' ORDER BY a.store_id)
            FILTER (WHERE a.business_date IS DISTINCT FROM l.business_date)
    ) AS "As of",
    string_agg(a.store_id, ',' ORDER BY a.store_id) AS stores
FROM {{ schema }}.as_of AS a
CROSS JOIN latest AS l
WHERE {{ in_scope("a") }} AND (a.closed_on IS NULL OR a.closed_on >= l.business_date)
