-- ---
-- title = "Labor % by store, last 7 days"
-- description = "Labor cost by net sales of each store over the seven days up to the last business date, highest first. Compare stores of like size: a small store carries the same minimum crew on fewer sales."
-- display = "row"
-- x = ["Name"]
-- y = ["Labor %"]
-- [formats]
-- "Labor %" = "percent"
-- [settings]
-- "graph.show_values" = true
-- ---
WITH latest AS (
    SELECT x.business_date
    FROM {{ schema }}.labor_by_day AS x
    WHERE {{ in_scope("x") }}
    ORDER BY x.business_date DESC
    LIMIT 1
)
SELECT
    concat_ws(' ', d.store_id, d.store_name) AS "Name",
    round(sum(d.labor_cost) / nullif(sum(d.net_sales), 0), 4) AS "Labor %",
    round(sum(d.net_sales) / nullif(sum(d.labor_hours), 0), 2) AS "Sales per labor hour",
    d.store_id
FROM {{ schema }}.labor_by_day AS d
WHERE {{ in_scope("d") }} AND d.business_date > (SELECT l.business_date FROM latest AS l) - 7
GROUP BY d.store_id, d.store_name
ORDER BY 2 DESC NULLS LAST
