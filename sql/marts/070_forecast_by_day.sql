-- The current forecast of net sales of a store and business date, next to the sales
-- where the day is over. The bounds are the day's own, not sums of the dayparts'.
SELECT
    f.store_id,
    f.business_date,
    f.mean AS forecast,
    f.lower_80,
    f.upper_80,
    f.lower_95,
    f.upper_95,
    a.net_sales AS actual,
    f.lead_days,
    f.model,
    f.made_on
FROM forecast AS f
LEFT JOIN sales_days AS a ON a.store_id = f.store_id AND a.business_date = f.business_date
WHERE f.series = 'net_sales' AND f.daypart = 'Day'
