-- The planned day as a date: weeks start on day 1.
SELECT
    store_id,
    week_start,
    day_of_week,
    CAST(CAST(week_start AS integer) + CAST(day_of_week AS integer) - 1 AS date) AS business_date,
    daypart,
    planned_headcount,
    planned_hours,
    wage,
    labor_share,
    _row
FROM input
