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
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    f.business_date AS "Business date",
    f.forecast AS "Forecast",
    f.lower_80 AS "Low",
    f.upper_80 AS "High",
    y.net_sales AS "Last year",
    f.store_id
FROM {{ schema }}.forecast_by_day AS f
LEFT JOIN {{ schema }}.calendar AS c ON c.business_date = f.business_date
LEFT JOIN LATERAL (
    SELECT sum(x.net_sales) AS net_sales
    FROM {{ schema }}.sales_channel AS x
    WHERE {{ in_scope("x") }} AND x.store_id = f.store_id AND x.business_date = c.comparable_date
) AS y ON true
WHERE {{ in_scope("f") }}
  AND f.business_date > (SELECT l.business_date FROM latest AS l)
  AND f.business_date <= (SELECT l.business_date FROM latest AS l) + 7
ORDER BY f.business_date
