-- ---
-- title = "Rows by day of loading"
-- description = "Rows that loads brought, changed and removed on each of the last 14 days on which there was a load (UTC). A day of many changed rows is a source that told the past anew: `storekeeper restatements` lists it."
-- display = "bar"
-- x = ["Day"]
-- y = ["New", "Changed", "Removed"]
-- stack = "stacked"
-- [formats]
-- "New" = "count"
-- "Changed" = "count"
-- "Removed" = "count"
-- "Day" = "date"
-- ---
WITH days AS (
    SELECT
        x.loaded_on,
        sum(x.rows_new) AS rows_new,
        sum(x.rows_changed) AS rows_changed,
        sum(x.rows_removed) AS rows_removed
    FROM {{ schema }}.load_days AS x
    GROUP BY x.loaded_on
    ORDER BY x.loaded_on DESC
    LIMIT 14
)
SELECT
    y.loaded_on AS "Day",
    y.rows_new AS "New",
    y.rows_changed AS "Changed",
    y.rows_removed AS "Removed"
FROM days AS y
ORDER BY y.loaded_on
