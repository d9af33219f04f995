-- How far a store's forecast of net sales can be trusted: how wrong its model would
-- have been on earlier cut-offs, and how wrong the forecasts of the last four weeks
-- were a week ahead (null until such forecasts have come due).
SELECT
    m.store_id,
    s.store_name,
    s.region,
    m.status,
    m.model,
    coalesce(m.fallback_reason, m.reason) AS reason,
    m.flags,
    m.made_on,
    m.tested_days,
    m.wape AS tested_wape,
    m.bias AS tested_bias,
    m.mase AS tested_mase,
    m.coverage_80 AS tested_within_80,
    m.coverage_95 AS tested_within_95,
    r.days AS realised_days,
    r.wape AS realised_wape,
    r.bias AS realised_bias,
    r.within_80 AS realised_within_80,
    -- Off by half as much again as in the tests, over two weeks or more: the habits have changed.
    coalesce(r.days >= 14 AND r.wape > 1.5 * m.wape + 0.02, false) AS drifts
FROM forecast_models AS m
JOIN stores AS s ON s.store_id = m.store_id
LEFT JOIN LATERAL (
    SELECT
        count(*) AS days,
        (sum(abs(e.error)) / nullif(sum(e.actual), 0))::double precision AS wape,
        (sum(e.error) / nullif(sum(e.actual), 0))::double precision AS bias,
        (count(*) FILTER (WHERE e.within_80))::double precision / nullif(count(*), 0) AS within_80
    FROM forecast_errors AS e
    WHERE e.store_id = m.store_id AND e.daypart = 'Day' AND e.lead_days = 7
      AND e.business_date > m.made_on - 28 AND e.business_date <= m.made_on
) AS r ON true
WHERE m.series = 'net_sales'
