-- ---
-- title = "Where to call first"
-- description = "The ten stores that lost most against last year in the week so far, by money. A store that is far behind by percent and little by money is not here: the list is for the calls that matter most."
-- display = "table"
-- parameters = { area = "text" }
-- [formats]
-- "Week so far" = "money"
-- "Last year" = "money"
-- "Difference" = "money"
-- "Change" = "change"
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
),
weeks AS (
    SELECT
        {% if level == "chain" %}d.brand, {% endif %}d.store_id,
        max(d.store_name) AS store_name,
        max({% if level == "chain" %}initcap(d.brand){% else %}coalesce(d.region, 'No region'){% endif %}) AS area,
        sum(d.net_sales) AS net_sales,
        sum(d.net_sales_last_year) AS last_year
    FROM {{ schema }}.sales_by_day AS d
    WHERE {{ in_scope("d") }}
      AND d.business_date >= (SELECT date_trunc('week', l.business_date)::date FROM latest AS l)
      AND d.business_date <= (SELECT l.business_date FROM latest AS l)
      [[AND {% if level == "chain" %}initcap(d.brand){% else %}coalesce(d.region, 'No region'){% endif %} = {{ parameter("area") }}]]
    GROUP BY {% if level == "chain" %}d.brand, {% endif %}d.store_id
    -- A store without a last year has lost nothing.
    HAVING count(d.net_sales_last_year) = count(*)
)
SELECT
    {% if level == "chain" %}w.brand, {% endif %}w.store_id,
    w.store_name AS "Name",
    w.area AS "Area",
    w.net_sales AS "Week so far",
    w.last_year AS "Last year",
    w.net_sales - w.last_year AS "Difference",
    round(w.net_sales / nullif(w.last_year, 0) - 1, 4) AS "Change"
FROM weeks AS w
WHERE w.net_sales < w.last_year
ORDER BY w.net_sales - w.last_year
LIMIT 10
