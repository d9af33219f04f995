//! Hours of work for what is expected, of a chain of a test's own: orders and hours by daypart.

use chrono::{Datelike as _, Days, NaiveDate};
use serde_json::Value;

use crate::support::place::Place;

const ORDERS: &str = r#"
title = "Orders"
[source]
kind = "upload"
format = { kind = "csv" }
[contract]
key = ["store_id", "day", "daypart"]
[[contract.columns]]
name = "store_id"
type = "store_id"
[[contract.columns]]
name = "day"
type = "date"
[[contract.columns]]
name = "daypart"
type = "text"
[[contract.columns]]
name = "orders"
type = "integer"
[destination]
table = "orders"
write_disposition = "merge"
[[forecast]]
series = "orders"
value = "orders"
date = "day"
daypart = "daypart"
horizon_days = 14
"#;

/// What follows `[staffing]` is the test's.
const HOURS: &str = r#"
title = "Hours"
[source]
kind = "upload"
format = { kind = "csv" }
[contract]
key = ["store_id", "day", "daypart"]
[[contract.columns]]
name = "store_id"
type = "store_id"
[[contract.columns]]
name = "day"
type = "date"
[[contract.columns]]
name = "daypart"
type = "text"
[[contract.columns]]
name = "hours"
type = "decimal(8,2)"
[destination]
table = "hours"
write_disposition = "merge"
[staffing]
series = "required"
demand = "orders"
worked = { value = "hours", date = "day", daypart = "daypart" }
dayparts = "parts"
opening = "opening"
"#;

const OPENING: &str = r#"
title = "Opening hours"
[source]
kind = "upload"
format = { kind = "csv" }
[contract]
key = ["store_id", "day_of_week"]
[[contract.columns]]
name = "store_id"
type = "store_id"
[[contract.columns]]
name = "day_of_week"
type = "integer"
[[contract.columns]]
name = "opens_at"
type = "time"
[[contract.columns]]
name = "closes_at"
type = "time"
[destination]
table = "opening"
write_disposition = "merge"
"#;

const PARTS: &str = "
SELECT * FROM (VALUES ('Lunch', 660, 840), ('Dinner', 1020, 1320), ('Night', 1320, 1560))
    AS p (daypart, from_minute, until_minute)
";

const LAST: &str = "2025-11-28";
const STORES: [&str; 2] = ["000101", "000102"];

/// Orders of a daypart: more at dinner, more on Fridays, more in the second store.
fn orders(store: &str, date: NaiveDate, daypart: &str) -> u32 {
    let base = if daypart == "Dinner" { 120 } else { 60 };
    let friday = if date.weekday().num_days_from_monday() == 4 { 30 } else { 0 };
    let noise = (date.num_days_from_ce() as u32 * 31 + base) % 7;
    (base + friday + noise) * if store == "000102" { 2 } else { 1 }
}

/// Seventy days of both files: an order in ten minutes, and an hour of cleaning at dinner.
fn files() -> (String, String) {
    let last: NaiveDate = LAST.parse().unwrap();
    let (mut sold, mut worked) =
        ("store_id,day,daypart,orders\n".to_owned(), "store_id,day,daypart,hours\n".to_owned());
    for store in STORES {
        for date in (0..70_u64).rev().map(|back| last - Days::new(back)) {
            for daypart in ["Lunch", "Dinner"] {
                let orders = orders(store, date, daypart);
                sold += &format!("{store},{date},{daypart},{orders}\n");
                let cleaning = if daypart == "Dinner" { 1.0 } else { 0.0 };
                worked += &format!("{store},{date},{daypart},{:.2}\n", f64::from(orders) / 6.0 + cleaning);
            }
        }
    }
    (sold, worked)
}

fn opening() -> String {
    let mut text = "store_id,day_of_week,opens_at,closes_at\n".to_owned();
    for store in STORES {
        // Closed on Mondays; until an hour past midnight.
        (2..=7).for_each(|day| text += &format!("{store},{day},11:00,01:00\n"));
    }
    text
}

struct Chain {
    place: Place,
}

impl Chain {
    async fn start(rules: &str) -> Self {
        let place = Place::start().await;
        place.write("pipelines/orders/pipeline.toml", ORDERS);
        place.write("pipelines/hours/pipeline.toml", format!("{HOURS}{rules}"));
        place.write("pipelines/opening/pipeline.toml", OPENING);
        place.write("sql/marts/010_parts.sql", PARTS);
        place.write("sql/marts/shared.toml", "parts = \"the same for every store\"\n");
        let chain = Self { place };
        let (sold, _) = files();
        chain.place.load("orders", &sold);
        chain.place.load("opening", &opening());
        chain
    }

    /// The staffing run of an answer.
    fn staffing(answer: &Value) -> &Value {
        let runs = answer["runs"].as_array().unwrap();
        runs.iter().find(|run| run["pipeline"] == "staffing_required").unwrap()
    }

    /// Hours of a store's day, by daypart.
    fn hours(&self, store: &str, date: &str) -> Vec<Value> {
        let said = self.place.storekeeper(&["forecast", "hours", store, "--date", date]);
        assert_eq!(said.code, Some(0), "{}\n{}", said.json, said.log);
        said.json["hours"][0]["hours"].as_array().unwrap().clone()
    }

    async fn count(&self) -> String {
        self.place.text("SELECT count(*) FROM mart_harbor.staffing").await
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

const CLEANING: &str = "[[staffing.rules]]\ndayparts = [\"Dinner\"]\nfixed_hours = 1.0\n";

#[tokio::test]
async fn hours_follow_the_forecast_and_go_and_come_with_what_they_rest_on() {
    let chain = Chain::start(CLEANING).await;
    let answer = chain.place.forecast();
    // Nothing was worked yet: there is no curve, and both stores are named.
    assert_eq!((&answer["series"], &answer["staffed"]), (&2.into(), &0.into()));
    let withheld = answer["withheld"].as_array().unwrap();
    assert!(
        withheld[0].as_str().unwrap().contains("000101: 0 dayparts with guests and hours, 28 needed"),
        "{withheld:?}"
    );

    let worked = chain.place.load("hours", &files().1);
    let answer = chain.place.forecast();
    assert_eq!((&answer["staffed"], &Chain::staffing(&answer)["status"]), (&2.into(), &"succeeded".into()));
    // Two stores, fourteen days, three dayparts and the whole day.
    assert_eq!(chain.count().await, (2 * 14 * 4).to_string());
    let day = chain.hours("000101", "2025-12-05");
    let names: Vec<&str> = day.iter().map(|part| part["daypart"].as_str().unwrap()).collect();
    assert_eq!(names, ["Day", "Lunch", "Dinner", "Night"]);
    let (lunch, dinner, night) = (&day[1], &day[2], &day[3]);
    for (part, fixed) in [(lunch, 0.0), (dinner, 1.0)] {
        let expected = number(&part["staffed_demand"]) / 6.0 + fixed;
        let required = number(&part["required_hours"]);
        assert!((required - expected).abs() < 0.6, "{part}");
        assert!(number(&part["lower_hours"]) <= required && required <= number(&part["upper_hours"]), "{part}");
        assert!(number(&part["staffed_demand"]) > number(&part["demand"]) * 0.98, "{part}");
    }
    // Open until one: two people for three hours, whoever comes.
    assert_eq!((number(&night["open_hours"]), number(&night["required_hours"])), (3.0, 6.0));
    let sum: f64 = day[1..].iter().map(|part| number(&part["required_hours"])).sum();
    assert_eq!(sum, number(&day[0]["required_hours"]));
    // On Mondays nobody opens: a closed day asks for nothing, its fixed hours included.
    let monday = chain.hours("000101", "2025-12-01");
    assert_eq!(monday.iter().map(|part| number(&part["required_hours"])).collect::<Vec<_>>(), [0.0; 4]);

    let again = chain.place.forecast();
    assert_eq!(Chain::staffing(&again)["status"], "nothing_new");

    let undone = chain.place.storekeeper(&["undo", &worked.to_string(), "--cascade"]);
    assert_eq!(undone.code, Some(0), "{}\n{}", undone.json, undone.log);
    assert_eq!(chain.count().await, "0", "{}", undone.json);
    chain.place.load("hours", &files().1.replace("2025-11-28,Lunch", "2025-11-28,Lunch "));
    assert_eq!(chain.place.forecast()["staffed"], 2);
    assert_eq!(chain.count().await, (2 * 14 * 4).to_string());
}

#[tokio::test]
async fn a_rule_holds_from_its_day_and_where_it_says() {
    let rules = format!(
        "{CLEANING}[[staffing.rules]]\nvalid_from = \"2025-12-05\"\nstores = [\"000102\"]\nstandard = [[10.0, 3.0]]\n"
    );
    let chain = Chain::start(&rules).await;
    chain.place.load("hours", &files().1);
    chain.place.forecast();
    let lunch = |store: &str, date: &str| {
        let day = chain.hours(store, date);
        number(&day[1]["required_hours"]) / number(&day[1]["staffed_demand"])
    };
    assert!((lunch("000102", "2025-12-04") - 1.0 / 6.0).abs() < 0.01);
    assert!((lunch("000102", "2025-12-05") - 1.0 / 3.0).abs() < 0.01);
    assert!((lunch("000101", "2025-12-05") - 1.0 / 6.0).abs() < 0.01);
}

#[tokio::test]
async fn a_load_that_is_taken_back_takes_the_hours_along_and_they_are_made_again_without_it() {
    let chain = Chain::start(CLEANING).await;
    chain.place.load("hours", &files().1);
    chain.place.forecast();
    let before = number(&chain.hours("000101", "2025-12-05")[1]["required_hours"]);
    // Eight of ten weeks took twice the hours: more than the quicker third that sets the standard.
    let (_, worked) = files();
    let mut slower = String::new();
    for (at, line) in worked.lines().enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        match cells[..] {
            [store, day, daypart, hours] if at > 0 && day >= "2025-10-05" => {
                slower += &format!("{store},{day},{daypart},{:.2}\n", 2.0 * hours.parse::<f64>().unwrap());
            }
            _ if at == 0 => slower = format!("{line}\n"),
            _ => {}
        }
    }
    let told = chain.place.load("hours", &slower);
    chain.place.forecast();
    let after = number(&chain.hours("000101", "2025-12-05")[1]["required_hours"]);
    assert!(after > 1.5 * before, "{before} {after}");
    let undone = chain.place.storekeeper(&["undo", &told.to_string()]);
    assert_eq!(undone.code, Some(0), "{}\n{}", undone.json, undone.log);
    assert_eq!(number(&chain.hours("000101", "2025-12-05")[1]["required_hours"]), before);
}

#[tokio::test]
async fn what_cannot_be_staffed_is_refused_before_anything_runs() {
    for (block, expected) in [
        (
            HOURS.replace("demand = \"orders\"", "demand = \"guests\""),
            "staffs for `guests`, which no `[forecast]` makes",
        ),
        (format!("{HOURS}[[staffing.rules]]\nfixed_hours = -1\n"), "rule 1 of `[staffing]`: `fixed_hours` is -1"),
        (format!("{HOURS}[[staffing.rules]]\nfixed_hour = 1\n"), "unknown field `fixed_hour`"),
        (HOURS.replace("dayparts = \"parts\"", "dayparts = \"Parts\""), "`[staffing]` names `Parts`"),
    ] {
        let place = Place::start().await;
        place.write("pipelines/orders/pipeline.toml", ORDERS);
        place.write("pipelines/hours/pipeline.toml", block);
        let said = place.storekeeper(&["check"]);
        assert_eq!(said.code, Some(2), "{}\n{}", said.json, said.log);
        let text = format!("{} {}", said.json, said.log);
        assert!(text.contains(expected), "{expected}: {text}");
    }
}
