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
-- ---
WITH days AS (
    SELECT
        l.store_id,
        l.business_date,
        l.labor_percent,
        sum(l.labor_cost) OVER four_weeks / nullif(sum(l.net_sales) OVER four_weeks, 0) AS four_weeks,
        max(l.business_date) OVER () AS last_business_date
    FROM {{ schema }}.labor_by_day AS l
    WHERE {{ in_scope("l") }}
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
WHERE business_date > last_business_date - 14
ORDER BY business_date
