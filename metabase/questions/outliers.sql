-- ---
-- title = "Out of the ordinary yesterday"
-- description = "Stores whose net sales of the last business date lie far from what they usually sell on this weekday: more than three usual deviations from the median of the last eight weeks. An empty list means an ordinary day. Start the day's calls here: weather, an event, a closed road, or a number that is wrong."
-- display = "table"
-- [formats]
-- "Net sales" = "money"
-- "Usual" = "money"
-- "Difference" = "change"
-- "Usual deviations" = "decimal"
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
),
before AS (
    SELECT s.store_id, s.net_sales
    FROM {{ schema }}.sales_days AS s
    WHERE {{ in_scope("s") }}
      AND s.business_date < (SELECT l.business_date FROM latest AS l)
      AND s.business_date >= (SELECT l.business_date FROM latest AS l) - 56
      AND extract(isodow FROM s.business_date) = (SELECT extract(isodow FROM l.business_date) FROM latest AS l)
),
medians AS (
    SELECT b.store_id, percentile_cont(0.5) WITHIN GROUP (ORDER BY b.net_sales) AS usual
    FROM before AS b
    GROUP BY b.store_id
),
spreads AS (
    SELECT
        m.store_id,
        m.usual,
        1.4826 * percentile_cont(0.5) WITHIN GROUP (ORDER BY abs(b.net_sales - m.usual)) AS deviation,
        count(*) AS weeks
    FROM medians AS m
    JOIN before AS b ON b.store_id = m.store_id
    GROUP BY m.store_id, m.usual
)
SELECT
    d.store_id,
    d.store_name AS "Name",
    d.net_sales AS "Net sales",
    round(p.usual::numeric, 2) AS "Usual",
    round((d.net_sales / nullif(p.usual, 0) - 1)::numeric, 4) AS "Difference",
    round(((d.net_sales - p.usual) / nullif(p.deviation, 0))::numeric, 1) AS "Usual deviations"
FROM {{ schema }}.sales_by_day AS d
JOIN spreads AS p ON p.store_id = d.store_id
WHERE {{ in_scope("d") }} AND d.business_date = (SELECT l.business_date FROM latest AS l) AND p.weeks >= 4 AND abs(d.net_sales - p.usual) > 3 * p.deviation
ORDER BY abs(d.net_sales - p.usual) / nullif(p.deviation, 0) DESC NULLS LAST
