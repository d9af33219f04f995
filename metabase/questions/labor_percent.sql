-- ---
-- title = "Labor %, last 14 days"
-- description = "Labor cost by net sales of each day, and the same over the four weeks up to that day. A day above its four weeks had more people than its sales carried, or fewer sales than were planned for."
-- display = "line"
-- x = ["Business date"]
-- y = ["Labor %", "Four weeks"]
-- [formats]
-- "Labor %" = "percent"
-- "Four weeks" = "percent"
-- "Business date" = "date"
-- [settings]
-- "graph.y_axis.unpin_from_zero" = true
-- ---
WITH latest AS (
    SELECT x.business_date
    FROM {{ schema }}.labor_by_day AS x
    WHERE {{ in_scope("x") }}
    ORDER BY x.business_date DESC
    LIMIT 1
),
days AS (
    SELECT
        l.store_id,
        l.business_date,
        l.labor_percent,
        sum(l.labor_cost) OVER four_weeks / nullif(sum(l.net_sales) OVER four_weeks, 0) AS four_weeks
    FROM {{ schema }}.labor_by_day AS l
    -- Fourteen days, and the four weeks up to the first of them.
    WHERE {{ in_scope("l") }} AND l.business_date > (SELECT t.business_date FROM latest AS t) - 41
    WINDOW four_weeks AS (
        PARTITION BY l.store_id ORDER BY l.business_date RANGE BETWEEN '27 days' PRECEDING AND CURRENT ROW
    )
)
SELECT
    business_date AS "Business date",
    labor_percent AS "Labor %",
    round(four_weeks, 4) AS "Four weeks",
    store_id
FROM days
WHERE business_date > (SELECT t.business_date FROM latest AS t) - 14
ORDER BY business_date
