-- ---
-- title = "Late stores"
-- description = "Open stores whose sales are behind the last business date that any store has, and by how many days. A whole region that is late is a file that did not come; one store is a till that did not close."
-- display = "table"
-- [formats]
-- "Sales up to" = "date"
-- "Days behind" = "count"
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    {% if level == "chain" %}a.brand, {% endif %}a.store_id,
    a.store_name AS "Name",
    a.region AS "Region",
    a.business_date AS "Sales up to",
    l.business_date - a.business_date AS "Days behind"
FROM {{ schema }}.as_of AS a
CROSS JOIN latest AS l
WHERE {{ in_scope("a") }}
  AND a.business_date IS DISTINCT FROM l.business_date
  AND (a.closed_on IS NULL OR a.closed_on >= l.business_date)
ORDER BY l.business_date - a.business_date DESC NULLS FIRST, a.store_id
