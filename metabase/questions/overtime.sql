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
SELECT
    h.employee_name AS "Employee",
    h.total_hours AS "Hours",
    h.overtime_hours AS "Overtime",
    h.overtime_pay AS "Overtime pay",
    greatest(40 - h.total_hours, 0) AS "Left before 40",
    h.missing_clock_outs AS "Missing clock-outs",
    h.store_id
FROM {{ schema }}.hours_by_week AS h
JOIN {{ schema }}.as_of AS a ON a.store_id = h.store_id
WHERE {{ in_scope("h") }} AND h.week_start = date_trunc('week', a.business_date)::date
ORDER BY h.overtime_hours DESC, h.total_hours DESC, h.employee_name
LIMIT 15
