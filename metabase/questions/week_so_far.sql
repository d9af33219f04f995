-- ---
-- title = "Week so far"
-- description = "Net sales of each day of the current week, Monday to the last business date, next to the forecast and to the comparable days of last year."
-- display = "bar"
-- x = ["Day"]
-- y = ["Net sales", "Forecast", "Last year"]
-- [formats]
-- "Net sales" = "money"
-- "Forecast" = "money"
-- "Last year" = "money"
-- [settings]
-- "graph.x_axis.scale" = "ordinal"
-- ---
SELECT
    to_char(d.business_date, 'Dy DD Mon') AS "Day",
    d.net_sales AS "Net sales",
    f.forecast AS "Forecast",
    d.net_sales_last_year AS "Last year",
    d.store_id
FROM {{ schema }}.sales_by_day AS d
JOIN {{ schema }}.as_of AS a ON a.store_id = d.store_id
LEFT JOIN {{ schema }}.forecast_by_day AS f ON f.store_id = d.store_id AND f.business_date = d.business_date
WHERE {{ in_scope("d") }}
  AND d.business_date BETWEEN date_trunc('week', a.business_date)::date AND a.business_date
ORDER BY d.business_date
