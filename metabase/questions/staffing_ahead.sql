-- ---
-- title = "Hours of the next two weeks"
-- description = "Hours that the expected orders ask for, hours that are planned so far, and hours that will be worked if habits stay. In four of five cases a day's orders ask for between low and high."
-- display = "line"
-- x = ["Business date"]
-- y = ["Required", "Low", "High", "Planned", "Usual"]
-- [formats]
-- "Business date" = "date"
-- [settings.series_settings]
-- "Low" = { "line.style" = "dashed", "show_series_values" = false }
-- "High" = { "line.style" = "dashed", "show_series_values" = false }
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    d.business_date AS "Business date",
    d.required_hours AS "Required",
    d.lower_hours AS "Low",
    d.upper_hours AS "High",
    d.scheduled_hours AS "Planned",
    d.usual_hours AS "Usual",
    d.store_id
FROM {{ schema }}.staffing_by_day AS d
WHERE {{ in_scope("d") }}
  AND d.business_date > (SELECT l.business_date FROM latest AS l)
  AND d.business_date <= (SELECT l.business_date FROM latest AS l) + 14
ORDER BY d.business_date
