-- ---
-- title = "As of"
-- description = "The last business date whose sales are loaded, when they were loaded (store time), and whether that day was over by then. If the day is still open, its numbers will grow."
-- display = "scalar"
-- y = ["As of"]
-- ---
SELECT
    concat_ws(
        ' · ',
        coalesce('sales up to ' || to_char(a.business_date, 'FMDay, DD FMMonth YYYY'), 'no sales loaded yet'),
        'loaded ' || to_char(a.loaded_at AT TIME ZONE a.time_zone, 'FMDay HH24:MI'),
        CASE WHEN a.day_closed THEN 'day closed' WHEN NOT a.day_closed THEN 'day still open' END,
        'store closed on ' || to_char(a.closed_on, 'DD FMMonth YYYY')
    ) AS "As of",
    a.store_id
FROM {{ schema }}.as_of AS a
WHERE {{ in_scope("a") }}
