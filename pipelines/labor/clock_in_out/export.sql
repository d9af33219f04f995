-- What each store's expected orders ask for, by day and daypart.
SELECT
    store_id || '_' || to_char(business_date, 'YYYYMMDD') || '_' || daypart AS sk_businesskey,
    store_id AS sk_storenumber,
    business_date AS sk_businessdate,
    daypart AS sk_daypart,
    required_hours AS sk_requiredhours,
    crew_hours AS sk_crewhours,
    heads AS sk_headcount,
    made_on AS sk_madeon
FROM staffing
WHERE series = 'required_hours' AND daypart <> 'Day'
