-- ---
-- title = "Pipelines"
-- description = "Each pipeline with its last run and last load (UTC), what that load changed, rows that are refused and open, and the runs that failed in the week up to the last one. Red needs somebody: `storekeeper runs list` says why. A last load that is older than the last run is fine: there was nothing new."
-- display = "table"
-- [formats]
-- "Rows new" = "count"
-- "Rows changed" = "count"
-- "Rows removed" = "count"
-- "Rows refused" = "count"
-- [settings]
-- "table.column_formatting" = [
--   { columns = ["Last status"], type = "single", operator = "=", value = "failed", color = "#EF8C8C", highlight_row = false },
--   { columns = ["Last status"], type = "single", operator = "=", value = "interrupted", color = "#EF8C8C", highlight_row = false },
--   { columns = ["Last status"], type = "single", operator = "=", value = "partial", color = "#F9D45C", highlight_row = false },
--   { columns = ["Rows refused", "Failed runs"], type = "single", operator = ">", value = 0, color = "#F9D45C", highlight_row = false },
-- ]
-- ---
SELECT
    {% if level == "chain" %}initcap(p.brand) AS "Brand",
    {% endif %}p.pipeline AS "Pipeline",
    p.last_status AS "Last status",
    to_char(p.last_run_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS "Last run",
    to_char(p.last_load_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') AS "Last load",
    p.rows_new AS "Rows new",
    p.rows_changed AS "Rows changed",
    p.rows_removed AS "Rows removed",
    p.rows_refused AS "Rows refused",
    p.failed_runs AS "Failed runs"
FROM {{ schema }}.pipeline_health AS p
ORDER BY (p.last_status IN ('failed', 'interrupted', 'partial')) DESC, p.last_load_at NULLS LAST, p.pipeline
