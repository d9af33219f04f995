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
    f.mean AS usual_hours,
    w.labor_hours AS worked_hours,
    h.lead_days,
    h.made_on
FROM staffing AS h
JOIN dayparts AS d ON d.daypart = h.daypart
LEFT JOIN labor_plan AS p
    ON p.store_id = h.store_id AND p.business_date = h.business_date AND p.daypart = h.daypart
LEFT JOIN forecast AS f
    ON f.store_id = h.store_id AND f.business_date = h.business_date AND f.daypart = h.daypart
    AND f.series = 'labor_hours'
LEFT JOIN labor_by_daypart AS w
    ON w.store_id = h.store_id AND w.business_date = h.business_date AND w.daypart = h.daypart
WHERE h.series = 'required_hours'
