-- Rows of days that have not come yet, in the zone of the brand.
SELECT business_date::text AS what, count(*) AS rows
FROM staging
WHERE business_date > current_setting('storekeeper.today')::date
GROUP BY business_date
