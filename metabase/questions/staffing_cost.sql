-- ---
-- title = "What the next two weeks will cost"
-- description = "Labor % is hours times the wage of the plan (without a plan: what an hour cost on the last 28 days), by the expected net sales. SPLH is expected net sales by hours. On balance is planned less required; off plan adds up both directions, daypart by daypart."
-- display = "table"
-- [formats]
-- "Business date" = "date"
-- "Expected sales" = "money"
-- "Labor % required" = "percent"
-- "Labor % planned" = "percent"
-- "SPLH required" = "money"
-- "SPLH planned" = "money"
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    d.business_date AS "Business date",
    to_char(d.business_date, 'Dy') AS "Weekday",
    d.expected_sales AS "Expected sales",
    d.required_hours AS "Required",
    d.scheduled_hours AS "Planned",
    d.net_variance AS "On balance",
    d.absolute_variance AS "Off plan",
    d.required_percent AS "Labor % required",
    d.scheduled_percent AS "Labor % planned",
    d.sales_per_required_hour AS "SPLH required",
    d.sales_per_scheduled_hour AS "SPLH planned",
    d.store_id
FROM {{ schema }}.staffing_by_day AS d
WHERE {{ in_scope("d") }}
  AND d.business_date > (SELECT l.business_date FROM latest AS l)
  AND d.business_date <= (SELECT l.business_date FROM latest AS l) + 14
ORDER BY d.business_date
