//! Forecasts of a chain of a test's own: what it plans, and how earlier forecasts turned out.

use chrono::{Datelike as _, Days, NaiveDate};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use storekeeper::app::App;
use storekeeper::clock::Clock;
use storekeeper::ids::BrandId;
use storekeeper::pipelines::{self, Engine};
use storekeeper::settings;

use crate::support::place::Place;

const SALES: &str = r#"
title = "Sales"
[source]
kind = "upload"
format = { kind = "csv" }
[contract]
key = ["store_id", "day"]
[[contract.columns]]
name = "store_id"
type = "store_id"
[[contract.columns]]
name = "day"
type = "date"
[[contract.columns]]
name = "sales"
type = "decimal(12,2)"
[destination]
table = "sales"
write_disposition = "merge"
[forecast]
series = "sales"
value = "sales"
date = "day"
events = "events"
"#;

const LAST: &str = "2025-11-28";

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// The definition that `docs/definitions.md` shows, of a file that is handed in.
fn events_definition() -> String {
    let docs = include_str!("../../docs/definitions.md");
    let block = docs.split("```toml\n").find(|block| block.starts_with("title = \"Events\"")).unwrap();
    let block = block.split("```").next().unwrap();
    let (before, rest) = block.split_once("[source]\n").unwrap();
    let (_, contract) = rest.split_once("[contract]\n").unwrap();
    format!("{before}[source]\nkind = \"upload\"\nformat = {{ kind = \"csv\" }}\n[contract]\n{contract}")
}

/// Six stores with three hundred days; promotions of a week every six lift a day by three tenths.
fn promoted(date: NaiveDate) -> bool {
    let week = date.num_days_from_ce() / 7;
    week % 6 == 2
}

fn sales() -> String {
    let mut text = "store_id,day,sales\n".to_owned();
    let last = day(LAST);
    for store in 101..=106_u32 {
        for back in (0..300_u64).rev() {
            let date = last - Days::new(back);
            let weekday = 1.0 + 0.1 * f64::from(date.weekday().num_days_from_monday());
            let noise = 1.0 + 0.02 * f64::from((store * 7919 + date.num_days_from_ce() as u32 * 31) % 21) / 10.0;
            let lift = if promoted(date) { 1.3 } else { 1.0 };
            text += &format!("{store:06},{date},{:.2}\n", f64::from(store) * 10.0 * weekday * noise * lift);
        }
    }
    text
}

/// The promotions of the past and to come, and a closure.
fn events() -> String {
    let mut text = "event_id,Store Number,kind,name,first_day,last_day\n".to_owned();
    let mut date = day("2025-01-01");
    while date <= day("2026-01-10") {
        if promoted(date) && !promoted(date.pred_opt().unwrap()) {
            text += &format!("p{date},,promotion,,{date},{}\n", date + Days::new(6));
        }
        date = date.succ_opt().unwrap();
    }
    text + "c1,000103,closure,,2025-12-17,2025-12-18\n"
}

struct Chain {
    place: Place,
}

impl Chain {
    async fn start() -> Self {
        let place = Place::start().await;
        place.write("pipelines/sales/pipeline.toml", SALES);
        place.write("pipelines/events/pipeline.toml", events_definition());
        let chain = Self { place };
        chain.place.load("sales", &sales());
        chain
    }

    async fn mean(&self, store: &str, date: &str) -> f64 {
        let sql = format!(
            "SELECT mean::double precision FROM mart_harbor.forecast
             WHERE store_id = '{store}' AND business_date = '{date}' AND daypart = 'Day'"
        );
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&self.place.pool).await.unwrap()
    }
}

fn notes(answer: &Value) -> Vec<&str> {
    answer["runs"][0]["notes"].as_array().unwrap().iter().filter_map(Value::as_str).collect()
}

#[tokio::test]
async fn what_the_chain_plans_is_in_the_forecast_and_leaves_it_with_the_load_that_told() {
    let chain = Chain::start().await;
    assert_eq!(chain.place.forecast()["series"], 6);
    let first = (1..35).map(|ahead| day(LAST) + Days::new(ahead)).find(|date| promoted(*date)).unwrap();
    let inside = (first + Days::new(2)).to_string();
    let before = chain.mean("000101", &inside).await;

    let told = chain.place.load("events", &events());
    let answer = chain.place.forecast();
    assert_eq!(answer["runs"][0]["status"], "succeeded");
    let lift = chain.mean("000101", &inside).await / before;
    assert!((1.12..1.4).contains(&lift), "{lift}");
    assert_eq!(chain.mean("000103", "2025-12-17").await, 0.0);
    assert!(chain.mean("000102", "2025-12-17").await > 0.0);
    let said = chain.place.storekeeper(&["forecast", "explain", "000101", &inside]);
    assert!(said.json.to_string().contains("promotion"), "{}", said.json);
    assert_eq!(chain.place.forecast()["runs"][0]["status"], "nothing_new");

    let undone = chain.place.storekeeper(&["undo", &told.to_string()]);
    assert_eq!(undone.code, Some(0), "{}\n{}", undone.json, undone.log);
    assert_eq!(chain.mean("000101", &inside).await, before);
    assert!(chain.mean("000103", "2025-12-17").await > 0.0);
}

#[tokio::test]
async fn forecasts_that_came_out_wrong_are_told_with_the_stores_they_were_for() {
    let chain = Chain::start().await;
    chain.place.forecast();
    let change = |sql: &'static str| sqlx::query(sql).execute(&chain.place.pool);
    // As if it had been made a month ago, each day a week before it came.
    change("UPDATE mart_harbor.forecast SET business_date = business_date - 28, lead_days = 7").await.unwrap();
    change("UPDATE mart_harbor.forecast SET mean = 2 * mean WHERE store_id = '000104'").await.unwrap();
    change("UPDATE mart_harbor.sales SET sales = sales + 1 WHERE day = '2025-11-28'").await.unwrap();
    let answer = chain.place.forecast();
    let notes = notes(&answer);
    assert!(notes[0].contains("the farthest: 000104 ("), "{notes:?}");
    assert!(notes[1].starts_with("habits changed, ask what happened there: 000104 ("), "{notes:?}");
    assert!(notes[1].ends_with("`storekeeper forecast show 000104`"), "{notes:?}");
    let judged: i64 = sqlx::query_scalar("SELECT count(*) FROM mart_harbor.forecast_accuracy")
        .fetch_one(&chain.place.pool)
        .await
        .unwrap();
    assert_eq!(judged, 6 * 28);
}

#[tokio::test]
async fn a_table_of_events_that_no_pipeline_loads_is_refused() {
    let place = Place::start().await;
    place.write("pipelines/sales/pipeline.toml", SALES);
    let said = place.storekeeper(&["check"]);
    assert_eq!(said.code, Some(2), "{}\n{}", said.json, said.log);
    let text = format!("{} {}", said.json, said.log);
    assert!(text.contains("reads events from `events`, which no pipeline loads"), "{text}");
}

/// Two and a half years of leads by the day, with a year and a trend; the last day is a Friday.
fn leads() -> String {
    let mut text = "store_id,day,leads\n".to_owned();
    for store in 101..=102_u32 {
        for back in 0..912_u64 {
            let date = day(LAST) - Days::new(back);
            let turn = std::f64::consts::TAU * f64::from(date.ordinal()) / 365.25;
            let noise = f64::from((store * 7919 + date.num_days_from_ce() as u32 * 31) % 21) / 10.0;
            text += &format!("{store:06},{date},{:.0}\n", 40.0 + 10.0 * turn.sin() + noise);
        }
    }
    text
}

#[tokio::test]
async fn a_series_by_the_week_or_the_month_forecasts_whole_ones() {
    let place = Place::start().await;
    let definition = |grain: &str, more: &str| {
        let text = SALES.replace("\"sales\"", "\"leads\"").replace("title = \"Sales\"", "title = \"Leads\"");
        let text = text.replace("events = \"events\"\n", &format!("grain = \"{grain}\"\n{more}"));
        text.replace("[forecast]\n", "[[forecast]]\n")
    };
    place.write("pipelines/leads/pipeline.toml", definition("week", "events = \"events\"\n"));
    let said = place.storekeeper(&["check"]);
    assert_eq!(said.code, Some(2), "{}", said.json);
    assert!(format!("{} {}", said.json, said.log).contains("`events` of `[forecast]` is for series by the day"));

    let monthly = "\n[[forecast]]\nseries = \"leads_by_month\"\nvalue = \"leads\"\ndate = \"day\"\ngrain = \"month\"\n";
    place.write("pipelines/leads/pipeline.toml", definition("week", monthly));
    place.load("leads", &leads());
    assert_eq!(place.forecast()["series"], 4);
    let rows: Vec<(NaiveDate, i64, f64)> = sqlx::query_as(
        "SELECT business_date, lead_days, mean::double precision FROM mart_harbor.forecast
         WHERE store_id = '000101' AND series = 'leads' ORDER BY business_date",
    )
    .fetch_all(&place.pool)
    .await
    .unwrap();
    let told: Vec<(String, i64)> = rows.iter().map(|(date, lead, _)| (date.to_string(), *lead)).collect();
    // The week that ends behind the last day is not over: it is the first that is forecast.
    let expected = ["2025-11-24", "2025-12-01", "2025-12-08", "2025-12-15", "2025-12-22"];
    assert_eq!(told, expected.map(str::to_owned).into_iter().zip([1, 8, 15, 22, 29]).collect::<Vec<_>>());
    for (date, _, mean) in &rows {
        let turn = std::f64::consts::TAU * f64::from(date.ordinal() + 3) / 365.25;
        assert!((mean / (7.0 * (41.0 + 10.0 * turn.sin())) - 1.0).abs() < 0.1, "{date}: {mean}");
    }
    let months: Vec<(NaiveDate, String)> = sqlx::query_as(
        "SELECT f.business_date, m.model FROM mart_harbor.forecast f JOIN mart_harbor.forecast_models m USING (store_id, series)
         WHERE store_id = '000102' AND series = 'leads_by_month' ORDER BY 1",
    )
    .fetch_all(&place.pool)
    .await
    .unwrap();
    assert_eq!(months, ["2025-11-01", "2025-12-01"].map(|date| (day(date), "general".to_owned())));
    // The day within the week is enough to ask for it.
    let said = place.storekeeper(&["forecast", "explain", "000101", "2025-12-10", "--series", "leads"]);
    assert_eq!(said.json["explained"][0]["day"]["date"], "2025-12-08", "{}", said.json);
    let shown = place.storekeeper(&["forecast", "show", "000101", "--series", "leads", "--days", "4"]);
    let history = shown.json["forecasts"][0]["forecast"]["history"].as_array().unwrap();
    assert_eq!((history.len(), history[3]["date"].as_str()), (4, Some("2025-11-17")));

    // Two days more and the week is over: it came, and is held against what was said of it.
    place.load("leads", "store_id,day,leads\n000101,2025-11-29,44\n000101,2025-11-30,43\n000102,2025-11-30,41\n");
    place.forecast();
    let judged: Vec<(NaiveDate, i64)> = sqlx::query_as(
        "SELECT business_date, lead_days FROM mart_harbor.forecast_accuracy
         WHERE store_id = '000101' AND series = 'leads' ORDER BY 1",
    )
    .fetch_all(&place.pool)
    .await
    .unwrap();
    assert_eq!(judged, [(day("2025-11-24"), 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_whose_forecast_died_is_known_to_be_behind() {
    let chain = Chain::start().await;
    let settings = settings::read(&[chain.place.path("config.toml")], &chain.place.variables()).unwrap();
    let clock = Clock::Fixed("2025-11-29T11:00:00Z".parse().unwrap());
    let app = App { settings, clock, definitions: chain.place.path("") };
    let pipelines = pipelines::read_all(&app.definitions).await.unwrap();
    let sales = pipelines.iter().find(|pipeline| pipeline.name.0 == "sales").unwrap();
    let (warehouse, doors) = (app.warehouse().await.unwrap(), app.doors().unwrap());
    let engine = Engine::new(warehouse, doors, clock, app.settings.warehouse.clone());
    let brand = BrandId("harbor".to_owned());
    let behind = async || engine.is_behind(&pipelines, sales, &brand).await.unwrap();
    assert!(behind().await, "loaded, and never forecast");
    chain.place.forecast();
    assert!(!behind().await);
    chain.place.load("sales", "store_id,day,sales\n000101,2025-11-28,1234.00\n");
    let end = |status: &'static str| {
        sqlx::query(
            "INSERT INTO ops.runs (pipeline, brand, trigger, status, started_at) VALUES ('forecast_sales', 'harbor', 'schedule', $1, now())",
        )
        .bind(status)
        .execute(&chain.place.pool)
    };
    end("interrupted").await.unwrap();
    assert!(behind().await, "it died");
    end("failed").await.unwrap();
    assert!(!behind().await, "it failed, and was told");
}
