-- Sales of a store and business date with what they are compared to: the same
-- weekday a week before, and the comparable day of last year (same fiscal week
-- and weekday). Last year's own rows count; where they are not loaded, what this
-- year's file says of last year.
SELECT
    d.store_id,
    s.store_name,
    s.region,
    d.business_date,
    d.net_sales,
    d.orders,
    d.discounts,
    round(d.net_sales / nullif(d.orders, 0), 2) AS average_ticket,
    w.net_sales AS net_sales_last_week,
    w.orders AS orders_last_week,
    c.comparable_date,
    coalesce(y.net_sales, d.net_sales_ly) AS net_sales_last_year,
    coalesce(y.orders, d.orders_ly) AS orders_last_year
FROM sales_days AS d
JOIN stores AS s ON s.store_id = d.store_id
LEFT JOIN calendar AS c ON c.business_date = d.business_date
-- Looked up day by day: joined to `sales_days`, all days there are would be summed up first.
LEFT JOIN LATERAL (
    SELECT sum(x.net_sales) AS net_sales, sum(x.orders)::bigint AS orders
    FROM sales_channel AS x
    WHERE x.store_id = d.store_id AND x.business_date = d.business_date - 7
) AS w ON true
LEFT JOIN LATERAL (
    SELECT sum(x.net_sales) AS net_sales, sum(x.orders)::bigint AS orders
    FROM sales_channel AS x
    WHERE x.store_id = d.store_id AND x.business_date = c.comparable_date
) AS y ON true
