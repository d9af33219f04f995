-- ---
-- title = "Stores"
-- description = "The stores of the region: what the filter offers."
-- display = "table"
-- x = ["Store"]
-- ---
SELECT a.store_id AS "Store", a.store_id
FROM {{ schema }}.as_of AS a
WHERE {{ in_scope("a") }}
ORDER BY 1
