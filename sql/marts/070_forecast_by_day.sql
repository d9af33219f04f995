-- The current forecast of net sales of a store and business date. The bounds are
-- the sums of the dayparts' bounds: wider than the day's own would be.
SELECT
    store_id,
    business_date,
    sum(mean) AS forecast,
    sum(lower_80) AS lower_80,
    sum(upper_80) AS upper_80,
    max(made_on) AS made_on
FROM forecast
WHERE series = 'net_sales'
GROUP BY store_id, business_date
