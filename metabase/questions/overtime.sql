-- ---
-- title = "Overtime this week"
-- description = "Who has worked most in the current week, Monday to the last business date: hours, overtime already paid, and hours left before 40. Who is near 40 with shifts to come is the overtime of the next days. A missing clock-out makes the hours wrong: correct it first."
-- display = "table"
-- [formats]
-- "Hours" = "hours"
-- "Overtime" = "hours"
-- "Overtime pay" = "cents"
-- "Left before 40" = "hours"
-- [settings]
-- "table.columns" = [
--   { name = "Employee", enabled = true },
--   { name = "Hours", enabled = true },
--   { name = "Overtime", enabled = true },
--   { name = "Overtime pay", enabled = true },
--   { name = "Left before 40", enabled = true },
--   { name = "Missing clock-outs", enabled = true },
--   { name = "store_id", enabled = false },
-- ]
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    max(h.employee_name) AS "Employee",
    sum(h.total_hours) AS "Hours",
    sum(h.overtime_hours) AS "Overtime",
    sum(h.overtime_pay) AS "Overtime pay",
    greatest(40 - sum(h.total_hours), 0) AS "Left before 40",
    count(*) FILTER (WHERE h.clocked_out_at IS NULL) AS "Missing clock-outs",
    h.store_id
FROM {{ schema }}.clock_in_out AS h
WHERE {{ in_scope("h") }}
  AND h.business_date >= (SELECT date_trunc('week', l.business_date)::date FROM latest AS l)
  AND h.business_date < (SELECT date_trunc('week', l.business_date)::date FROM latest AS l) + 7
GROUP BY h.store_id, h.user_id
ORDER BY 3 DESC, 2 DESC, 1
LIMIT 15
