-- Hours worked of a store, business date and daypart. A punch is split over the dayparts it
-- spans, to the second, by the store's own clock: the parts add up to the punch also when clocks
-- change. What comes before the first part is the first's, what comes after the last the last's.
-- A punch without a clock-out, or closed by the till at the cut-off hour, is no paid work: it
-- counts as open, and `complete_hours` is empty on a day that has one.
WITH punches AS (
    SELECT
        c.store_id,
        c.business_date,
        c.clocked_in_at,
        c.clocked_out_at,
        s.time_zone,
        c.clocked_out_at IS NULL OR c.clocked_out_at = (
            (c.business_date + 1)::timestamp + make_interval(hours => coalesce(s.cut_off_hour, 4)::int)
        ) AT TIME ZONE s.time_zone AS open
    FROM clock_in_out AS c
    JOIN stores AS s ON s.store_id = c.store_id
),
days AS (
    SELECT
        p.*,
        count(*) FILTER (WHERE p.open) OVER (PARTITION BY p.store_id, p.business_date) AS open_punches
    FROM punches AS p
),
parts AS (
    SELECT
        d.store_id,
        d.business_date,
        d.open_punches,
        t.daypart,
        t.daypart_order,
        extract(epoch FROM
            least(d.clocked_out_at, CASE
                WHEN t.until_minute < t.last_minute THEN
                    (d.business_date::timestamp + make_interval(mins => t.until_minute)) AT TIME ZONE d.time_zone
                ELSE 'infinity'
            END)
            - greatest(d.clocked_in_at, CASE
                WHEN t.from_minute > t.first_minute THEN
                    (d.business_date::timestamp + make_interval(mins => t.from_minute)) AT TIME ZONE d.time_zone
                ELSE '-infinity'
            END)
        ) / 3600 AS hours
    FROM days AS d
    CROSS JOIN (
        SELECT a.*, min(a.from_minute) OVER () AS first_minute, max(a.until_minute) OVER () AS last_minute
        FROM dayparts AS a
    ) AS t
    WHERE NOT d.open
)
SELECT
    store_id,
    business_date,
    daypart,
    daypart_order,
    round(sum(hours), 4) AS labor_hours,
    CASE WHEN max(open_punches) = 0 THEN round(sum(hours), 4) END AS complete_hours,
    max(open_punches) AS open_punches
FROM parts
WHERE hours > 0
GROUP BY store_id, business_date, daypart, daypart_order
