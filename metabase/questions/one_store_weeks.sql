-- ---
-- title = "Thirteen weeks"
-- description = "Net sales by full week, Monday to Sunday, and the comparable weeks of last year. The distance between the lines is the growth. Without a store, of the region."
-- display = "line"
-- x = ["Week"]
-- y = ["Net sales", "Last year"]
-- parameters = { store = "text" }
-- [formats]
-- "Net sales" = "money"
-- "Last year" = "money"
-- "Week" = "date"
-- ---
WITH latest AS (
    SELECT date_trunc('week', max(x.business_date) + 1)::date AS week_start
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    date_trunc('week', d.business_date)::date AS "Week",
    sum(d.net_sales) AS "Net sales",
    sum(d.net_sales_last_year) AS "Last year",
    string_agg(DISTINCT d.store_id, ',') AS stores
FROM {{ schema }}.sales_by_day AS d
WHERE {{ in_scope("d") }}
  AND d.business_date >= (SELECT l.week_start FROM latest AS l) - 91
  AND d.business_date < (SELECT l.week_start FROM latest AS l)
  [[AND d.store_id = {{ parameter("store") }}]]
GROUP BY 1
ORDER BY 1
