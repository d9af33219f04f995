-- Hours of a store and business date: required, planned, usual and worked, and what they cost.
-- Two sums differ: too many in the morning and too few in the evening are nothing on balance
-- (`net_variance`) and yet both wrong (`absolute_variance`). The wage of a day is that of its plan,
-- and else what an hour cost on the last 28 days.
SELECT
    h.store_id,
    s.store_name,
    s.region,
    h.business_date,
    h.required_hours,
    h.lower_hours,
    h.upper_hours,
    h.crew_hours,
    v.scheduled_hours,
    v.net_variance,
    v.absolute_variance,
    f.hours AS usual_hours,
    m.labor_hours AS worked_hours,
    f.sales AS expected_sales,
    h.demand AS expected_orders,
    coalesce(v.planned_wage, w.wage) AS wage,
    round(h.required_hours * coalesce(v.planned_wage, w.wage) / nullif(f.sales, 0), 4) AS required_percent,
    round(v.scheduled_hours * coalesce(v.planned_wage, w.wage) / nullif(f.sales, 0), 4) AS scheduled_percent,
    round(f.sales / nullif(h.required_hours, 0), 2) AS sales_per_required_hour,
    round(f.sales / nullif(v.scheduled_hours, 0), 2) AS sales_per_scheduled_hour,
    h.lead_days,
    h.made_on
FROM staffing AS h
JOIN stores AS s ON s.store_id = h.store_id
-- Looked up day by day: joined, all days there are would be looked through.
LEFT JOIN LATERAL (
    SELECT
        max(x.mean) FILTER (WHERE x.series = 'net_sales') AS sales,
        max(x.mean) FILTER (WHERE x.series = 'labor_hours') AS hours
    FROM forecast AS x
    WHERE x.store_id = h.store_id AND x.business_date = h.business_date AND x.daypart = 'Day'
) AS f ON true
LEFT JOIN LATERAL (
    SELECT sum(x.labor_hours) AS labor_hours
    FROM daily_store_metrics AS x
    WHERE x.store_id = h.store_id AND x.business_date = h.business_date
) AS m ON true
LEFT JOIN LATERAL (
    SELECT
        sum(p.hours) AS scheduled_hours,
        sum(p.hours) - h.required_hours AS net_variance,
        -- Of a day with a plan: a daypart that it leaves out has none of the hours it needs.
        CASE WHEN count(p.hours) > 0 THEN sum(abs(coalesce(p.hours, 0) - coalesce(x.hours, 0))) END
            AS absolute_variance,
        round(sum(p.pay) / nullif(sum(p.hours), 0), 2) AS planned_wage
    FROM (
        SELECT l.daypart, sum(l.planned_hours) AS hours, sum(l.planned_hours * l.wage) AS pay
        FROM labor_plan AS l
        WHERE l.store_id = h.store_id AND l.business_date = h.business_date
        GROUP BY l.daypart
    ) AS p
    FULL JOIN (
        SELECT y.daypart, y.required_hours AS hours
        FROM staffing AS y
        WHERE y.store_id = h.store_id AND y.business_date = h.business_date
            AND y.series = h.series AND y.daypart <> 'Day'
    ) AS x ON x.daypart = p.daypart
) AS v ON true
LEFT JOIN LATERAL (
    SELECT round(sum(x.labor_cost) / nullif(sum(x.labor_hours), 0), 2) AS wage
    FROM daily_store_metrics AS x
    WHERE x.store_id = h.store_id AND x.business_date > h.made_on - 28 AND x.business_date <= h.made_on
) AS w ON true
WHERE h.series = 'required_hours' AND h.daypart = 'Day'
