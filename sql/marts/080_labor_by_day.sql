-- Labor of a store and business date. Labor percent is labor cost by net sales.
SELECT
    m.store_id,
    s.store_name,
    s.region,
    m.business_date,
    m.net_sales,
    m.orders,
    m.labor_cost,
    m.labor_hours,
    round(m.labor_cost / nullif(m.net_sales, 0), 4) AS labor_percent,
    round(m.net_sales / nullif(m.labor_hours, 0), 2) AS sales_per_labor_hour,
    round(m.orders / nullif(m.labor_hours, 0), 2) AS orders_per_labor_hour
FROM daily_store_metrics AS m
JOIN stores AS s ON s.store_id = m.store_id
