//! Loads taken back: exactly, refused where later loads build on them, whatever
//! the order, and however the program dies in the middle.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Days, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use sandbox::generator::{self, Options};
use sandbox::stand_ins::StandIns;
use serde_json::Value;
use storekeeper::app::App;
use storekeeper::clock::Clock;
use storekeeper::ids::{BrandId, LoadId};
use storekeeper::pipelines::{self, Doors, Engine, Error, Order, Pipeline, Status, Trigger, UndoOrder, UndoWhat};
use storekeeper::settings;
use storekeeper::warehouse::Warehouse;

use crate::support::place::{Place, SCHEMA};
use crate::support::world::World;

const SALES: &str = r#"
title = "Sales"
[source]
kind = "upload"
format = { kind = "csv" }
[contract]
key = ["store", "day"]
quarantine_threshold = 1.0
[[contract.columns]]
name = "store"
type = "text"
[[contract.columns]]
name = "day"
type = "date"
[[contract.columns]]
name = "sales"
type = "decimal(12,2)"
[destination]
table = "sales"
write_disposition = "DISPOSITION"
partition_by = "day"
"#;

fn definition(disposition: &str) -> String {
    let window = if disposition == "replace_window" { "\nwindow = [\"day\"]\n" } else { "" };
    SALES.replace("DISPOSITION", disposition) + window
}

async fn place(disposition: &str) -> Place {
    let place = Place::start().await;
    place.write("pipelines/sales/pipeline.toml", definition(disposition));
    place
}

/// Loads lines of a day of November below a header; answers with the run's number.
fn load(place: &Place, name: &str, lines: &[&str]) -> String {
    let lines: String = lines.iter().map(|line| format!("{}\n", line.replace('@', "2025-11-"))).collect();
    let file = place.write(name, format!("store,day,sales\n{lines}"));
    let run = place.run("sales", &file);
    assert_eq!(run["status"], "succeeded", "{run}");
    run["run_id"].to_string()
}

/// Everything there is, with where it is from.
async fn whole(place: &Place) -> Vec<Vec<Option<String>>> {
    place
        .rows(&format!("SELECT store, day, sales, load_id, file_id, source_row FROM {SCHEMA}.sales ORDER BY 1, 2"))
        .await
}

fn codes(json: &Value) -> Vec<String> {
    let line = |load: &Value| {
        let rows = &load["rows"];
        format!("{} {} -{} +{}", load["load_id"], load["because"].as_str().unwrap(), rows["removed"], rows["restored"])
    };
    json["loads"].as_array().into_iter().flatten().map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn overwritten_and_removed_rows_come_back_as_they_were() {
    let place = place("replace_window").await;
    load(&place, "one.csv", &["A,@01,10", "B,@01,20", "A,@02,30"]);
    let before = whole(&place).await;
    let bad = load(&place, "two.csv", &["A,@01,99", "C,@01,5"]);
    let wrong = whole(&place).await;
    assert_ne!(before, wrong);
    let plan = place.storekeeper(&["undo", &bad, "--dry-run"]);
    assert_eq!((plan.code, codes(&plan.json)), (Some(4), vec!["2 asked -null +null".to_owned()]), "{}", plan.log);
    assert_eq!(whole(&place).await, wrong, "a plan changes nothing");

    let undone = place.storekeeper(&["undo", &bad, "--why", "the wrong week"]);
    assert_eq!((undone.code, codes(&undone.json)), (Some(0), vec!["2 asked -2 +2".to_owned()]), "{}", undone.log);
    assert_eq!(whole(&place).await, before);
    assert_eq!(undone.json["run"]["notes"][1], "why: the wrong week");

    let twice = place.storekeeper(&["undo", &bad]);
    assert_eq!((twice.code, &twice.json["run"]), (Some(0), &Value::Null), "{}", twice.log);
    assert_eq!(whole(&place).await, before);
    let runs = place.storekeeper(&["runs", "list"]);
    assert_eq!(runs.json["runs"][0]["trigger"], "undo");
    assert_eq!(runs.json["runs"][1]["undone_by"], runs.json["runs"][0]["run_id"]);

    let shown = place.storekeeper(&["runs", "show", &bad]).json;
    assert_eq!((&shown["trigger"], &shown["undone_by"]), (&"upload".into(), &undone.json["run"]["run_id"]), "{shown}");
    assert_eq!((&shown["files"][0]["name"], &shown["files"][0]["state"]), (&"two.csv".into(), &"taken_back".into()));

    let undo = undone.json["run"]["run_id"].to_string();
    let of_undo = place.storekeeper(&["undo", &undo]);
    assert_eq!(of_undo.code, Some(1));
    assert!(of_undo.json["error"].as_str().unwrap().contains("is itself an undo"), "{}", of_undo.json);
    let none = place.storekeeper(&["undo", "999"]);
    assert_eq!((none.code, &none.json["error"]), (Some(1), &Value::from("run 999 loaded nothing")));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_of_an_undone_load_is_not_loaded_again_unless_it_is_asked_for() {
    let place = place("merge").await;
    load(&place, "one.csv", &["A,@01,10"]);
    let bad = load(&place, "two.csv", &["A,@01,99"]);
    let undone = place.storekeeper(&["undo", &bad]);
    let note = "`two.csv` counts as loaded, though the load was taken back: \
                `storekeeper run sales --brand harbor --full --file PATH` loads it all the same";
    assert_eq!(undone.json["notes"], serde_json::json!([note]));
    let again = place.run("sales", &place.path("two.csv"));
    assert_eq!((&again["status"], &again["notes"]), (&"nothing_new".into(), &serde_json::json!([note])), "{again}");
    let other = place.run("sales", &place.path("one.csv"));
    assert_eq!((&other["status"], &other["notes"]), (&"nothing_new".into(), &serde_json::json!([])), "{other}");
    let file = place.path("two.csv");
    let full = place.storekeeper(&["run", "sales", "--full", "--file", file.to_str().unwrap()]);
    assert_eq!(full.json["runs"][0]["rows_updated"], 1, "{}", full.json);
    assert_eq!(place.text(&format!("SELECT sales FROM {SCHEMA}.sales")).await, "99.00");
    let loaded = place.run("sales", &place.path("two.csv"));
    assert_eq!((&loaded["status"], &loaded["notes"]), (&"nothing_new".into(), &serde_json::json!([])), "{loaded}");
}

#[tokio::test(flavor = "multi_thread")]
async fn later_loads_that_build_on_it_are_listed_and_go_with_a_cascade() {
    let place = place("merge").await;
    load(&place, "one.csv", &["A,@01,10", "B,@01,20"]);
    let before = whole(&place).await;
    let bad = load(&place, "two.csv", &["A,@01,11"]);
    load(&place, "three.csv", &["A,@01,11", "C,@01,1"]);
    load(&place, "four.csv", &["A,@01,12"]);
    load(&place, "five.csv", &["D,@02,7"]);
    let with_five = whole(&place).await;
    let refused = place.storekeeper(&["undo", &bad]);
    assert_eq!(refused.code, Some(1));
    let said = refused.json["error"].as_str().unwrap();
    assert!(said.starts_with("later loads build on run 2: load 4 "), "{said}");
    assert!(said.contains("(sales) replaced or removed rows of it; load 3 "), "{said}");
    assert!(said.ends_with("(sales) brought rows of it again"), "{said}");
    assert!(refused.json["hint"].as_str().unwrap().contains("--cascade"));
    assert_eq!(whole(&place).await, with_five, "a refused undo changes nothing");

    let undone = place.storekeeper(&["undo", &bad, "--cascade"]);
    assert_eq!(codes(&undone.json), ["4 built_on_it -1 +1", "3 built_on_it -1 +0", "2 asked -1 +1"], "{}", undone.log);
    let mut wanted = before;
    wanted.push(with_five.last().unwrap().clone());
    assert_eq!(whole(&place).await, wanted);
    // What only stood in the way is loaded again; what was asked for is not.
    assert_eq!(place.run("sales", &place.path("three.csv"))["status"], "succeeded");
    assert_eq!(place.run("sales", &place.path("two.csv"))["status"], "nothing_new");
}

/// The second load only removes a row; the third touches nothing, but says as much of that day.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_load_that_is_the_truth_of_the_same_day_is_in_the_way() {
    let place = place("replace_window").await;
    load(&place, "one.csv", &["A,@01,10", "B,@01,20"]);
    let bad = load(&place, "two.csv", &["A,@01,10"]);
    load(&place, "three.csv", &["A,@01,10", "C,@02,5"]);
    let refused = place.storekeeper(&["undo", &bad]);
    assert_eq!(refused.code, Some(1), "{}", refused.json);
    let said = refused.json["error"].as_str().unwrap();
    assert!(said.ends_with("(sales) is the whole truth of a part that it changed"), "{said}");
}

/// The second load only removes a row, which comes again by a load that covers no day.
#[tokio::test(flavor = "multi_thread")]
async fn a_later_load_that_brought_a_removed_row_again_is_in_the_way() {
    let place = place("replace_window").await;
    load(&place, "one.csv", &["A,@01,10", "B,@01,20"]);
    let bad = load(&place, "two.csv", &["A,@01,10"]);
    place.write("pipelines/sales/pipeline.toml", definition("merge"));
    load(&place, "three.csv", &["B,@01,30"]);
    let refused = place.storekeeper(&["undo", &bad]);
    assert_eq!(refused.code, Some(1), "{}", refused.json);
    let said = refused.json["error"].as_str().unwrap();
    assert!(said.ends_with("(sales) changed rows that it had changed"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_dies_anywhere_is_done_or_not_and_can_be_typed_again() {
    let place = place("replace_window").await;
    load(&place, "one.csv", &["A,@01,10", "B,@01,20"]);
    let before = whole(&place).await;
    let bad = load(&place, "two.csv", &["A,@01,99"]);
    let wrong = whole(&place).await;
    for point in ["undo_opened", "undo_taken_back", "undo_before_commit", "undo_committed"] {
        let died = place.command(&["undo", &bad]).env("STOREKEEPER_CRASH_AT", point).output().unwrap();
        assert_eq!(died.status.code(), None, "the program should have died at `{point}`");
        let left = if point == "undo_committed" { &before } else { &wrong };
        assert_eq!(whole(&place).await, *left, "{point}");
    }
    assert_eq!(place.storekeeper(&["undo", &bad]).code, Some(0));
    assert_eq!(whole(&place).await, before);
    let open = place.text("SELECT count(*) FROM ops.runs WHERE status = 'running'").await;
    assert_eq!(open, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_rows_and_their_replays_go_with_their_load() {
    let place = Place::start().await;
    let limited = definition("merge")
        .replace("type = \"decimal(12,2)\"", "type = \"decimal(12,2)\"\nrules = [{ kind = \"range\", max = 100 }]");
    place.write("pipelines/sales/pipeline.toml", &limited);
    let run = load(&place, "one.csv", &["A,@01,10", "B,@01,200", "C,@01,2000"]);
    place.write("pipelines/sales/pipeline.toml", limited.replace("100", "1000"));
    let replay = place.storekeeper(&["quarantine", "replay", "--all"]);
    assert_eq!(replay.json["runs"][0]["rows_inserted"], 1, "{}", replay.json);
    let undone = place.storekeeper(&["undo", &run]);
    assert_eq!(codes(&undone.json), ["2 made_of_it -1 +0", "1 asked -1 +0"], "{}", undone.log);
    let states = place.rows("SELECT DISTINCT state FROM ops.quarantine").await;
    assert_eq!(states, [[Some("undone".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_goes_with_the_load_it_was_made_of_and_is_made_again() {
    let world = World::start(40).await;
    let (run, forecast) =
        (["run", "stores", "sales_channel", "--brand", "mesa"], ["forecast", "run", "--brand", "mesa"]);
    assert_eq!(world.storekeeper(&run).code, 0);
    assert_eq!(world.storekeeper(&forecast).code, 0);
    let before = world.digest().await;
    let lineage = "SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM
                   (SELECT store_id, business_date, daypart, mean, load_id, source_row FROM mart_mesa.forecast) t";
    let forecast_before = world.text(lineage).await;

    let other = Options { days: 40, seed: 8, today: "2025-11-29".parse().unwrap(), ..Options::demo() };
    let now = "2025-11-29T10:30:00Z".parse().unwrap();
    let other = StandIns::start(&generator::World::generate(&other), now, None).await.unwrap();
    let (site, folder, name) = ("sites/mesa", "BI Import", "Sales Channel - Daily.xlsx");
    world.stand_ins.graph.put_file(site, folder, name, other.graph.file(site, folder, name).unwrap(), now);
    let succeeded = [
        "forecast_labor_hours mesa: nothing_new",
        "forecast_net_sales mesa: succeeded",
        "forecast_orders mesa: succeeded",
        "export_sales_channel mesa: succeeded",
        // Nothing was worked yet.
        "staffing_required_hours mesa: nothing_new",
        "export_clock_in_out mesa: nothing_new",
    ];
    let bad = world.storekeeper(&run);
    let bad = bad.run("sales_channel", "mesa");
    assert!(bad["rows_updated"].as_u64().unwrap() > 0, "{bad}");
    assert_eq!(world.storekeeper(&forecast).runs(), succeeded);
    assert_ne!(world.digest().await, before);
    let known = "SELECT count(*) FROM mart_mesa.forecast_as_of('2025-11-29T11:00:00Z')";
    assert_eq!(world.text(known).await, world.text("SELECT count(*) FROM mart_mesa.forecast").await);

    let bad = bad["run_id"].to_string();
    world.crash(&["undo", &bad], "undo_committed");
    assert_eq!(
        world.text("SELECT string_agg(pipeline, ' ' ORDER BY pipeline) FROM ops.stale").await,
        "forecast_net_sales forecast_orders"
    );
    let undone = world.storekeeper(&["undo", &bad]);
    assert_eq!(undone.code, 0, "{}", undone.log);
    let again = [
        "forecast_net_sales mesa: nothing_new",
        "forecast_orders mesa: nothing_new",
        "export_sales_channel mesa: succeeded",
    ];
    assert_eq!(undone.runs(), again, "the forecast of before is there again, and was sent again");
    assert_eq!(world.text("SELECT count(*) FROM ops.stale").await, "0");
    assert_eq!(world.digest().await, before);
    assert_eq!(world.text(lineage).await, forecast_before);
    let again = world.storekeeper(&run);
    assert!(again.runs().iter().all(|line| line.ends_with("nothing_new")), "{:?}", again.runs());
}

/// What a table should hold, by store and day.
type Model = BTreeMap<(String, String), String>;

/// What a load brings.
type Rows = Vec<(String, String, String)>;

fn random_rows(random: &mut StdRng) -> Rows {
    let mut rows = BTreeMap::new();
    for _ in 0..random.random_range(1..8) {
        let store = ["A", "B", "C"].choose(random).unwrap();
        let day = format!("2025-{:02}-{:02}", random.random_range(10..12), random.random_range(1..3));
        rows.insert(((*store).to_owned(), day), format!("{}.00", random.random_range(1..4)));
    }
    rows.into_iter().map(|((store, day), sales)| (store, day, sales)).collect()
}

fn model(disposition: &str, loads: &[&Rows]) -> Model {
    let mut table = Model::new();
    for rows in loads {
        let days: BTreeSet<&String> = rows.iter().map(|row| &row.1).collect();
        match disposition {
            "replace" => table.clear(),
            "replace_window" => table.retain(|(_, day), _| !days.contains(day)),
            _ => {}
        }
        table.extend(rows.iter().map(|(store, day, sales)| ((store.clone(), day.clone()), sales.clone())));
    }
    table
}

/// One brand's table, loaded and undone within this process.
struct Bench<'a> {
    place: &'a Place,
    doors: Doors,
    keeping: settings::Warehouse,
    warehouse: Warehouse,
    pipeline: Pipeline,
}

impl Bench<'_> {
    fn engine(&self, now: DateTime<Utc>) -> Engine {
        Engine::new(self.warehouse.clone(), self.doors.clone(), Clock::Fixed(now), self.keeping.clone())
    }

    async fn load(&self, brand: &BrandId, rows: &Rows, now: DateTime<Utc>) -> LoadId {
        let lines: String = rows.iter().map(|(store, day, sales)| format!("{store},{day},{sales}\n")).collect();
        let file = self.place.write("load.csv", format!("store,day,sales\n{lines}"));
        let order = Order { trigger: Trigger::Upload, file: Some(file), full: true };
        let report = self.engine(now).run(&self.pipeline, brand, &order).await.unwrap();
        assert_eq!(report.status, Status::Succeeded, "{:?}", report.error);
        report.load_id.unwrap()
    }

    async fn table(&self, from: &str) -> Model {
        let rows = self.place.rows(&format!("SELECT store, day, sales FROM {from}")).await;
        let cell = |cell: &Option<String>| cell.clone().unwrap();
        rows.iter().map(|row| ((cell(&row[0]), cell(&row[1])), cell(&row[2]))).collect()
    }
}

/// Random loads, some of them again, and undos in any order: after each step the
/// table is what the kept loads make, and at the end so it is for every moment before.
#[tokio::test(flavor = "multi_thread")]
async fn the_table_is_always_what_the_kept_loads_make() {
    let start: DateTime<Utc> = "2025-11-29T11:00:00Z".parse().unwrap();
    let (mut undone, mut refused) = (0, 0);
    for (at, disposition) in ["merge", "replace_window", "replace"].into_iter().enumerate() {
        let place = place(disposition).await;
        let mut settings = settings::read(&[place.path("config.toml")], &place.variables()).unwrap();
        let only = settings.brands.values().next().unwrap().clone();
        let brands: Vec<(BrandId, BrandId)> =
            (0..4).map(|seed| (BrandId(format!("kept{seed}")), BrandId(format!("again{seed}")))).collect();
        for brand in brands.iter().flat_map(|(one, two)| [one, two]) {
            settings.brands.insert(brand.clone(), only.clone());
        }
        let app = App { settings, clock: Clock::Fixed(start), definitions: place.path("") };
        let pipeline = pipelines::read_all(&app.definitions).await.unwrap().remove(0);
        let warehouse = app.warehouse().await.unwrap();
        let bench = Bench {
            place: &place,
            doors: app.doors().unwrap(),
            keeping: app.settings.warehouse.clone(),
            warehouse,
            pipeline,
        };
        for (seed, (brand, replayed)) in brands.iter().enumerate() {
            let mut random = StdRng::seed_from_u64((at * 100 + seed) as u64);
            let path = format!("{}.sales", brand.schema());
            let mut loads: Vec<(LoadId, Rows, bool)> = Vec::new();
            let mut known: Vec<(DateTime<Utc>, Model)> = Vec::new();
            for step in 0..24 {
                let now = start + TimeDelta::hours(step);
                let kept: Vec<LoadId> = loads.iter().filter(|load| load.2).map(|load| load.0).collect();
                if !kept.is_empty() && random.random_bool(0.4) {
                    let what = UndoWhat::Load(*kept.choose(&mut random).unwrap());
                    let order = UndoOrder { what, cascade: random.random_bool(0.4), why: None };
                    let plan = bench.engine(now).plan_undo(what).await.unwrap();
                    match bench.engine(now).undo(&order).await {
                        Ok(gone) => {
                            assert_eq!(gone.run.as_ref().map(|run| run.status), Some(Status::Succeeded));
                            assert_eq!(gone.loads.len(), plan.loads.len());
                            undone += gone.loads.len();
                            for load in &gone.loads {
                                let entry = loads.iter_mut().find(|(id, ..)| *id == load.step.load.load_id).unwrap();
                                entry.2 = false;
                            }
                        }
                        Err(Error::BuiltOn { .. }) => refused += 1,
                        Err(error) => panic!("{error:?}"),
                    }
                } else {
                    let again = loads.choose(&mut random).map(|load| load.1.clone());
                    let rows = again.filter(|_| random.random_bool(0.5)).map(|mut rows| {
                        // Often with a row less than before: a removal, and nothing else.
                        if rows.len() > 1 && random.random_bool(0.4) {
                            rows.remove(random.random_range(..rows.len()));
                        }
                        rows
                    });
                    let rows = rows.unwrap_or_else(|| random_rows(&mut random));
                    let load_id = bench.load(brand, &rows, now).await;
                    loads.push((load_id, rows, true));
                }
                let kept: Vec<&Rows> = loads.iter().filter(|load| load.2).map(|load| &load.1).collect();
                let wanted = model(disposition, &kept);
                assert_eq!(bench.table(&path).await, wanted, "{disposition} {brand} step {step}: {loads:?}");
                known.push((now, wanted));
            }
            for (moment, wanted) in &known {
                let as_of = format!("{}.sales_as_of('{moment}')", brand.schema());
                assert_eq!(bench.table(&as_of).await, *wanted, "{disposition} {brand} as known at {moment}");
            }
            let before = format!("{}.sales_as_of('{}')", brand.schema(), start - Days::new(1));
            assert_eq!(bench.table(&before).await, Model::new());
            for (_, rows, _) in loads.iter().filter(|load| load.2) {
                bench.load(replayed, rows, start).await;
            }
            if loads.iter().any(|load| load.2) {
                let replayed = bench.table(&format!("{}.sales", replayed.schema())).await;
                assert_eq!(bench.table(&path).await, replayed, "{disposition} {brand} against a replay");
            }
        }
        bench.warehouse.close().await;
    }
    assert!(undone > 40 && refused > 8, "{undone} undone, {refused} refused");
}
