//! The dashboards' questions on two years of rows: which partitions each one reads.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};
use storekeeper::access;
use storekeeper::ids::BrandId;
use storekeeper::pipelines::{forecast_tables, read_all, staffing_tables};
use storekeeper::settings::{self, Wall};
use storekeeper::warehouse::{Kept, Table, WriteDisposition, maintain, marts};

use crate::support::chain::definitions;
use crate::support::postgres::Database;

const FIRST: &str = "2023-11-29";
const LAST: &str = "2025-11-28";

/// Ten stores in two regions; two years of what the dashboards read.
const ROWS: &str = "
INSERT INTO stores (store_id, store_name, region, time_zone, cut_off_hour, load_id, file_id)
SELECT '0001' || to_char(n, 'FM00'), 'Store ' || n, CASE WHEN n % 2 = 0 THEN 'North' ELSE 'Coast' END, 'America/New_York', 4, 1, 1
FROM generate_series(1, 10) AS n;
INSERT INTO calendar (business_date, comparable_date, load_id, file_id)
SELECT d::date, d::date - 364, 1, 1 FROM generate_series(date '2023-01-01', date '2026-06-30', '1 day') AS d;
INSERT INTO sales_channel (store_id, business_date, source_actor, source_channel, daypart, net_sales, orders, load_id, file_id)
SELECT store_id, d::date, actor, 'All', daypart, 100 + abs(hashtext(store_id || d || daypart)) % 50, 10, 1, 1
FROM stores, generate_series(date ':first', date ':last', '1 day') AS d, unnest(ARRAY['App', 'Store', 'Web']) AS actor,
     unnest(ARRAY['Morning', 'Lunch', 'Afternoon', 'Dinner', 'Evening', 'Late Night']) AS daypart;
INSERT INTO daily_store_metrics (store_id, business_date, net_sales, orders, labor_cost, labor_hours, load_id, file_id)
SELECT store_id, business_date, sum(net_sales), sum(orders), 190, 12.5, 1, 1 FROM sales_channel GROUP BY 1, 2;
INSERT INTO clock_in_out (store_id, business_date, employee_name, user_id, clocked_in_at, total_hours, overtime_hours, load_id, file_id)
SELECT store_id, d::date, 'Person ' || n, 'u' || n, d, 9, 1, 1, 1
FROM stores, generate_series(date ':first', date ':last', '1 day') AS d, generate_series(1, 8) AS n;
INSERT INTO forecast (store_id, series, business_date, daypart, lead_days, mean, lower_80, upper_80, made_on, load_id, file_id)
SELECT store_id, 'net_sales', d::date, daypart, greatest(d::date - date '2025-11-28', 1), 110, 90, 130, '2025-11-28', 1, 1
FROM stores, generate_series(date ':first', date '2026-01-31', '1 day') AS d,
     unnest(ARRAY['Day', 'Morning', 'Lunch', 'Afternoon', 'Dinner', 'Evening', 'Late Night']) AS daypart;
INSERT INTO forecast_accuracy (store_id, series, business_date, daypart, lead_days, mean, lower_80, upper_80, actual, load_id, file_id)
SELECT store_id, 'net_sales', business_date, daypart, lead, mean, lower_80, upper_80, 100, 1, 1
FROM forecast, unnest(ARRAY[1, 7, 14, 28, 35]) AS lead WHERE business_date <= ':last';
INSERT INTO labor_plan (store_id, week_start, day_of_week, business_date, daypart, planned_headcount, planned_hours, wage, load_id, file_id)
SELECT store_id, d::date - extract(isodow FROM d)::int + 1, extract(isodow FROM d), d::date, 'Lunch', 4, 16, 15, 1, 1
FROM stores, generate_series(date ':first', date '2025-12-07', '1 day') AS d;
INSERT INTO staffing (store_id, series, business_date, daypart, lead_days, demand, required_hours, lower_hours, upper_hours, crew_hours, heads, made_on, load_id, file_id)
SELECT store_id, 'required_hours', d::date, daypart, greatest(d::date - date '2025-11-28', 1), 80, 15, 13, 17, 16, 4, '2025-11-28', 1, 1
FROM stores, generate_series(date ':first', date '2026-01-31', '1 day') AS d, unnest(ARRAY['Day', 'Lunch', 'Dinner']) AS daypart;
INSERT INTO forecast_models (store_id, series, status, wape, flags, made_on, load_id, file_id)
SELECT store_id, 'net_sales', 'forecast', 0.1, '', '2025-11-28', 1, 1 FROM stores;
";

/// What a question did to the tables that grow.
#[derive(Debug, Default)]
struct Read {
    /// Months of each.
    months: BTreeMap<String, BTreeSet<String>>,
    /// Rows that were looked at from end to end, without an index.
    scanned: f64,
    /// Rows that an index found.
    found: f64,
}

fn walk(node: &Value, read: &mut Read) {
    let loops = node["Actual Loops"].as_f64().unwrap_or(0.0);
    if let (Some((table, month)), true) =
        (node["Relation Name"].as_str().and_then(|name| name.rsplit_once('_')), loops > 0.0)
        && month.len() == 6
        && month.bytes().all(|digit| digit.is_ascii_digit())
    {
        read.months.entry(table.to_owned()).or_default().insert(month.to_owned());
        let rows =
            loops * (node["Actual Rows"].as_f64().unwrap() + node["Rows Removed by Filter"].as_f64().unwrap_or(0.0));
        let of = if node["Node Type"] == "Seq Scan" { &mut read.scanned } else { &mut read.found };
        *of += rows;
    }
    node["Plans"].as_array().into_iter().flatten().for_each(|plan| walk(plan, read));
}

async fn explain(connection: &mut PgConnection, sql: &str) -> Read {
    let explain = AssertSqlSafe(format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}"));
    let plan: Value = sqlx::query_scalar(explain).fetch_one(connection).await.unwrap();
    let mut read = Read::default();
    walk(&plan[0]["Plan"], &mut read);
    read
}

async fn make(connection: &mut PgConnection, table: &Table) {
    table.ensure(connection).await.unwrap();
    let path = format!("{}.{}", table.schema, table.name);
    if table.partition_by.is_some() {
        let partitions = AssertSqlSafe(format!(
            "DO $$ DECLARE month date; BEGIN
                FOR month IN SELECT generate_series(date '2023-11-01', '2026-02-01', '1 month') LOOP
                    EXECUTE format('CREATE TABLE %s PARTITION OF {path} FOR VALUES FROM (%L) TO (%L)',
                                   '{path}_' || to_char(month, 'YYYYMM'), month, month + interval '1 month');
                END LOOP; END $$"
        ));
        connection.execute(partitions).await.unwrap();
    }
    let key = format!("ALTER TABLE {path} ADD PRIMARY KEY ({})", table.key.join(", "));
    connection.execute(AssertSqlSafe(key)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_of_a_dashboard_reads_the_months_it_is_about_by_index() {
    let database = Database::migrated().await;
    let warehouse = database.warehouse_of(database.name(), 4).await;
    let brand = BrandId::from("harbor");
    let mut kept: Vec<Kept> = Vec::new();
    for pipeline in read_all(definitions()).await.unwrap() {
        let table = pipeline.table(&brand);
        assert_ne!(table.disposition, WriteDisposition::Append);
        kept.push(Kept { brand: brand.clone(), table, archive_after_months: None });
    }
    for table in forecast_tables(&brand).into_iter().chain(staffing_tables(&brand)) {
        kept.push(Kept { brand: brand.clone(), table, archive_after_months: None });
    }
    let mut connection = warehouse.pool().acquire().await.unwrap();
    connection.execute("CREATE SCHEMA mart_harbor; SET search_path = mart_harbor").await.unwrap();
    connection
        .execute("INSERT INTO ops.runs (pipeline, brand, trigger, status, started_at) VALUES ('x', 'harbor', 'manual', 'succeeded', now());
                  INSERT INTO ops.loads (run_id, pipeline, brand, table_name, committed_at) VALUES (1, 'x', 'harbor', 'x', now())")
        .await
        .unwrap();
    for one in &kept {
        make(&mut connection, &one.table).await;
    }
    // The columns that dashboards do not read may stay empty.
    let rows = ROWS.replace(":first", FIRST).replace(":last", LAST);
    connection.execute(AssertSqlSafe(rows)).await.unwrap();
    connection.execute("RESET search_path").await.unwrap();
    let all: i64 =
        sqlx::query_scalar("SELECT count(*) FROM mart_harbor.sales_channel").fetch_one(&mut *connection).await.unwrap();
    assert!(all > 100_000, "{all}");
    let settings = settings::Warehouse {
        partitions_ahead: 2,
        analyze_rows: 1,
        history_days: 0,
        keep_files_days: 0,
        archive_after_months: None,
        archive_dir: "nowhere".into(),
    };
    let done = maintain(&warehouse, &kept, &settings, "2025-11-29T11:00:00Z".parse().unwrap()).await;
    let indexed: Vec<&str> =
        done.iter().filter(|one| !one.indexes_made.is_empty()).map(|one| one.table.as_str()).collect();
    assert_eq!(indexed.len(), 6, "{done:#?}");
    let harbor = settings::Brand {
        title: "Harbor".to_owned(),
        time_zone: chrono_tz::Tz::UTC,
        drive: None,
        dataverse_url: None,
        folder: None,
    };
    marts::apply(&warehouse, &brand, definitions()).await.unwrap();
    let data_dir = tempfile::tempdir().unwrap();
    let brands = [(brand.clone(), harbor)].into();
    access::reconcile_roles(&warehouse, &brands, data_dir.path(), Wall::Store).await.unwrap();
    connection.execute("ANALYZE").await.unwrap();

    let role = |store: &str| {
        format!("SELECT role_name FROM walls.stores GROUP BY 1 HAVING {store} ORDER BY count(*) DESC LIMIT 1")
    };
    let north =
        "bool_and(store_id IN (SELECT store_id FROM mart_harbor.stores WHERE region = 'North')) AND count(*) > 1";
    let mut asked = 0;
    let (store, region) = (
        "= '000102'",
        "IN (SELECT in_region.store_id FROM mart_harbor.stores AS in_region WHERE in_region.region = 'North')",
    );
    for (dashboard, role, literal) in [
        ("store_morning", role("bool_and(store_id = '000102')"), store),
        ("forecast", role("bool_and(store_id = '000102')"), store),
        ("staffing", role("bool_and(store_id = '000102')"), store),
        ("region", role(north), region),
        ("region_forecast", role(north), region),
    ] {
        let role: String = sqlx::query_scalar(AssertSqlSafe(role)).fetch_one(&mut *connection).await.unwrap();
        connection.execute(AssertSqlSafe(format!("SET ROLE \"{role}\"; SET jit = off"))).await.unwrap();
        let text =
            std::fs::read_to_string(definitions().join(format!("metabase/dashboards/{dashboard}.toml"))).unwrap();
        for question in text.lines().filter_map(|line| line.strip_prefix("question = \"")?.strip_suffix('"')) {
            let file = definitions().join(format!("metabase/questions/{question}.sql"));
            let sql = std::fs::read_to_string(file).unwrap().replace("{{ schema }}", "mart_harbor");
            let parts = sql.split("{{ in_scope(\"").map(|part| match part.split_once("\") }}") {
                Some((alias, rest)) if alias.len() < 3 => format!("{alias}.store_id {literal}{rest}"),
                _ => part.to_owned(),
            });
            let read = explain(&mut connection, &parts.collect::<String>()).await;
            asked += 1;
            assert_eq!(read.scanned, 0.0, "{question} looks through whole partitions: {read:?}");
            for (table, months) in &read.months {
                // Of twenty-eight. A quarter, last year's, and those that were made ahead.
                assert!(months.len() <= 12, "{question} reads {} months of {table}: {months:?}", months.len());
            }
            assert!(read.found > 0.0 && read.found < all as f64 / 5.0, "{question}: {read:?}");
        }
        connection.execute("RESET ROLE").await.unwrap();
    }
    assert_eq!(asked, 26);
    // The last day of all stores is the end of an index, which the key alone is not.
    let last = "SELECT x.business_date FROM mart_harbor.daily_store_metrics AS x ORDER BY x.business_date DESC LIMIT 1";
    assert_eq!(explain(&mut connection, last).await.found, 1.0);
    connection.execute("DROP INDEX mart_harbor.daily_store_metrics_business_date_store_id_idx").await.unwrap();
    let without = explain(&mut connection, last).await;
    assert!(without.found + without.scanned > 100.0, "{without:?}");
}
