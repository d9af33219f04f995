-- Forecasts of net sales whose day has come, as they were 1, 7, 14, 28 and 35 days
-- ahead, next to what came. The daypart `Day` is the whole day.
SELECT
    a.store_id,
    a.business_date,
    a.daypart,
    coalesce((SELECT d.daypart_order FROM dayparts AS d WHERE d.daypart = a.daypart), 99) AS daypart_order,
    a.lead_days,
    a.mean AS forecast,
    a.actual,
    a.mean - a.actual AS error,
    a.actual BETWEEN a.lower_80 AND a.upper_80 AS within_80,
    a.actual BETWEEN a.lower_95 AND a.upper_95 AS within_95
FROM forecast_accuracy AS a
WHERE a.series = 'net_sales'
