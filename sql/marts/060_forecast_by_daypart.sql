-- The current forecast of net sales of a store, business date and daypart, next
-- to the sales where the day is over. A day to come has the latest run's forecast or none: what earlier runs
-- said of it does not count where the store is not forecast any more.
SELECT
    f.store_id,
    f.business_date,
    f.daypart,
    coalesce((SELECT d.daypart_order FROM dayparts AS d WHERE d.daypart = f.daypart), 99) AS daypart_order,
    f.mean AS forecast,
    f.lower_80,
    f.upper_80,
    a.net_sales AS actual,
    f.lead_days,
    f.model,
    f.made_on
FROM forecast AS f
LEFT JOIN sales_by_daypart AS a
    ON a.store_id = f.store_id AND a.business_date = f.business_date AND a.daypart = f.daypart
LEFT JOIN forecast_models AS m ON m.store_id = f.store_id AND m.series = f.series
WHERE f.series = 'net_sales' AND f.daypart <> 'Day'
    AND (m.made_on IS NULL OR f.business_date <= m.made_on OR f.made_on = m.made_on)
