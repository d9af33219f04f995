-- What each store is expected to sell, by day and daypart.
SELECT
    store_id || '_' || to_char(business_date, 'YYYYMMDD') || '_' || daypart AS sk_businesskey,
    store_id AS sk_storenumber,
    business_date AS sk_businessdate,
    daypart AS sk_daypart,
    mean AS sk_netsales,
    lower_80 AS sk_lower80,
    upper_80 AS sk_upper80,
    model AS sk_model,
    made_on AS sk_madeon
FROM forecast
WHERE series = 'net_sales' AND daypart <> 'Day'
