-- ---
-- title = "Expected net sales of the next 7 days"
-- description = "The forecasts of all stores added up, day by day, next to the comparable days of last year. In four of five cases the sum ends between low and high: stores share their weather, so the bounds know how they are wrong together."
-- display = "combo"
-- x = ["Day"]
-- y = ["Forecast", "Last year", "Low", "High"]
-- [formats]
-- "Forecast" = "money"
-- "Last year" = "money"
-- "Low" = "money"
-- "High" = "money"
-- [settings]
-- "graph.x_axis.scale" = "ordinal"
-- [settings.series_settings]
-- "Forecast" = { "display" = "bar" }
-- "Last year" = { "display" = "bar" }
-- "Low" = { "display" = "line", "line.style" = "dashed", "show_series_values" = false }
-- "High" = { "display" = "line", "line.style" = "dashed", "show_series_values" = false }
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
),
days AS (
    SELECT
        f.business_date,
        sum(f.forecast) AS forecast,
        sum(y.net_sales) AS last_year,
        -- Taken for log-normal, with the mean and the variance of the sum.
        ln(1 + (
            (1 - max(f.correlation)) * sum(f.deviation ^ 2) + max(f.correlation) * sum(f.deviation) ^ 2
        ) / nullif(sum(f.forecast)::double precision ^ 2, 0)) AS spread
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
)
SELECT
    to_char(d.business_date, 'Dy DD Mon') AS "Day",
    d.forecast AS "Forecast",
    d.last_year AS "Last year",
    round((d.forecast * exp(-d.spread / 2 - 1.281552 * sqrt(d.spread)))::numeric, 2) AS "Low",
    round((d.forecast * exp(-d.spread / 2 + 1.281552 * sqrt(d.spread)))::numeric, 2) AS "High"
FROM days AS d
ORDER BY d.business_date
