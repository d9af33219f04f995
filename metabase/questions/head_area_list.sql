-- ---
-- title = "Areas"
-- description = "The brands of the chain, or the regions of a brand: what the filter offers."
-- display = "table"
-- x = ["Area"]
-- ---
SELECT DISTINCT {% if level == "chain" %}initcap(a.brand){% else %}coalesce(a.region, 'No region'){% endif %} AS "Area"
FROM {{ schema }}.as_of AS a
WHERE {{ in_scope("a") }}
ORDER BY 1
