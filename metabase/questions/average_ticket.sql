-- ---
-- title = "Average ticket, last 14 days"
-- description = "Net sales by orders: what one order brings on average. The second line is the comparable day of last year. Sales can hold while the ticket falls: then more orders make up for smaller ones."
-- display = "line"
-- x = ["Business date"]
-- y = ["Average ticket", "Last year"]
-- [formats]
-- "Average ticket" = "cents"
-- "Last year" = "cents"
-- "Business date" = "date"
-- [settings]
-- "graph.y_axis.unpin_from_zero" = true
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    d.business_date AS "Business date",
    d.average_ticket AS "Average ticket",
    round(d.net_sales_last_year / nullif(d.orders_last_year, 0), 2) AS "Last year",
    d.store_id
FROM {{ schema }}.sales_by_day AS d
WHERE {{ in_scope("d") }} AND d.business_date > (SELECT l.business_date FROM latest AS l) - 14
ORDER BY d.business_date
