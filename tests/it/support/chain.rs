//! A chain in a database of one test's own: two brands with a few stores, and
//! enough rows in the tables that pipelines would fill.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, Executor as _};
use storekeeper::access;
use storekeeper::ids::BrandId;
use storekeeper::settings::{self, Wall};
use storekeeper::warehouse::roles::Reconciled;
use storekeeper::warehouse::{Warehouse, marts};

use super::postgres::Database;

/// Tables of a brand, and rows for the days from `:first` to 2025-11-28.
/// `sales_channel` has partitions, as the engine makes them.
const BRAND: &str = "
CREATE SCHEMA :schema;
SET search_path = :schema;
CREATE TABLE stores (store_id text PRIMARY KEY, store_name text, region text, time_zone text,
    opened_on date, closed_on date, cut_off_hour bigint, load_id bigint);
INSERT INTO stores
SELECT store_id, 'Store ' || store_id, region, 'America/New_York', '2019-01-01', NULL, 4, 1
FROM unnest(ARRAY[:stores], ARRAY[:regions]) AS s(store_id, region);
CREATE TABLE calendar (business_date date PRIMARY KEY, fiscal_year bigint, fiscal_period bigint, fiscal_week bigint,
    day_of_week bigint, comparable_date date, load_id bigint);
INSERT INTO calendar
SELECT day, extract(year FROM day), 1, extract(week FROM day), extract(isodow FROM day), day - 364, 1
FROM (SELECT d::date AS day FROM generate_series(date '2023-01-01', date '2026-06-30', '1 day') AS d) AS days;
CREATE TABLE store_hours (store_id text, day_of_week bigint, opens_at time, closes_at time, load_id bigint);
INSERT INTO store_hours SELECT store_id, day, '08:00', '22:00', 1 FROM stores, generate_series(1, 7) AS day;
CREATE TABLE sales_channel (store_id text, business_date date, source_actor text, source_channel text, daypart text,
    net_sales numeric(14, 2), orders bigint, discounts numeric(14, 2), net_sales_ly numeric(14, 2), orders_ly bigint,
    load_id bigint, file_id bigint, source_row bigint,
    PRIMARY KEY (store_id, business_date, source_actor, source_channel, daypart)) PARTITION BY RANGE (business_date);
CREATE TABLE sales_channel_old PARTITION OF sales_channel FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
CREATE TABLE sales_channel_2025 PARTITION OF sales_channel FOR VALUES FROM ('2025-01-01') TO (MAXVALUE);
INSERT INTO sales_channel
SELECT store_id, d::date, 'All', 'All', daypart, 100 + (store_id::int % 7) * 10 + extract(isodow FROM d) * 5 + part,
       10 + part, 3, 95, 9, 1, 1, 1
FROM stores, generate_series(date :first, date '2025-11-28', '1 day') AS d,
     unnest(ARRAY['Morning', 'Lunch', 'Afternoon', 'Dinner', 'Evening', 'Late Night']) WITH ORDINALITY AS p(daypart, part);
CREATE TABLE daily_store_metrics (store_id text, business_date date, net_sales numeric(14, 2), net_sales_ly numeric(14, 2),
    orders bigint, orders_ly bigint, labor_cost numeric(14, 2), labor_hours numeric(10, 2), load_id bigint,
    PRIMARY KEY (store_id, business_date));
INSERT INTO daily_store_metrics
SELECT store_id, business_date, sum(net_sales), 570, sum(orders), 54, 190, 12.5, 1 FROM sales_channel GROUP BY 1, 2;
CREATE TABLE clock_in_out (store_id text, business_date date, employee_name text, user_id text, clocked_in_at timestamptz,
    clocked_out_at timestamptz, regular_hours numeric(8, 2), overtime_hours numeric(8, 2), total_hours numeric(8, 2),
    regular_pay numeric(12, 2), overtime_pay numeric(12, 2), total_pay numeric(12, 2), load_id bigint);
INSERT INTO clock_in_out
SELECT store_id, d::date, 'Person ' || n, 'u' || n, d, d + interval '9 hours', 8, 1, 9, 120, 22.5, 142.5, 1
FROM stores, generate_series(date '2025-11-17', date '2025-11-28', '1 day') AS d, generate_series(1, 4) AS n;
CREATE TABLE forecast (store_id text, series text, business_date date, daypart text, lead_days bigint,
    mean numeric(14, 2), median numeric(14, 2), lower_80 numeric(14, 2), upper_80 numeric(14, 2),
    lower_95 numeric(14, 2), upper_95 numeric(14, 2), model text, made_on date, load_id bigint,
    PRIMARY KEY (store_id, series, business_date, daypart));
INSERT INTO forecast
SELECT store_id, 'net_sales', d::date, daypart, 1, 110, 110, 90, 130, 80, 140, 'seasonal_naive', '2025-11-29', 1
FROM stores, generate_series(date '2025-11-22', date '2026-01-02', '1 day') AS d,
     unnest(ARRAY['Morning', 'Lunch', 'Afternoon', 'Dinner', 'Evening', 'Late Night']) AS daypart;
INSERT INTO forecast
SELECT store_id, series, business_date, 'Day', lead_days, sum(mean), sum(median), sum(lower_80), sum(upper_80),
       sum(lower_95), sum(upper_95), model, made_on, load_id
FROM forecast GROUP BY store_id, series, business_date, lead_days, model, made_on, load_id;
CREATE TABLE forecast_models (store_id text, series text, status text, model text, reason text, fallback_reason text,
    flags text, observed_days bigint, missing_days bigint, tested_days bigint, mase double precision,
    wape double precision, bias double precision, coverage_80 double precision, coverage_95 double precision,
    champion text, chosen_on date, made_on date, load_id bigint, PRIMARY KEY (store_id, series));
INSERT INTO forecast_models
SELECT store_id, 'net_sales', 'forecast', 'calendar_sarima', 'the least off', NULL, '', 300, 0, 84, 0.8, 0.07, 0.01,
       0.8, 0.95, NULL, '2025-11-28', '2025-11-28', 1
FROM stores;
CREATE TABLE forecast_accuracy (store_id text, series text, business_date date, daypart text, lead_days bigint,
    mean numeric(14, 2), median numeric(14, 2), lower_80 numeric(14, 2), upper_80 numeric(14, 2),
    lower_95 numeric(14, 2), upper_95 numeric(14, 2), actual numeric(14, 2), load_id bigint,
    PRIMARY KEY (store_id, series, business_date, daypart, lead_days));
INSERT INTO forecast_accuracy
SELECT store_id, series, business_date - 7, daypart, 7, mean, median, lower_80, upper_80, lower_95, upper_95, mean + 5, 1
FROM forecast WHERE business_date <= '2025-12-05';
CREATE TABLE labor_plan (store_id text, week_start date, day_of_week bigint, business_date date, daypart text,
    planned_headcount bigint, planned_hours numeric(8, 2), wage numeric(8, 2), labor_share numeric(8, 4), load_id bigint,
    PRIMARY KEY (store_id, business_date, daypart));
INSERT INTO labor_plan
SELECT store_id, '2025-11-24', extract(isodow FROM d), d::date, daypart, 3, 11, 15.5, 0.28, 1
FROM stores, generate_series(date '2025-11-24', date '2025-12-07', '1 day') AS d, unnest(ARRAY['Lunch', 'Dinner']) AS daypart;
CREATE TABLE staffing (store_id text, series text, business_date date, daypart text, lead_days bigint,
    demand numeric(14, 2), staffed_demand numeric(14, 2), open_hours numeric(14, 2), fixed_hours numeric(14, 2),
    required_hours numeric(14, 2), lower_hours numeric(14, 2), upper_hours numeric(14, 2), crew_hours numeric(14, 2),
    heads bigint, made_on date, load_id bigint, PRIMARY KEY (store_id, series, business_date, daypart));
INSERT INTO staffing
SELECT store_id, 'required_hours', d::date, daypart, 1, parts * 60, parts * 64, parts * 4, 0, parts * (8 + store_id::int % 3),
       parts * 7, parts * 13, parts * 12, 3, '2025-11-28', 1
FROM stores, generate_series(date '2025-11-29', date '2025-12-31', '1 day') AS d,
     (VALUES ('Lunch', 1), ('Dinner', 1), ('Day', 2)) AS p(daypart, parts);
RESET search_path;
ANALYZE;
";

/// The chain's database, settings and secrets.
pub(crate) struct Chain {
    pub(crate) database: Database,
    pub(crate) warehouse: Warehouse,
    pub(crate) installation: settings::Installation,
    pub(crate) brands: BTreeMap<BrandId, settings::Brand>,
    _data_dir: tempfile::TempDir,
}

impl Chain {
    /// Six stores: four of `harbor` in two regions, two of `mesa` in one. Both
    /// brands have a 000125.
    pub(crate) async fn small() -> Self {
        let harbor = [("000101", "North"), ("000102", "North"), ("000125", "Coast"), ("000126", "Coast")];
        let mesa = [("000125", "Desert"), ("000201", "Desert")];
        Self::of(&harbor, &mesa, "2024-11-01").await
    }

    /// Forty-five stores in five regions, with two years of sales.
    pub(crate) async fn large() -> Self {
        let number = |number: i32| format!("{number:06}");
        let harbor: Vec<(String, &str)> =
            (101..=130).map(|store| (number(store), ["North", "Coast", "Lakes"][store as usize % 3])).collect();
        let mut mesa: Vec<(String, &str)> =
            (201..=214).map(|store| (number(store), ["Desert", "Valley"][store as usize % 2])).collect();
        mesa.push((number(125), "Valley"));
        let borrow = |stores: &'static [(String, &'static str)]| -> Vec<(&'static str, &'static str)> {
            stores.iter().map(|(store, region)| (store.as_str(), *region)).collect()
        };
        Self::of(&borrow(harbor.leak()), &borrow(mesa.leak()), "2023-11-29").await
    }

    /// As many stores as a test wants, in regions of its own.
    pub(crate) async fn sized(harbor: &[(&str, &str)], mesa: &[(&str, &str)], first: &str) -> Self {
        Self::of(harbor, mesa, first).await
    }

    async fn of(harbor: &[(&str, &str)], mesa: &[(&str, &str)], first: &str) -> Self {
        let database = Database::migrated().await;
        let warehouse = database.warehouse_of(&database.name, 8).await;
        let run = "INSERT INTO ops.runs (pipeline, brand, trigger, status, started_at) VALUES ('sales_channel', 'harbor', 'manual', 'succeeded', '2025-11-29T11:00:00Z')";
        warehouse.pool().execute(run).await.expect("a run");
        for (brand, stores) in [("harbor", harbor), ("mesa", mesa)] {
            fill(&warehouse, brand, stores, first).await;
        }
        let data_dir = tempfile::tempdir().expect("a folder");
        let chain = Self {
            installation: settings::Installation { name: database.name.clone(), data_dir: data_dir.path().to_owned() },
            brands: [("harbor", brand("Harbor Pizza")), ("mesa", brand("Mesa Grill"))]
                .map(|(id, brand)| (id.into(), brand))
                .into(),
            warehouse,
            database,
            _data_dir: data_dir,
        };
        chain.views().await;
        chain
    }

    /// Adds a brand with its tables, views and roles.
    pub(crate) async fn add_brand(&mut self, id: &str, title: &str, stores: &[(&str, &str)]) {
        fill(&self.warehouse, id, stores, "2024-11-01").await;
        self.brands.insert(id.into(), brand(title));
        self.views().await;
        self.reconcile().await;
    }

    /// Makes every brand's views as the shipped files want them.
    pub(crate) async fn views(&self) -> Vec<marts::Outcome> {
        let mut outcomes = Vec::new();
        for brand in self.brands.keys() {
            outcomes.push(marts::apply(&self.warehouse, brand, definitions()).await.expect("the views"));
        }
        outcomes
    }

    pub(crate) async fn reconcile(&self) -> Reconciled {
        self.reconcile_to(Wall::Store).await
    }

    pub(crate) async fn reconcile_to(&self, wall: Wall) -> Reconciled {
        access::reconcile_roles(&self.warehouse, &self.brands, &self.installation.data_dir, wall)
            .await
            .expect("the roles")
    }

    pub(crate) async fn tree(&self) -> access::Tree {
        access::tree(&self.warehouse, &self.brands).await.expect("the tree")
    }

    pub(crate) async fn import(&self, lines: &[&str]) -> Result<access::Imported, access::Error> {
        let text = format!("email,first_name,last_name,language,scope,level\n{}\n", lines.join("\n"));
        let list = access::List { text: &text, name: "people.csv", may_be_empty: false };
        access::import(&self.warehouse, &self.tree().await, list, now()).await
    }

    /// Runs a statement as the owner of everything.
    pub(crate) async fn sql(&self, statement: &str) {
        self.warehouse.pool().execute(AssertSqlSafe(statement.to_owned())).await.expect("the statement");
    }
}

fn brand(title: &str) -> settings::Brand {
    settings::Brand {
        title: title.to_owned(),
        time_zone: chrono_tz::Tz::UTC,
        drive: None,
        dataverse_url: None,
        folder: None,
    }
}

/// Makes the tables of a brand, as a load would have.
async fn fill(warehouse: &Warehouse, brand: &str, stores: &[(&str, &str)], first: &str) {
    let list = |values: Vec<&str>| values.iter().map(|value| format!("'{value}'")).collect::<Vec<_>>().join(", ");
    let text = BRAND
        .replace(":schema", &format!("mart_{brand}"))
        .replace(":stores", &list(stores.iter().map(|store| store.0).collect()))
        .replace(":regions", &list(stores.iter().map(|store| store.1).collect()))
        .replace(":first", &format!("'{first}'"));
    warehouse.pool().execute(AssertSqlSafe(text)).await.expect("a brand's tables");
    let load = format!(
        "INSERT INTO ops.loads (run_id, pipeline, brand, table_name, committed_at) VALUES (1, 'sales_channel', '{brand}', 'sales_channel', '2025-11-29T11:00:00Z')"
    );
    warehouse.pool().execute(AssertSqlSafe(load)).await.expect("a load");
}

/// The folder that holds `sql/` and `metabase/`.
pub(crate) fn definitions() -> &'static std::path::Path {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The time of every test.
pub(crate) fn now() -> DateTime<Utc> {
    "2025-11-29T11:00:00Z".parse().expect("a time")
}
