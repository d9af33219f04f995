-- ---
-- title = "How wrong the forecast was"
-- description = "Forecasts of the last four weeks next to what came. Off: the sum of all errors, over and under, as a share of sales. On balance: below zero, more was sold than expected. Within: the share of days between low and high; four of five is right. Empty until the first forecasts have come due."
-- display = "table"
-- [formats]
-- "Off" = "percent"
-- "On balance" = "change"
-- "Within low and high" = "percent"
-- ---
SELECT
    e.daypart AS "Daypart",
    e.lead_days AS "Days ahead",
    count(*) AS "Days",
    round(sum(abs(e.error)) / nullif(sum(e.actual), 0), 4) AS "Off",
    round(sum(e.error) / nullif(sum(e.actual), 0), 4) AS "On balance",
    round((count(*) FILTER (WHERE e.within_80))::numeric / count(*), 4) AS "Within low and high",
    e.store_id
FROM {{ schema }}.forecast_errors AS e
WHERE {{ in_scope("e") }}
  AND e.business_date > (SELECT max(x.business_date) FROM {{ schema }}.as_of AS x WHERE {{ in_scope("x") }}) - 28
GROUP BY e.store_id, e.daypart, e.daypart_order, e.lead_days
ORDER BY e.daypart_order DESC, e.lead_days
