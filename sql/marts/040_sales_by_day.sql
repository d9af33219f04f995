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
LEFT JOIN sales_days AS w ON w.store_id = d.store_id AND w.business_date = d.business_date - 7
LEFT JOIN sales_days AS y ON y.store_id = d.store_id AND y.business_date = c.comparable_date
