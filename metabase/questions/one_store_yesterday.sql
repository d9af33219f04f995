-- ---
-- title = "Net sales yesterday"
-- description = "Net sales of the last business date, compared with the forecast made before it, the same weekday a week earlier, and the comparable day of last year (same weekday of the same fiscal week). Without a store, of the region."
-- display = "smartscalar"
-- y = ["Net sales"]
-- compare = ["Forecast", "Last week", "Last year"]
-- parameters = { store = "text" }
-- [formats]
-- "Net sales" = "money"
-- "Forecast" = "money"
-- "Last week" = "money"
-- "Last year" = "money"
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    d.business_date AS "Business date",
    sum(d.net_sales) AS "Net sales",
    sum(f.forecast) AS "Forecast",
    sum(d.net_sales_last_week) AS "Last week",
    sum(d.net_sales_last_year) AS "Last year",
    string_agg(DISTINCT d.store_id, ',') AS stores
FROM {{ schema }}.sales_by_day AS d
LEFT JOIN {{ schema }}.forecast_by_day AS f ON f.store_id = d.store_id AND f.business_date = d.business_date
WHERE {{ in_scope("d") }} AND d.business_date = (SELECT l.business_date FROM latest AS l)
  [[AND d.store_id = {{ parameter("store") }}]]
GROUP BY d.business_date
