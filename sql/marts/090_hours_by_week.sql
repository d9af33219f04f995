-- Hours of a store's people by week, Monday to Sunday.
SELECT
    store_id,
    date_trunc('week', business_date)::date AS week_start,
    user_id,
    max(employee_name) AS employee_name,
    max(business_date) AS last_business_date,
    sum(total_hours) AS total_hours,
    sum(overtime_hours) AS overtime_hours,
    sum(overtime_pay) AS overtime_pay,
    count(*) FILTER (WHERE clocked_out_at IS NULL) AS missing_clock_outs
FROM clock_in_out
GROUP BY store_id, date_trunc('week', business_date), user_id
