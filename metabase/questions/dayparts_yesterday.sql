-- ---
-- title = "Dayparts yesterday"
-- description = "Net sales of the last business date by daypart, next to the forecast and to the same weekday a week earlier. Sales after midnight belong to the late night of the day before, up to the store's cut-off hour."
-- display = "bar"
-- x = ["Daypart"]
-- y = ["Net sales", "Forecast", "Last week"]
-- [formats]
-- "Net sales" = "money"
-- "Forecast" = "money"
-- "Last week" = "money"
-- [settings]
-- "graph.x_axis.scale" = "ordinal"
-- "graph.show_values" = true
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    d.daypart AS "Daypart",
    d.net_sales AS "Net sales",
    f.forecast AS "Forecast",
    w.net_sales AS "Last week",
    d.store_id
FROM {{ schema }}.sales_by_daypart AS d
LEFT JOIN {{ schema }}.forecast_by_daypart AS f
    ON f.store_id = d.store_id AND f.business_date = d.business_date AND f.daypart = d.daypart
LEFT JOIN {{ schema }}.sales_by_daypart AS w
    ON w.store_id = d.store_id AND w.business_date = (SELECT l.business_date FROM latest AS l) - 7
    AND w.daypart = d.daypart
WHERE {{ in_scope("d") }} AND d.business_date = (SELECT l.business_date FROM latest AS l)
ORDER BY d.daypart_order, d.daypart
