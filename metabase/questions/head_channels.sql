-- ---
-- title = "Channels, last 7 days"
-- description = "Net sales by channel over the seven days up to the last business date, and what the same files say of the same days of last year. A channel that shrinks while the sum grows has moved its guests, not lost them."
-- display = "row"
-- x = ["Channel"]
-- y = ["Net sales", "Last year"]
-- [formats]
-- "Net sales" = "money"
-- "Last year" = "money"
-- [settings]
-- "graph.show_values" = true
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    c.source_channel AS "Channel",
    sum(c.net_sales) AS "Net sales",
    sum(c.net_sales_ly) AS "Last year"
FROM {{ schema }}.sales_channel AS c
JOIN {{ schema }}.stores AS s ON s.store_id = c.store_id
WHERE {{ in_scope("c") }}
  AND c.business_date > (SELECT l.business_date FROM latest AS l) - 7
  AND c.business_date <= (SELECT l.business_date FROM latest AS l)
GROUP BY 1
ORDER BY 2 DESC NULLS LAST
