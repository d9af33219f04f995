-- ---
-- title = "Stores reported"
-- description = "Open stores whose sales of the last business date are loaded, of all open stores. A store that is missing here is missing from every sum of yesterday."
-- display = "progress"
-- y = ["Reported"]
-- [formats]
-- "Reported" = "count"
-- [settings]
-- "progress.goal" = "Open stores"
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    count(*) FILTER (WHERE a.business_date = l.business_date) AS "Reported",
    count(*) AS "Open stores"
FROM {{ schema }}.as_of AS a
CROSS JOIN latest AS l
WHERE {{ in_scope("a") }} AND (a.closed_on IS NULL OR a.closed_on >= l.business_date)
