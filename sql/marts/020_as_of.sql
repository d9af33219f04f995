-- Up to which business date a store's sales are known, and whether that day was
-- over when they were loaded: a day ends at the store's cut-off hour next morning.
SELECT
    s.store_id,
    s.store_name,
    s.region,
    s.time_zone,
    s.closed_on,
    last.business_date,
    t.committed_at AS loaded_at,
    t.committed_at >= (
        (last.business_date + 1)::timestamp + make_interval(hours => coalesce(s.cut_off_hour, 4)::int)
    ) AT TIME ZONE s.time_zone AS day_closed
FROM stores AS s
LEFT JOIN LATERAL (
    SELECT c.business_date, max(c.load_id) AS load_id
    FROM sales_channel AS c
    WHERE c.store_id = s.store_id
      AND c.business_date = (SELECT max(x.business_date) FROM sales_channel AS x WHERE x.store_id = s.store_id)
    GROUP BY c.business_date
) AS last ON true
LEFT JOIN load_times AS t ON t.load_id = last.load_id
