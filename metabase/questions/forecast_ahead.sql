-- ---
-- title = "Net sales: the last four weeks and the next five"
-- description = "What was sold, and what each coming day is expected to bring. In four of five cases a day ends between low and high. Holidays and the time of the year are already in it; an event that only you know of is not."
-- display = "line"
-- x = ["Business date"]
-- y = ["Net sales", "Forecast", "Low", "High"]
-- [formats]
-- "Net sales" = "money"
-- "Forecast" = "money"
-- "Low" = "money"
-- "High" = "money"
-- "Business date" = "date"
-- [settings.series_settings]
-- "Low" = { "line.style" = "dashed", "show_series_values" = false }
-- "High" = { "line.style" = "dashed", "show_series_values" = false }
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    d.business_date AS "Business date",
    d.net_sales AS "Net sales",
    NULL::numeric AS "Forecast",
    NULL::numeric AS "Low",
    NULL::numeric AS "High",
    d.store_id
FROM {{ schema }}.sales_days AS d
WHERE {{ in_scope("d") }}
  AND d.business_date > (SELECT l.business_date FROM latest AS l) - 28
  AND d.business_date <= (SELECT l.business_date FROM latest AS l)
UNION ALL
SELECT f.business_date, NULL, f.forecast, f.lower_80, f.upper_80, f.store_id
FROM {{ schema }}.forecast_by_day AS f
WHERE {{ in_scope("f") }}
  AND f.business_date > (SELECT l.business_date FROM latest AS l)
ORDER BY 1
