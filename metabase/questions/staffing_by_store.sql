-- ---
-- title = "Hours of the next 7 days by store"
-- description = "Planned against required hours, the days without a plan left out. A store with little on balance and much off plan has its people at the wrong time. Stores that are the most off come first."
-- display = "table"
-- [formats]
-- "Labor % required" = "percent"
-- "Labor % planned" = "percent"
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    concat_ws(' ', d.store_id, d.store_name) AS "Store",
    count(d.scheduled_hours) AS "Days planned",
    sum(d.required_hours) FILTER (WHERE d.scheduled_hours IS NOT NULL) AS "Required",
    sum(d.scheduled_hours) AS "Planned",
    sum(d.net_variance) AS "On balance",
    sum(d.absolute_variance) AS "Off plan",
    round(
        sum(d.required_hours * d.wage) FILTER (WHERE d.scheduled_hours IS NOT NULL)
        / nullif(sum(d.expected_sales) FILTER (WHERE d.scheduled_hours IS NOT NULL), 0), 4
    ) AS "Labor % required",
    round(
        sum(d.scheduled_hours * d.wage)
        / nullif(sum(d.expected_sales) FILTER (WHERE d.scheduled_hours IS NOT NULL), 0), 4
    ) AS "Labor % planned",
    d.store_id
FROM {{ schema }}.staffing_by_day AS d
WHERE {{ in_scope("d") }}
  AND d.business_date > (SELECT l.business_date FROM latest AS l)
  AND d.business_date <= (SELECT l.business_date FROM latest AS l) + 7
GROUP BY d.store_id, d.store_name
ORDER BY "Off plan" DESC NULLS LAST
