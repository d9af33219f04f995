-- ---
-- title = "The next 7 days by daypart"
-- description = "Expected orders of each daypart, the hours they ask for, the most people at once, and what is planned. Over is above zero where more is planned than the orders ask for."
-- display = "table"
-- [formats]
-- "Business date" = "date"
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    d.business_date AS "Business date",
    to_char(d.business_date, 'Dy') AS "Weekday",
    d.daypart AS "Daypart",
    round(d.expected_orders) AS "Orders",
    d.required_hours AS "Required",
    d.heads AS "People",
    d.crew_hours AS "Crew",
    d.scheduled_hours AS "Planned",
    d.over_hours AS "Over",
    d.usual_hours AS "Usual",
    d.store_id
FROM {{ schema }}.staffing_by_daypart AS d
WHERE {{ in_scope("d") }}
  AND d.business_date > (SELECT l.business_date FROM latest AS l)
  AND d.business_date <= (SELECT l.business_date FROM latest AS l) + 7
  AND (d.required_hours > 0 OR d.scheduled_hours > 0)
ORDER BY d.business_date, d.daypart_order
