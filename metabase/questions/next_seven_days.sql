-- ---
-- title = "Forecast of the next 7 days"
-- description = "Expected net sales of each coming day. In four of five cases the day ends between low and high. The last line is the comparable day of last year. Plan people and stock by the forecast, and keep the high in mind for deliveries."
-- display = "line"
-- x = ["Business date"]
-- y = ["Forecast", "Low", "High", "Last year"]
-- [formats]
-- "Forecast" = "money"
-- "Low" = "money"
-- "High" = "money"
-- "Last year" = "money"
-- "Business date" = "date"
-- [settings]
-- "graph.show_values" = true
-- [settings.series_settings]
-- "Low" = { "line.style" = "dashed", "show_series_values" = false }
-- "High" = { "line.style" = "dashed", "show_series_values" = false }
-- "Last year" = { "line.style" = "dotted", "show_series_values" = false }
-- ---
SELECT
    f.business_date AS "Business date",
    f.forecast AS "Forecast",
    f.lower_80 AS "Low",
    f.upper_80 AS "High",
    y.net_sales AS "Last year",
    f.store_id
FROM {{ schema }}.forecast_by_day AS f
JOIN {{ schema }}.as_of AS a ON a.store_id = f.store_id
LEFT JOIN {{ schema }}.calendar AS c ON c.business_date = f.business_date
LEFT JOIN {{ schema }}.sales_days AS y ON y.store_id = f.store_id AND y.business_date = c.comparable_date
WHERE {{ in_scope("f") }} AND f.business_date BETWEEN a.business_date + 1 AND a.business_date + 7
ORDER BY f.business_date
