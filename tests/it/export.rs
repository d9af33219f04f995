//! Rows on their way back to Dataverse: only what changed, each once, and with
//! everything going wrong on the way.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sandbox::dataverse::Dataverse;
use sandbox::faults::{Outcome, Scenario, When};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::support::world::{Answer, World};

const TABLE: &str = "sk_salesforecast";
const MANY: &str = "POST *UpsertMultiple";
const BATCH: &str = "POST */$batch";
const RUN: [&str; 5] = ["export", "run", "sales_channel", "--brand", "mesa"];

/// A forecast of `stores` stores for thirty days and two dayparts, as a forecast leaves it.
async fn forecast(stores: u32) -> World {
    let world = World::start(3).await;
    let sql = format!(
        "CREATE SCHEMA mart_mesa;
         CREATE TABLE mart_mesa.forecast (store_id text, series text, business_date date, daypart text,
             mean numeric(14, 2), lower_80 numeric(14, 2), upper_80 numeric(14, 2), model text, made_on date);
         INSERT INTO mart_mesa.forecast
         SELECT lpad(s::text, 6, '0'), 'net_sales', d::date, p, s * 10 + 0.25, s * 9, s * 11, 'm', '2025-11-28'
         FROM generate_series(1, {stores}) s, generate_series(date '2025-11-29', date '2025-12-28', '1 day') d,
              unnest(ARRAY['Lunch', 'Late Night']) p"
    );
    change(&world, &sql).await;
    world
}

async fn change(world: &World, sql: &str) {
    world.pool.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
}

fn organisation(world: &World) -> &Dataverse {
    &world.stand_ins.dataverses["mesa"]
}

/// What stands in Dataverse, by its business key.
fn there(world: &World) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let row = |row: serde_json::Map<String, Value>| {
        let cells = ["sk_storenumber", "sk_businessdate", "sk_daypart", "sk_netsales", "sk_lower80", "sk_model"];
        (text(&row["sk_businesskey"]), cells.map(|cell| text(&row[cell])).join(" "))
    };
    organisation(world).rows(TABLE).into_iter().map(row).collect()
}

/// What should stand there.
async fn wanted(world: &World) -> BTreeMap<String, String> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT store_id || '_' || to_char(business_date, 'YYYYMMDD') || '_' || daypart,
                concat_ws(' ', store_id, business_date, daypart, mean::numeric(14, 4), lower_80::numeric(14, 4), model)
         FROM mart_mesa.forecast WHERE series = 'net_sales' AND daypart <> 'Day'",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    rows.into_iter().collect()
}

fn counts(answer: &Answer) -> [u64; 4] {
    let run = answer.run("export_sales_channel", "mesa");
    ["rows_inserted", "rows_updated", "rows_unchanged", "rows_quarantined"].map(|key| run[key].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_reaches_dataverse_to_the_cent_and_goes_there_once() {
    let world = World::start(20).await;
    assert_eq!(world.storekeeper(&["run", "stores", "sales_channel", "--brand", "mesa"]).code, 0);
    let first = world.storekeeper(&["forecast", "run", "--brand", "mesa"]);
    assert_eq!(first.code, 0, "{}\n{}", first.json, first.log);
    let rows = wanted(&world).await;
    assert!(rows.len() > 100, "{}", rows.len());
    assert_eq!(counts(&first), [rows.len() as u64, 0, 0, 0]);
    assert_eq!(there(&world), rows);
    let versions = organisation(&world).versions(TABLE);

    let again = world.storekeeper(&RUN);
    assert_eq!(again.runs(), ["export_sales_channel mesa: nothing_new"]);
    assert_eq!(counts(&again), [0, 0, rows.len() as u64, 0]);
    assert_eq!(organisation(&world).versions(TABLE), versions);

    let one = rows.keys().next().unwrap();
    let sql = format!(
        "UPDATE mart_mesa.forecast SET mean = mean + 1
         WHERE store_id || '_' || to_char(business_date, 'YYYYMMDD') || '_' || daypart = '{one}'"
    );
    change(&world, &sql).await;
    let plan = world.storekeeper(&["export", "plan", "sales_channel", "--brand", "mesa"]);
    let plan = &plan.json["exports"][0];
    assert_eq!((&plan["created"], &plan["changed"], &plan["deleted"]), (&0.into(), &1.into(), &0.into()), "{plan}");
    assert_eq!(organisation(&world).versions(TABLE), versions, "a plan sends nothing");
    let changed = world.storekeeper(&RUN);
    assert_eq!(counts(&changed), [0, 1, rows.len() as u64 - 1, 0]);
    assert_eq!(there(&world), wanted(&world).await);
    let moved = organisation(&world).versions(TABLE).iter().zip(&versions).filter(|(new, old)| new != old).count();
    assert_eq!(moved, 1, "no other row was touched");
    let all = world.storekeeper(&["export", "run", "sales_channel", "--brand", "mesa", "--full"]);
    assert_eq!(counts(&all), [0, rows.len() as u64, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_dies_anywhere_ends_in_the_rows_of_a_calm_one() {
    let world = forecast(45).await;
    let faults = organisation(&world).faults();
    // Small calls make several rounds of it.
    faults.script(MANY, When::Next(2), Scenario::DataverseTimeLimit(Some("0")));
    for point in ["export_opened", "export_sent", "export_noted", "export_sent"] {
        world.crash(&RUN, point);
    }
    let noted: usize = world.text("SELECT count(*) FROM ops.exported").await.parse().unwrap();
    assert!((1..2700).contains(&noted), "{noted} rows were noted before the crash");
    let versions: BTreeMap<_, _> = organisation(&world).versions(TABLE).into_iter().collect();
    let last = world.storekeeper(&RUN);
    assert_eq!(last.code, 0, "{}\n{}", last.json, last.log);
    assert_eq!(counts(&last)[2], noted as u64, "what was noted is not sent again");
    assert_eq!(there(&world), wanted(&world).await);
    assert_eq!(there(&world).len(), 2700);
    let kept =
        organisation(&world).versions(TABLE).into_iter().filter(|(id, version)| versions.get(id) == Some(version));
    assert!(kept.count() >= noted, "rows that were noted keep their version");
    let calm = organisation(&world).versions(TABLE);
    assert_eq!(counts(&world.storekeeper(&RUN)), [0, 0, 2700, 0]);
    assert_eq!(organisation(&world).versions(TABLE), calm);
    let interrupted = "SELECT count(*) FROM ops.runs WHERE status = 'interrupted' AND error LIKE '%goes on from there'";
    assert_eq!(world.text(interrupted).await, "4");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_service_says_on_the_way_the_rows_end_the_same() {
    let world = forecast(20).await;
    let faults = organisation(&world).faults();
    let wanted = wanted(&world).await;
    let outcomes: Vec<(&str, Outcome)> = vec![
        ("requests", Scenario::DataverseRequestLimit(Some("0")).into()),
        ("time", Scenario::DataverseTimeLimit(Some("0")).into()),
        ("concurrency", Scenario::DataverseConcurrencyLimit(Some("0")).into()),
        ("timeout", Scenario::DataverseSqlTimeout.into()),
        ("deadlock", Scenario::DataverseDeadlock.into()),
        ("too large", Scenario::DataverseTooLarge.into()),
        ("gateway", Scenario::DataverseBadGateway.into()),
        ("unauthorized", Scenario::DataverseUnauthorized.into()),
        ("lost", Outcome::LoseAnswer),
        ("closed", Outcome::Close),
    ];
    for bulk in [true, false] {
        organisation(&world).set_bulk(TABLE, bulk);
        for (name, outcome) in &outcomes {
            change(&world, "TRUNCATE ops.exported; UPDATE mart_mesa.forecast SET mean = mean + 1").await;
            faults.clear();
            faults.forget_requests();
            let route = if bulk { MANY } else { BATCH };
            // Both calls of the first round meet it; a second refusal of a fresh token would be final.
            let times = if *name == "unauthorized" { 1 } else { 2 };
            let rule = faults.script(route, When::Next(times), outcome.clone());
            let answer = world.storekeeper(&RUN);
            assert_eq!(answer.code, 0, "{name}: {}\n{}", answer.json, answer.log);
            assert_eq!(faults.fired(rule), times, "{name}");
            assert_eq!(there(&world).len(), wanted.len(), "{name}: nothing twice");
            assert_eq!(there(&world), self::wanted(&world).await, "{name}");
            let sizes: Vec<usize> = faults.requests_to(MANY).iter().map(|request| request.body_bytes).collect();
            let most = sizes.iter().copied().max().unwrap_or(0);
            let whole = sizes.iter().filter(|size| **size == most).count();
            match *name {
                _ if !bulk => assert_eq!(sizes, Vec::<usize>::new()),
                // The largest call is never repeated as it was.
                "time" | "timeout" | "deadlock" | "too large" => {
                    assert!(whole == 1 && sizes.len() > 4, "{name}: {sizes:?}");
                }
                _ => assert_eq!(sizes.len(), 2 + times as usize, "{name}: {sizes:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_row_among_many_is_refused_alone_and_says_why() {
    let world = forecast(20).await;
    let secret = "Anna Meyer ".repeat(400);
    let bad = "WHERE store_id = '000007' AND business_date = '2025-12-03' AND daypart = 'Lunch'";
    change(&world, &format!("UPDATE mart_mesa.forecast SET model = '{secret}' {bad}")).await;
    change(&world, "UPDATE mart_mesa.forecast SET mean = NULL WHERE store_id = '000009'").await;
    change(&world, "INSERT INTO mart_mesa.forecast SELECT * FROM mart_mesa.forecast WHERE store_id = '000003' LIMIT 1")
        .await;
    let run = world.storekeeper(&RUN);
    assert_eq!(run.code, 0, "{}\n{}", run.json, run.log);
    assert_eq!(counts(&run), [1199, 0, 0, 2]);
    let report = run.run("export_sales_channel", "mesa");
    let mut rules: Vec<&str> =
        report["quarantine"].as_array().unwrap().iter().map(|row| row["rule"].as_str().unwrap()).collect();
    rules.sort_unstable();
    assert_eq!(rules, ["0x80044331", "duplicate_key"]);
    assert!(report.to_string().contains("The length of the 'sk_model' attribute"), "{report}");
    assert!(!run.log.contains("Anna") && !report.to_string().contains("Anna"));
    assert_eq!(there(&world).len(), 1199);
    let rejects = world.storekeeper(&["export", "rejects"]);
    assert_eq!(rejects.json.as_array().unwrap().len(), 2, "{}", rejects.json);

    change(&world, &format!("UPDATE mart_mesa.forecast SET model = 'm' {bad}")).await;
    let mended = world.storekeeper(&RUN);
    assert_eq!(counts(&mended), [1, 0, 1199, 1]);
    assert_eq!(world.storekeeper(&["export", "rejects"]).json.as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_no_address_carries_are_written_all_the_same_and_once() {
    let world = forecast(1).await;
    let odd = ["A&B", "50% off", "1/2", "what?", "a+b", "O'Clock", "é, (x)=1"];
    for (day, daypart) in odd.iter().enumerate() {
        let daypart = daypart.replace('\'', "''");
        let sql = format!(
            "UPDATE mart_mesa.forecast SET daypart = '{daypart}' WHERE daypart = 'Lunch' AND business_date = date '2025-11-29' + {day}"
        );
        change(&world, &sql).await;
    }
    for bulk in [true, false] {
        organisation(&world).set_bulk(TABLE, bulk);
        // An answer that is lost must not create the row twice.
        let faults = organisation(&world).faults();
        let rule = faults.script("PATCH *", When::Next(1), Outcome::LoseAnswer);
        let run = world.storekeeper(&[&RUN[..], &["--full"]].concat());
        assert_eq!(run.code, 0, "{}\n{}", run.json, run.log);
        assert_eq!(faults.fired(rule), 1);
        assert_eq!(there(&world), wanted(&world).await);
        change(&world, "UPDATE mart_mesa.forecast SET mean = mean + 1").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_ready_gets_no_row_at_all() {
    let world = forecast(1).await;
    assert!(organisation(&world).set_key_active(TABLE, "sk_businesskey_key", false));
    let run = world.storekeeper(&RUN);
    let report = run.run("export_sales_channel", "mesa");
    assert_eq!((run.code, &report["status"]), (1, &"failed".into()));
    let error = report["error"].as_str().unwrap();
    assert!(error.contains("the alternate key of `sk_businesskey` is `Pending`, not `Active`"), "{error}");
    assert_eq!(there(&world).len(), 0);
    assert!(organisation(&world).set_key_active(TABLE, "sk_businesskey_key", true));
    organisation(&world).faults().script(MANY, When::Every, Scenario::DataverseMissingPrivilege(TABLE));
    let run = world.storekeeper(&RUN);
    assert_eq!(run.code, 1);
    assert!(run.run("export_sales_channel", "mesa")["error"].to_string().contains("prv"), "{}", run.json);
    organisation(&world).faults().clear();
    assert_eq!(world.storekeeper(&RUN).code, 0);
    let unknown = world.storekeeper(&["export", "run", "stores"]);
    assert_eq!(unknown.code, 2, "{}", unknown.json);
}

/// A folder of definitions with one pipeline, whose rows come from `sql`.
fn definitions(world: &World, export: &str, sql: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = world.folder().join("definitions");
    let own = folder.join("pipelines/sales/own");
    std::fs::create_dir_all(&own).unwrap();
    let link = folder.join("sql");
    if !link.exists() {
        std::os::unix::fs::symlink(root.join("sql"), link).unwrap();
    }
    let head = "title = \"Own\"\n[source]\nkind = \"upload\"\nformat = { kind = \"csv\" }\n[contract]\n\
                columns = [{ name = \"store_id\", type = \"store_id\" }]\n[destination]\ntable = \"own\"\n\
                write_disposition = \"append\"\n";
    std::fs::write(own.join("pipeline.toml"), format!("{head}[export]\n{export}\n")).unwrap();
    std::fs::write(own.join("export.sql"), sql).unwrap();
    folder
}

const KEYED: &str = "entity_set = \"sk_salesforecasts\"\nkey = [\"sk_businesskey\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_selected_no_more_are_deleted_only_where_that_is_wanted() {
    let world = forecast(10).await;
    let sql = "SELECT store_id || '/' || business_date || daypart AS sk_businesskey, mean AS sk_netsales
               FROM forecast WHERE store_id < '000006';\n";
    let foreign = serde_json::json!({"sk_businesskey": "somebody's own"});
    organisation(&world).upsert(TABLE, foreign.as_object().unwrap()).unwrap();
    let run = |missing: &str, sql: &str| {
        let folder = definitions(&world, &format!("{KEYED}missing = \"{missing}\""), sql);
        world.storekeeper_in(&folder, &["export", "run", "own", "--brand", "mesa"])
    };
    assert_eq!(run("keep", &sql.replace('/', "-")).code, 0);
    assert_eq!(organisation(&world).rows(TABLE).len(), 301);
    let fewer = sql.replace('/', "-").replace("000006", "000003");
    assert_eq!(run("keep", &fewer).code, 0);
    assert_eq!(organisation(&world).rows(TABLE).len(), 301, "they stay");
    organisation(&world).faults().script(BATCH, When::Next(1), Outcome::LoseAnswer);
    let answer = run("delete", &fewer);
    assert_eq!(answer.code, 0, "{}\n{}", answer.json, answer.log);
    assert_eq!(organisation(&world).rows(TABLE).len(), 121, "theirs is left");
    let nothing = run("delete", &fewer.replace("000003", "000000"));
    assert_eq!(nothing.runs(), ["export_own mesa: nothing_new"]);
    assert_eq!(organisation(&world).rows(TABLE).len(), 121, "a query that selects nothing deletes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_can_read_its_brand_and_write_nowhere() {
    let world = forecast(1).await;
    change(
        &world,
        "CREATE FUNCTION mart_mesa.harm() RETURNS text LANGUAGE sql AS
                    'DELETE FROM mart_mesa.forecast RETURNING store_id'",
    )
    .await;
    for (sql, part) in [
        ("SELECT harm() AS sk_businesskey", "read-only transaction"),
        ("DELETE FROM forecast RETURNING store_id AS sk_businesskey", "syntax error"),
        ("SELECT 1 AS sk_netsales", "does not select `sk_businesskey`"),
        ("SELECT 'a' AS sk_businesskey, 1 AS sk_netsale", "`sk_netsales` is spelled most alike"),
    ] {
        let folder = definitions(&world, KEYED, sql);
        let run = world.storekeeper_in(&folder, &["export", "run"]);
        let error = run.run("export_own", "mesa")["error"].as_str().unwrap().to_owned();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(world.text("SELECT count(*) FROM mart_mesa.forecast").await, "60");
    let folder = definitions(&world, KEYED, "SELECT 'a' AS sk_businesskey FROM not_loaded_yet");
    let run = world.storekeeper_in(&folder, &["export", "run", "--brand", "mesa"]);
    assert_eq!(run.runs(), ["export_own mesa: nothing_new"]);
}
