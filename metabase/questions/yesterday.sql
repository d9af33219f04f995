-- ---
-- title = "Net sales yesterday"
-- description = "Net sales of the last business date, compared with the forecast made before it, the same weekday a week earlier, and the comparable day of last year (same weekday of the same fiscal week). A comparison is missing where there is nothing to compare with."
-- display = "smartscalar"
-- y = ["Net sales"]
-- compare = ["Forecast", "Last week", "Last year"]
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
    d.net_sales AS "Net sales",
    f.forecast AS "Forecast",
    d.net_sales_last_week AS "Last week",
    d.net_sales_last_year AS "Last year",
    d.store_id
FROM {{ schema }}.sales_by_day AS d
LEFT JOIN {{ schema }}.forecast_by_day AS f ON f.store_id = d.store_id AND f.business_date = d.business_date
WHERE {{ in_scope("d") }} AND d.business_date = (SELECT l.business_date FROM latest AS l)
