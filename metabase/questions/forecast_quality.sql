-- ---
-- title = "How far each store's forecast can be trusted"
-- description = "Tested: how far off the store's model would have been on earlier dates, as a share of sales. Realised: how far off the forecasts of the last four weeks were, a week ahead. A store that drifts is off by half as much again as in its tests: its habits have changed, ask what happened there. The least certain stores come first."
-- display = "table"
-- [formats]
-- "Tested: off" = "percent"
-- "Tested: on balance" = "change"
-- "Tested: within low and high" = "percent"
-- "Realised: off" = "percent"
-- "Realised: on balance" = "change"
-- ---
SELECT
    q.store_id,
    q.store_name AS "Name",
    round(q.tested_wape::numeric, 4) AS "Tested: off",
    round(q.tested_bias::numeric, 4) AS "Tested: on balance",
    round(q.tested_within_80::numeric, 4) AS "Tested: within low and high",
    round(q.realised_wape::numeric, 4) AS "Realised: off",
    round(q.realised_bias::numeric, 4) AS "Realised: on balance",
    q.drifts AS "Drifts",
    replace(q.flags, '_', ' ') AS "Note",
    replace(q.model, '_', ' ') AS "Model"
FROM {{ schema }}.forecast_quality AS q
WHERE {{ in_scope("q") }}
ORDER BY q.drifts DESC, q.tested_wape DESC NULLS FIRST, q.store_id
