-- ---
-- title = "Labor cost and labor %, by week"
-- description = "Labor cost of the last eight full weeks as bars, on the left; labor cost by net sales as a line, on the right. A line that rises while the bars stand still is a week that sold less than it was staffed for."
-- display = "combo"
-- x = ["Week"]
-- y = ["Labor cost", "Labor %"]
-- [formats]
-- "Labor cost" = "money"
-- "Labor %" = "percent"
-- "Week" = "date"
-- [settings.series_settings]
-- "Labor %" = { display = "line", axis = "right", color = "#EF8C8C" }
-- ---
WITH latest AS (
    SELECT date_trunc('week', max(x.business_date) + 1)::date AS week_start
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    date_trunc('week', m.business_date)::date AS "Week",
    sum(m.labor_cost) AS "Labor cost",
    round(sum(m.labor_cost) / nullif(sum(m.net_sales), 0), 4) AS "Labor %"
FROM {{ schema }}.labor_by_day AS m
WHERE {{ in_scope("m") }}
  AND m.business_date >= (SELECT l.week_start FROM latest AS l) - 56
  AND m.business_date < (SELECT l.week_start FROM latest AS l)
GROUP BY 1
ORDER BY 1
