-- ---
-- title = "Week so far"
-- description = "Net sales of the region's stores together for each day of the current week, Monday to the last business date, next to the comparable days of last year. Stores that are new this year count this year only."
-- display = "bar"
-- x = ["Day"]
-- y = ["Net sales", "Last year"]
-- [formats]
-- "Net sales" = "money"
-- "Last year" = "money"
-- [settings]
-- "graph.x_axis.scale" = "ordinal"
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    to_char(d.business_date, 'Dy DD Mon') AS "Day",
    sum(d.net_sales) AS "Net sales",
    sum(d.net_sales_last_year) AS "Last year",
    string_agg(d.store_id, ',' ORDER BY d.store_id) AS stores
FROM {{ schema }}.sales_by_day AS d
WHERE {{ in_scope("d") }}
  AND d.business_date >= (SELECT date_trunc('week', l.business_date)::date FROM latest AS l)
  AND d.business_date <= (SELECT l.business_date FROM latest AS l)
GROUP BY d.business_date
ORDER BY d.business_date
