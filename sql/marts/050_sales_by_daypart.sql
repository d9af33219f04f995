-- Sales of a store, business date and daypart, over all channels.
SELECT
    store_id,
    business_date,
    daypart,
    coalesce((SELECT d.daypart_order FROM dayparts AS d WHERE d.daypart = sales_channel.daypart), 99) AS daypart_order,
    sum(net_sales) AS net_sales,
    sum(orders)::bigint AS orders,
    sum(net_sales_ly) AS net_sales_last_year
FROM sales_channel
GROUP BY store_id, business_date, daypart
