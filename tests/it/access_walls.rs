//! The proof of the walls: everything there is, seen by every scope; and that the proof
//! finds what is planted.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::AssertSqlSafe;
use storekeeper::access::{self, Audit};
use storekeeper::settings::Wall;

use crate::support::chain::{Chain, definitions};
use crate::support::world::World;

/// A history beside a brand's schema, and a function that reads both, as whoever loads makes them.
fn history(brand: &str, table: &str) -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS history_{brand};
         CREATE TABLE history_{brand}.{table} (LIKE mart_{brand}.{table}, superseded_by bigint, superseded_at timestamptz);
         INSERT INTO history_{brand}.{table} SELECT *, 2, '2025-11-28T00:00:00Z' FROM mart_{brand}.{table};
         CREATE FUNCTION mart_{brand}.{table}_as_of(moment timestamptz) RETURNS SETOF mart_{brand}.{table}
         LANGUAGE sql STABLE SECURITY INVOKER AS $$
             SELECT * FROM mart_{brand}.{table}
             UNION ALL
             SELECT (jsonb_populate_record(NULL::mart_{brand}.{table}, to_jsonb(h))).*
             FROM history_{brand}.{table} h WHERE superseded_at > moment
         $$;"
    )
}

impl Chain {
    async fn audit(&self) -> Audit {
        access::audit(&self.warehouse, &self.brands, &self.installation.data_dir, Wall::Store, definitions())
            .await
            .expect("the audit")
    }

    /// What the audit finds wrong, a line each.
    async fn findings(&self) -> Vec<String> {
        let audit = self.audit().await;
        let of = |word: &str, lines: &[access::Finding]| -> Vec<String> {
            lines.iter().map(|line| format!("{word}: {line}")).collect()
        };
        let mut all = of("leak", &audit.leaks);
        all.extend(of("lack", &audit.lacks));
        all.extend(audit.unclassified.iter().map(|name| format!("unclassified: {name}")));
        all.extend(of("not covered", &audit.not_covered));
        all
    }
}

/// Everything that a loaded world holds, but for the parts of partitioned tables (which
/// are `closed` each) and the counters of `ops`. A new table, view or function fails the
/// test until somebody has put it here with its rule.
const BRAND: [(&str, &str); 55] = [
    ("view as_of", "by store"),
    ("table calendar", "every reader of the brand"),
    ("function calendar_as_of", "every reader of the brand"),
    ("function calendar_restatements", "closed"),
    ("table clock_in_out", "by store"),
    ("function clock_in_out_as_of", "by store"),
    ("function clock_in_out_restatements", "closed"),
    ("table daily_store_metrics", "by store"),
    ("function daily_store_metrics_as_of", "by store"),
    ("function daily_store_metrics_restatements", "closed"),
    ("view dayparts", "every reader of the brand"),
    ("table forecast", "by store"),
    ("function forecast_as_of", "by store"),
    ("function forecast_restatements", "closed"),
    ("table forecast_accuracy", "by store"),
    ("function forecast_accuracy_as_of", "by store"),
    ("function forecast_accuracy_restatements", "closed"),
    ("table forecast_effects", "by store"),
    ("function forecast_effects_as_of", "by store"),
    ("table forecast_models", "by store"),
    ("function forecast_models_as_of", "by store"),
    ("table forecast_reasons", "by store"),
    ("function forecast_reasons_as_of", "by store"),
    ("function forecast_reasons_restatements", "closed"),
    ("view forecast_by_daypart", "by store"),
    ("view forecast_by_day", "by store"),
    ("view forecast_errors", "by store"),
    ("view forecast_quality", "by store"),
    ("view hours_by_week", "by store"),
    ("view labor_by_day", "by store"),
    ("view labor_by_daypart", "by store"),
    ("table labor_plan", "by store"),
    ("function labor_plan_as_of", "by store"),
    ("function labor_plan_restatements", "closed"),
    ("view load_days", "readers of the whole brand"),
    ("view load_times", "every reader of the brand"),
    ("view pipeline_health", "readers of the whole brand"),
    ("view refused_rows", "readers of the whole brand"),
    ("view sales_by_day", "by store"),
    ("view sales_by_daypart", "by store"),
    ("table sales_channel", "by store"),
    ("function sales_channel_as_of", "by store"),
    ("function sales_channel_restatements", "closed"),
    ("view sales_days", "by store"),
    ("table staffing", "by store"),
    ("function staffing_as_of", "by store"),
    ("function staffing_restatements", "closed"),
    ("view staffing_by_day", "by store"),
    ("view staffing_by_daypart", "by store"),
    ("table staffing_curves", "by store"),
    ("function staffing_curves_as_of", "by store"),
    ("table store_hours", "by store"),
    ("function store_hours_as_of", "by store"),
    ("table stores", "by store"),
    ("function stores_as_of", "by store"),
];
const HISTORY: [(&str, &str); 16] = [
    ("table calendar", "every reader of the brand"),
    ("table clock_in_out", "by store"),
    ("table daily_store_metrics", "by store"),
    ("table forecast", "by store"),
    ("table forecast_accuracy", "by store"),
    ("table forecast_effects", "by store"),
    ("table forecast_models", "by store"),
    ("table forecast_reasons", "by store"),
    ("table horizon", "every reader of the brand"),
    ("view known_loads", "every reader of the brand"),
    ("table labor_plan", "by store"),
    ("table sales_channel", "by store"),
    ("table staffing", "by store"),
    ("table staffing_curves", "by store"),
    ("table store_hours", "by store"),
    ("table stores", "by store"),
];
const INSTALLATION: [(&str, &str); 31] = [
    ("table access.grants", "closed"),
    ("table access.imports", "closed"),
    ("table access.people", "closed"),
    ("table ops.archives", "ops"),
    ("table ops.certificates", "ops"),
    ("table ops.cursors", "ops"),
    ("table ops.drive_items", "ops"),
    ("table ops.evolved_columns", "ops"),
    ("table ops.export_rejects", "ops"),
    ("table ops.exported", "ops"),
    ("table ops.file_columns", "ops"),
    ("table ops.file_contents", "ops"),
    ("table ops.file_pieces", "closed"),
    ("table ops.files", "ops"),
    ("table ops.load_inputs", "ops"),
    ("table ops.loads", "ops"),
    ("table ops.mail_outbox", "ops"),
    ("table ops.mart_views", "ops"),
    ("table ops.metabase_graphs", "ops"),
    ("table ops.metabase_instances", "ops"),
    ("table ops.metabase_invitations", "ops"),
    ("table ops.metabase_objects", "ops"),
    ("table ops.quarantine", "ops"),
    ("table ops.runs", "ops"),
    ("table ops.schedule_occurrences", "ops"),
    ("table ops.schedules", "ops"),
    ("table ops.source_keys", "closed"),
    ("table ops.stale", "ops"),
    ("table public._sqlx_migrations", "closed"),
    ("table walls.roles", "closed"),
    ("table walls.stores", "own lines"),
];

/// What should be there, by kind and path.
fn expected() -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut put = |what: &str, schema: &str, rule: &str| {
        let (kind, name) = what.split_once(' ').unwrap();
        let path = if schema.is_empty() { name.to_owned() } else { format!("{schema}.{name}") };
        all.insert(format!("{kind} {path}"), rule.to_owned());
    };
    for (what, rule) in BRAND {
        for schema in ["mart_harbor", "mart_mesa"] {
            put(what, schema, rule);
        }
        if !what.starts_with("function") {
            put(&format!("view {}", what.split_once(' ').unwrap().1), "mart_all", rule);
        }
    }
    for (what, rule) in HISTORY {
        for schema in ["history_harbor", "history_mesa"] {
            put(what, schema, rule);
        }
    }
    for (what, rule) in INSTALLATION {
        put(what, "", rule);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_scope_sees_exactly_its_stores_of_everything_that_a_loaded_world_holds() {
    let world = World::start(14).await;
    for words in [&["db", "migrate"][..], &["run", "--all"], &["forecast", "run"]] {
        let said = world.storekeeper(words);
        assert_eq!(said.code, 0, "{words:?}: {}\n{}", said.json, said.log);
    }
    // As if every row had been another before.
    for brand in ["harbor", "mesa"] {
        for table in ["calendar", "stores", "sales_channel"] {
            let sql = format!("INSERT INTO history_{brand}.{table} SELECT t.*, 1 FROM mart_{brand}.{table} t");
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&world.pool).await.unwrap();
        }
    }

    let said = world.storekeeper(&["access", "audit"]);
    for list in ["leaks", "lacks", "unclassified", "not_covered"] {
        assert_eq!(said.json[list], serde_json::json!([]), "{list}");
    }
    assert_eq!(said.code, 0);
    let things = said.json["things"].as_array().unwrap();
    let rule = |thing: &serde_json::Value| match serde_json::from_value::<String>(thing["rule"]["is"].clone())
        .unwrap()
        .as_str()
    {
        "by_store" => "by store".to_owned(),
        "shared" => "every reader of the brand".to_owned(),
        "brand_readers" => "readers of the whole brand".to_owned(),
        "own_lines" => "own lines".to_owned(),
        other => other.to_owned(),
    };
    let mut found = BTreeMap::new();
    let (mut partitions, mut sequences) = (0, 0);
    for thing in things {
        let (kind, name) = (thing["kind"].as_str().unwrap(), thing["name"].as_str().unwrap());
        match kind {
            "partition" => partitions += 1,
            "sequence" => sequences += 1,
            _ => drop(found.insert(format!("{kind} {name}"), rule(thing))),
        }
        assert!(!matches!(kind, "partition" | "sequence") || rule(thing) == "closed", "{name}");
    }
    assert_eq!(
        found,
        expected(),
        "classify what is new in this test, in `sql/marts/shared.toml` or in `OPS_WITHHOLDS`"
    );
    assert!(partitions > 0 && sequences > 5, "{partitions} partitions, {sequences} sequences");

    // Every role tried every thing; the figures are no accident of empty tables.
    let stores: usize = world.text("SELECT count(*) FROM mart_all.stores").await.parse().unwrap();
    let scopes: BTreeSet<&str> =
        said.json["cells"].as_array().unwrap().iter().map(|cell| cell["scope"].as_str().unwrap()).collect();
    let of_stores = scopes.iter().filter(|scope| scope.starts_with("store:")).count();
    assert!(of_stores == stores && stores > 5, "{of_stores} of {stores}");
    assert_eq!(scopes.len(), said.json["roles"].as_u64().unwrap() as usize);
    assert_eq!(said.json["cells"].as_array().unwrap().len(), scopes.len() * things.len());
    let cell = |scope: &str, name: &str| {
        let cells = said.json["cells"].as_array().unwrap();
        cells.iter().find(|cell| cell["scope"] == scope && cell["name"] == name).unwrap()["seen"].as_i64()
    };
    for name in ["mart_harbor.sales_channel", "mart_harbor.sales_channel_as_of", "history_harbor.sales_channel"] {
        let parts: i64 = scopes
            .iter()
            .filter(|scope| scope.starts_with("store:harbor/"))
            .map(|scope| cell(scope, name).unwrap())
            .sum();
        let whole: i64 = world.text("SELECT count(*) FROM mart_harbor.sales_channel").await.parse().unwrap();
        assert!(parts > 100);
        assert_eq!(
            (parts, cell("brand:harbor", name), cell("chain", name)),
            (whole, Some(whole), Some(whole)),
            "{name}"
        );
        assert_eq!(cell("brand:mesa", name), None, "{name}");
        assert_eq!(cell("ops", name), None, "{name}");
    }
}

#[tokio::test]
async fn a_history_gets_the_walls_of_its_brand_when_it_comes() {
    let chain = Chain::small().await;
    chain.reconcile().await;
    assert_eq!(chain.findings().await, [""; 0]);
    for table in ["stores", "sales_channel", "calendar"] {
        chain.sql(&history("harbor", table)).await;
    }
    let raised = chain.reconcile().await;
    assert_eq!(raised.policies_changed, 2 * 3, "{raised:?}");
    assert_eq!(chain.findings().await, [""; 0]);
    assert_eq!(chain.reconcile().await.changes(), 0);
    let audit = chain.audit().await;
    let seen = |scope: &str, name: &str| {
        audit.cells.iter().find(|cell| cell.scope == scope && cell.name == name).expect("it was tried").seen
    };
    assert_eq!(seen("region:harbor/North", "history_harbor.stores"), Some(2));
    assert_eq!(seen("store:harbor/000125", "mart_harbor.stores_as_of"), Some(1));
    assert_eq!(seen("store:mesa/000125", "mart_harbor.stores_as_of"), None);
    assert_eq!(seen("store:mesa/000125", "history_harbor.stores"), None);
    assert_eq!(seen("store:mesa/000125", "history_harbor.calendar"), None);
    assert_eq!(seen("store:harbor/000125", "history_harbor.calendar"), seen("chain", "history_harbor.calendar"));
    // A function that acts as its owner is for nobody, whatever its name.
    chain
        .sql(
            "CREATE FUNCTION mart_harbor.all_as_of(timestamptz) RETURNS SETOF mart_harbor.stores
             LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT * FROM mart_harbor.stores'",
        )
        .await;
    assert!(chain.findings().await.iter().any(|line| line.contains("all_as_of")));
    chain.reconcile().await;
    let audit = chain.audit().await;
    assert!(audit.leaks.is_empty(), "{:?}", audit.leaks);
    assert!(audit.cells.iter().filter(|cell| cell.name == "mart_harbor.all_as_of").all(|cell| cell.seen.is_none()));
}

#[tokio::test]
async fn every_planted_hole_is_found_and_what_can_be_mended_is() {
    let chain = Chain::small().await;
    chain.reconcile().await;
    assert_eq!(chain.findings().await, [""; 0]);
    let role = |scope: &str| access::role_name(&chain.installation.name, &scope.parse().unwrap());
    let (store, brand) = (role("store:harbor/000101"), role("brand:mesa"));
    let owner = format!("{}_owner", chain.installation.name);
    let planted: [(String, &[&str], &str); 18] = [
        // What is planted; what must be said; what takes it back where reconciling does not.
        (
            format!(
                "CREATE VIEW mart_harbor.everything AS SELECT * FROM mart_harbor.stores;
                     GRANT SELECT ON mart_harbor.everything TO {store}"
            ),
            &[
                "view mart_harbor.everything: sees 1 row of 000102, not 0",
                "mart_harbor.everything: view that asks with its owner's rights",
            ],
            "DROP VIEW mart_harbor.everything",
        ),
        (
            format!(
                "CREATE TABLE mart_harbor.bare AS SELECT store_id FROM mart_harbor.stores;
                     GRANT SELECT ON mart_harbor.bare TO {store}"
            ),
            &[
                "table mart_harbor.bare: sees 1 row of 000125, not 0",
                "mart_harbor.bare: rows by store without row policies",
            ],
            "",
        ),
        (
            "GRANT SELECT ON mart_harbor.sales_channel_2025 TO PUBLIC".to_owned(),
            &[
                "PUBLIC: mart_harbor.sales_channel_2025: may SELECT",
                "partition mart_harbor.sales_channel_2025: reads it",
            ],
            "",
        ),
        (
            "GRANT SELECT ON SEQUENCE ops.runs_run_id_seq TO PUBLIC; GRANT USAGE ON SCHEMA ops TO PUBLIC".to_owned(),
            &["PUBLIC: ops.runs_run_id_seq: may SELECT", "sequence ops.runs_run_id_seq: reads it: 1 row"],
            "",
        ),
        // Out of reach as long as nobody may enter `ops`, and found all the same.
        ("GRANT SELECT ON ops.runs TO PUBLIC".to_owned(), &["PUBLIC: ops.runs: may SELECT"], ""),
        (
            format!("GRANT USAGE ON SCHEMA access TO {store}; GRANT SELECT (email) ON access.people TO {store}"),
            &["leak: store:harbor/000101: table access.people: reads it"],
            "",
        ),
        (format!("GRANT INSERT ON mart_harbor.stores TO {store}"), &["mart_harbor.stores: may INSERT"], ""),
        (
            "CREATE POLICY more ON mart_harbor.store_hours FOR SELECT USING (true)".to_owned(),
            &[
                "policy `more` is not ours",
                "store:harbor/000101: table mart_harbor.store_hours: sees 7 rows of 000102, not 0",
            ],
            "",
        ),
        (
            "ALTER TABLE mart_harbor.forecast DISABLE ROW LEVEL SECURITY".to_owned(),
            &[
                "mart_harbor.forecast: rows by store without row policies",
                "store:harbor/000125: table mart_harbor.forecast: sees",
            ],
            "",
        ),
        (
            format!("GRANT USAGE ON SCHEMA mart_harbor TO {brand}; GRANT SELECT ON mart_harbor.stores TO {brand}"),
            &["leak: brand:mesa: table mart_harbor.stores: reads it: 0 rows"],
            "",
        ),
        (
            format!("INSERT INTO walls.stores VALUES ('{store}', 'harbor', '000102')"),
            &["store:harbor/000101: table mart_harbor.stores: sees 1 row of 000102, not 0"],
            "",
        ),
        (
            format!("DELETE FROM walls.stores WHERE role_name = '{store}'"),
            &["lack: store:harbor/000101: table mart_harbor.stores: sees 0 rows of 000101, not 1"],
            "",
        ),
        (format!("GRANT {owner} TO {store}"), &["role ", "is a member of it"], ""),
        (format!("ALTER ROLE {store} BYPASSRLS"), &["is more than a reader", "sees 1 row of 000102, not 0"], ""),
        (
            "CREATE FUNCTION mart_harbor.names() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER
             AS 'SELECT store_name FROM mart_harbor.stores'; GRANT EXECUTE ON FUNCTION mart_harbor.names() TO PUBLIC"
                .to_owned(),
            &["function that acts as its owner", "function mart_harbor.names: may call a function"],
            "",
        ),
        (
            "CREATE MATERIALIZED VIEW mart_harbor.frozen AS SELECT * FROM mart_harbor.stores;
             GRANT SELECT ON mart_harbor.frozen TO PUBLIC"
                .to_owned(),
            &["materialized view mart_harbor.frozen: reads it: 4 rows"],
            "",
        ),
        (
            "CREATE TABLE mart_harbor.prices (item text)".to_owned(),
            &["unclassified: mart_harbor.prices"],
            "DROP TABLE mart_harbor.prices",
        ),
        (
            format!(
                "CREATE TABLE public.copy AS SELECT * FROM mart_harbor.stores; GRANT SELECT ON public.copy TO {store}"
            ),
            &["leak: store:harbor/000101: table public.copy: reads it: 4 rows"],
            "DROP TABLE public.copy",
        ),
    ];
    for (plant, wanted, undo) in planted {
        chain.sql(&plant).await;
        let found = chain.findings().await;
        for text in wanted {
            assert!(found.iter().any(|line| line.contains(text)), "`{plant}` was not found by `{text}`:\n{found:#?}");
        }
        if !undo.is_empty() {
            chain.sql(undo).await;
        }
        chain.reconcile().await;
    }
    assert_eq!(chain.findings().await, [""; 0], "reconciling has mended what it can");
    // The roles of the whole installation, and what the owner makes later.
    chain.sql(&format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT SELECT ON TABLES TO PUBLIC")).await;
    assert_eq!(chain.findings().await, [format!("leak: PUBLIC: what {owner} will make: may SELECT by default")]);
}

#[tokio::test]
async fn a_brand_that_left_the_settings_is_for_nobody() {
    let mut chain = Chain::small().await;
    chain.reconcile().await;
    chain.brands.remove(&"mesa".into());
    let found = chain.findings().await;
    assert!(found.iter().any(|line| line.starts_with("leak: chain: table mart_mesa.calendar: reads it")), "{found:#?}");
    chain.reconcile().await;
    assert_eq!(chain.findings().await, [""; 0]);
    assert_eq!(chain.reconcile().await.changes(), 0);
}

#[tokio::test]
async fn the_catalog_tells_a_reader_no_value_of_another_store() {
    let chain = Chain::small().await;
    chain.reconcile().await;
    chain.sql("ANALYZE").await;
    let role = access::role_name(&chain.installation.name, &"store:harbor/000101".parse().unwrap());
    let mut connection = chain.warehouse.pool().acquire().await.unwrap();
    let count = "SELECT count(*) FROM pg_stats WHERE schemaname LIKE 'mart%'";
    let everything: i64 = sqlx::query_scalar(count).fetch_one(&mut *connection).await.unwrap();
    sqlx::query(AssertSqlSafe(format!("SET ROLE {role}"))).execute(&mut *connection).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT DISTINCT tablename::text FROM pg_stats WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    )
    .fetch_all(&mut *connection)
    .await
    .unwrap();
    assert!(everything > 40, "there are statistics to hide");
    assert_eq!(tables, ["calendar"], "what every reader sees whole");
    // How many rows a table has is open to all who may connect: see docs/walls.md.
    let rows: f32 = sqlx::query_scalar(
        "SELECT reltuples FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE nspname = 'mart_mesa' AND relname = 'stores'",
    )
    .fetch_one(&mut *connection)
    .await
    .unwrap();
    assert_eq!(rows, 2.0);
    sqlx::query("RESET ROLE").execute(&mut *connection).await.unwrap();
}
