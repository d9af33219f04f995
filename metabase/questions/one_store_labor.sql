-- ---
-- title = "Labor %, last 14 days"
-- description = "Labor cost by net sales of each day. Without a store, of the region: its stores' costs by its stores' sales."
-- display = "line"
-- x = ["Business date"]
-- y = ["Labor %"]
-- parameters = { store = "text" }
-- [formats]
-- "Labor %" = "percent"
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
)
SELECT
    l.business_date AS "Business date",
    round(sum(l.labor_cost) / nullif(sum(l.net_sales), 0), 4) AS "Labor %",
    string_agg(DISTINCT l.store_id, ',') AS stores
FROM {{ schema }}.labor_by_day AS l
WHERE {{ in_scope("l") }} AND l.business_date > (SELECT t.business_date FROM latest AS t) - 14
  [[AND l.store_id = {{ parameter("store") }}]]
GROUP BY l.business_date
ORDER BY l.business_date
