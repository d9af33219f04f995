-- Sales of a store, business date and daypart, over all channels.
SELECT
    store_id,
    business_date,
    daypart,
    coalesce(
        array_position(ARRAY['Morning', 'Lunch', 'Afternoon', 'Dinner', 'Evening', 'Late Night'], daypart), 99
    ) AS daypart_order,
    sum(net_sales) AS net_sales,
    sum(orders)::bigint AS orders,
    sum(net_sales_ly) AS net_sales_last_year
FROM sales_channel
GROUP BY store_id, business_date, daypart
