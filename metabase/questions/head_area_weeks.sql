-- ---
-- title = "Areas, week by week"
-- description = "Net sales of each brand of the chain, or each region of a brand, in the last eight full weeks, on top of each other: how much of the whole each one carries."
-- display = "bar"
-- x = ["Week", "Area"]
-- y = ["Net sales"]
-- stack = "stacked"
-- [formats]
-- "Net sales" = "money"
-- "Week" = "date"
-- ---
WITH latest AS (
    SELECT date_trunc('week', max(x.business_date) + 1)::date AS week_start
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    date_trunc('week', d.business_date)::date AS "Week",
    {% if level == "chain" %}initcap(d.brand){% else %}coalesce(d.region, 'No region'){% endif %} AS "Area",
    sum(d.net_sales) AS "Net sales"
FROM {{ schema }}.sales_by_day AS d
WHERE {{ in_scope("d") }}
  AND d.business_date >= (SELECT l.week_start FROM latest AS l) - 56
  AND d.business_date < (SELECT l.week_start FROM latest AS l)
GROUP BY 1, 2
ORDER BY 1, 2
