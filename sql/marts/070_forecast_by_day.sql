-- The current forecast of net sales of a store and business date, next to the sales
-- where the day is over. The bounds are the day's own, not sums of the dayparts'. Sums over stores have
-- bounds of their own: stores are wrong together, by `correlation` on average (0.3 until it is known), so the
-- variance of a sum is (1 - c) * the sum of squared deviations + c * the square of their sum. A day to come has
-- the latest run's forecast or none: what earlier runs said of it does not count where the store is not forecast any more.
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
    f.made_on,
    ((f.upper_80 - f.lower_80) / 2.563103)::double precision AS deviation,
    -- A table made by an earlier version has no such column until its next forecast.
    coalesce((to_jsonb(m) ->> 'correlation')::double precision, 0.3) AS correlation
FROM forecast AS f
LEFT JOIN forecast_models AS m ON m.store_id = f.store_id AND m.series = f.series
LEFT JOIN sales_days AS a ON a.store_id = f.store_id AND a.business_date = f.business_date
WHERE f.series = 'net_sales' AND f.daypart = 'Day'
    AND (m.made_on IS NULL OR f.business_date <= m.made_on OR f.made_on = m.made_on)
