-- ---
-- title = "Week so far"
-- description = "Net sales of each day of the current week, Monday to the last business date, next to the forecast and to the comparable days of last year. Without a store, of the region."
-- display = "bar"
-- x = ["Day"]
-- y = ["Net sales", "Forecast", "Last year"]
-- parameters = { store = "text" }
-- [formats]
-- "Net sales" = "money"
-- "Forecast" = "money"
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
    sum(f.forecast) AS "Forecast",
    sum(d.net_sales_last_year) AS "Last year",
    string_agg(DISTINCT d.store_id, ',') AS stores
FROM {{ schema }}.sales_by_day AS d
LEFT JOIN {{ schema }}.forecast_by_day AS f
    ON f.store_id = d.store_id AND f.business_date = d.business_date
    AND f.business_date >= (SELECT date_trunc('week', l.business_date)::date FROM latest AS l)
    AND f.business_date <= (SELECT l.business_date FROM latest AS l)
WHERE {{ in_scope("d") }}
  AND d.business_date >= (SELECT date_trunc('week', l.business_date)::date FROM latest AS l)
  AND d.business_date <= (SELECT l.business_date FROM latest AS l)
  [[AND d.store_id = {{ parameter("store") }}]]
GROUP BY d.business_date
ORDER BY d.business_date
