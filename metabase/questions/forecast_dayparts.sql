-- ---
-- title = "The next 7 days by daypart"
-- description = "Expected net sales of each daypart. The dayparts of a day add up to its forecast to the cent. In four of five cases a daypart ends between low and high."
-- display = "table"
-- [formats]
-- "Business date" = "date"
-- "Forecast" = "money"
-- "Low" = "money"
-- "High" = "money"
-- ---
WITH latest AS (
    SELECT max(x.business_date) AS business_date
    FROM {{ schema }}.as_of AS x
    WHERE {{ in_scope("x") }}
)
SELECT
    f.business_date AS "Business date",
    to_char(f.business_date, 'Dy') AS "Weekday",
    f.daypart AS "Daypart",
    f.forecast AS "Forecast",
    f.lower_80 AS "Low",
    f.upper_80 AS "High",
    f.store_id
FROM {{ schema }}.forecast_by_daypart AS f
WHERE {{ in_scope("f") }}
  AND f.business_date > (SELECT l.business_date FROM latest AS l)
  AND f.business_date <= (SELECT l.business_date FROM latest AS l) + 7
ORDER BY f.business_date, f.daypart_order
