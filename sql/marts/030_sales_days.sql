-- Sales of a store and business date, over all channels and dayparts.
SELECT
    store_id,
    business_date,
    sum(net_sales) AS net_sales,
    sum(orders)::bigint AS orders,
    sum(discounts) AS discounts,
    sum(net_sales_ly) AS net_sales_ly,
    sum(orders_ly)::bigint AS orders_ly
FROM sales_channel
GROUP BY store_id, business_date
