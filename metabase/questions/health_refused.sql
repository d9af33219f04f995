-- ---
-- title = "Refused rows"
-- description = "Rows in quarantine that nobody has settled yet, by pipeline, column and rule, since when. `storekeeper quarantine list` names file, row and value. An empty list is what it should be."
-- display = "table"
-- [formats]
-- "Rows" = "count"
-- ---
SELECT
    {% if level == "chain" %}initcap(q.brand) AS "Brand",
    {% endif %}q.pipeline AS "Pipeline",
    q.column_name AS "Column",
    q.rule AS "Rule",
    q.refusals AS "Rows",
    to_char(q.first_at AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS "Since"
FROM {{ schema }}.refused_rows AS q
ORDER BY q.refusals DESC, q.pipeline, q.column_name
