-- ---
-- title = "As of"
-- description = "Which store is shown and the last business date whose sales are loaded; of several stores, how many they are."
-- display = "scalar"
-- y = ["As of"]
-- parameters = { store = "text" }
-- ---
SELECT
    concat_ws(
        ' · ',
        CASE WHEN count(*) = 1 THEN 'store ' || max(a.store_id) ELSE count(*) || ' stores' END,
        coalesce('sales up to ' || to_char(max(a.business_date), 'FMDay, DD FMMonth YYYY'), 'no sales loaded yet')
    ) AS "As of",
    string_agg(a.store_id, ',' ORDER BY a.store_id) AS stores
FROM {{ schema }}.as_of AS a
WHERE {{ in_scope("a") }}
  [[AND a.store_id = {{ parameter("store") }}]]
