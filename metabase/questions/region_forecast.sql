-- ---
-- title = "Expected net sales of the next 7 days"
-- description = "The forecasts of all stores added up, day by day, next to the comparable days of last year."
-- display = "bar"
-- x = ["Day"]
-- y = ["Forecast", "Last year"]
-- [formats]
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
    to_char(f.business_date, 'Dy DD Mon') AS "Day",
    sum(f.forecast) AS "Forecast",
    sum(y.net_sales) AS "Last year"
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
GROUP BY f.business_date
ORDER BY f.business_date
