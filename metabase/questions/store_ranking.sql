-- ---
-- title = "Stores by change on last year"
-- description = "Each store's net sales of the last business date and their change on the forecast, on the same weekday a week earlier, and on the comparable day of last year. The first store grew most; stores without a last year come last."
-- display = "table"
-- [formats]
-- "Net sales" = "money"
-- "On forecast" = "change"
-- "On last week" = "change"
-- "On last year" = "change"
-- "Average ticket" = "cents"
-- [settings]
-- "table.column_formatting" = [
--   { columns = ["On forecast", "On last week", "On last year"], type = "single", operator = "<", value = -0.05, color = "#EF8C8C", highlight_row = false },
--   { columns = ["On forecast", "On last week", "On last year"], type = "single", operator = ">", value = 0.05, color = "#84BB4C", highlight_row = false },
-- ]
-- ---
SELECT
    rank() OVER (ORDER BY d.net_sales / nullif(d.net_sales_last_year, 0) DESC NULLS LAST) AS "Rank",
    d.store_id,
    d.store_name AS "Name",
    d.net_sales AS "Net sales",
    round(d.net_sales / nullif(f.forecast, 0) - 1, 4) AS "On forecast",
    round(d.net_sales / nullif(d.net_sales_last_week, 0) - 1, 4) AS "On last week",
    round(d.net_sales / nullif(d.net_sales_last_year, 0) - 1, 4) AS "On last year",
    d.orders AS "Orders",
    d.average_ticket AS "Average ticket"
FROM {{ schema }}.sales_by_day AS d
LEFT JOIN {{ schema }}.forecast_by_day AS f ON f.store_id = d.store_id AND f.business_date = d.business_date
WHERE {{ in_scope("d") }}
  AND d.business_date = (SELECT max(x.business_date) FROM {{ schema }}.as_of AS x WHERE {{ in_scope("x") }})
ORDER BY 1, d.store_id
