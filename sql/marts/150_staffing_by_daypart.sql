-- Hours of a store, business date and daypart: what the expected orders ask for (`required`,
-- and `crew` of whole people), what is planned, what people usually work, and what was worked.
SELECT
    h.store_id,
    h.business_date,
    h.daypart,
    d.daypart_order,
    h.demand AS expected_orders,
    h.required_hours,
    h.lower_hours,
    h.upper_hours,
    h.crew_hours,
    h.heads,
    p.planned_hours AS scheduled_hours,
    p.planned_hours - h.required_hours AS over_hours,
    f.hours AS usual_hours,
    w.hours AS worked_hours,
    h.lead_days,
    h.made_on
FROM staffing AS h
JOIN dayparts AS d ON d.daypart = h.daypart
LEFT JOIN labor_plan AS p
    ON p.store_id = h.store_id AND p.business_date = h.business_date AND p.daypart = h.daypart
-- Looked up day by day: joined, all days there are would be looked through.
LEFT JOIN LATERAL (
    SELECT max(x.mean) AS hours
    FROM forecast AS x
    WHERE x.store_id = h.store_id AND x.business_date = h.business_date AND x.daypart = h.daypart
      AND x.series = 'labor_hours'
) AS f ON true
LEFT JOIN LATERAL (
    SELECT sum(x.labor_hours) AS hours
    FROM labor_by_daypart AS x
    WHERE x.store_id = h.store_id AND x.business_date = h.business_date AND x.daypart = h.daypart
) AS w ON true
WHERE h.series = 'required_hours'
