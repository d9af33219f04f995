-- ---
-- title = "Area by area"
-- description = "Each brand of the chain, or each region of a brand: net sales of the last business date and their change on the forecast and on last year; the week so far and its change; labor cost by net sales over the last seven days. Green and red begin at 3 % more or less."
-- display = "table"
-- [formats]
-- "Net sales" = "money"
-- "On forecast" = "change"
-- "On last year" = "change"
-- "Week so far" = "money"
-- "Week on last year" = "change"
-- "Labor %, 7 days" = "percent"
-- [settings]
-- "table.column_formatting" = [
--   { columns = ["On forecast", "On last year", "Week on last year"], type = "single", operator = "<", value = -0.03, color = "#EF8C8C", highlight_row = false },
--   { columns = ["On forecast", "On last year", "Week on last year"], type = "single", operator = ">", value = 0.03, color = "#84BB4C", highlight_row = false },
-- ]
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
),
days AS (
    SELECT
        {% if level == "chain" %}initcap(d.brand){% else %}coalesce(d.region, 'No region'){% endif %} AS area,
        d.business_date,
        sum(d.net_sales) AS net_sales,
        sum(f.forecast) AS forecast,
        sum(d.net_sales_last_year) AS last_year,
        count(*) AS stores
    FROM {{ schema }}.sales_by_day AS d
    LEFT JOIN {{ schema }}.forecast_by_day AS f
        ON f.store_id = d.store_id AND f.business_date = d.business_date{% if level == "chain" %} AND f.brand = d.brand{% endif %}
    WHERE {{ in_scope("d") }}
      AND d.business_date >= (SELECT date_trunc('week', l.business_date)::date FROM latest AS l)
      AND d.business_date <= (SELECT l.business_date FROM latest AS l)
    GROUP BY 1, 2
),
labor AS (
    SELECT {% if level == "chain" %}initcap(m.brand){% else %}coalesce(m.region, 'No region'){% endif %} AS area, sum(m.labor_cost) / nullif(sum(m.net_sales), 0) AS labor_percent
    FROM {{ schema }}.labor_by_day AS m
    WHERE {{ in_scope("m") }}
      AND m.business_date > (SELECT l.business_date FROM latest AS l) - 7
      AND m.business_date <= (SELECT l.business_date FROM latest AS l)
    GROUP BY 1
)
SELECT
    y.area AS "Area",
    sum(y.stores) FILTER (WHERE y.business_date = l.business_date) AS "Stores",
    sum(y.net_sales) FILTER (WHERE y.business_date = l.business_date) AS "Net sales",
    round(sum(y.net_sales) FILTER (WHERE y.business_date = l.business_date)
        / nullif(sum(y.forecast) FILTER (WHERE y.business_date = l.business_date), 0) - 1, 4) AS "On forecast",
    round(sum(y.net_sales) FILTER (WHERE y.business_date = l.business_date)
        / nullif(sum(y.last_year) FILTER (WHERE y.business_date = l.business_date), 0) - 1, 4) AS "On last year",
    sum(y.net_sales) AS "Week so far",
    round(sum(y.net_sales) / nullif(sum(y.last_year), 0) - 1, 4) AS "Week on last year",
    round(max(p.labor_percent), 4) AS "Labor %, 7 days"
FROM days AS y
CROSS JOIN latest AS l
LEFT JOIN labor AS p ON p.area = y.area
GROUP BY y.area
ORDER BY "Week on last year" NULLS LAST, y.area
