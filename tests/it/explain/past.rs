//! What rows were before, what was refused, what may be shown, and what was said late.

use serde_json::{Value, json};

use crate::support::place::{Place, Said};

const SALES: &str = r#"
title = "Sales"
[source]
kind = "upload"
format = { kind = "csv" }
[contract]
key = ["store_id", "business_date", "daypart"]
quarantine_threshold = 1.0
[[contract.columns]]
name = "store_id"
from = "Store"
type = "store_id"
[[contract.columns]]
name = "business_date"
from = "Day"
type = "date"
date_order = "mdy"
[[contract.columns]]
name = "daypart"
from = "Part"
type = "text"
[[contract.columns]]
name = "cashier"
from = "Cashier"
type = "text"
personal = true
[[contract.columns]]
name = "net_sales"
from = ["Net Sales", "Net"]
type = "decimal(12,2)"
[destination]
table = "sales"
write_disposition = "replace_window"
window = ["store_id", "business_date"]
partition_by = "business_date"
"#;

const MONDAY: &str = "2025-12-01T09:00:00Z";
const TUESDAY: &str = "2025-12-02T09:00:00Z";
const WEDNESDAY: &str = "2025-12-03T09:00:00Z";

pub(super) async fn place() -> Place {
    let place = Place::start().await;
    place.write("pipelines/sales/pipeline.toml", SALES);
    place
}

impl Place {
    pub(super) fn load_at(&self, now: &str, name: &str, rows: &str) -> Value {
        let file = self.write(name, format!("Sales by day\nStore,Day,Part,Cashier,Net Sales\n{rows}"));
        let said = self.storekeeper(&["--now", now, "run", "sales", "--file", file.to_str().unwrap()]);
        assert_eq!(said.json["runs"][0]["status"], "succeeded", "{} {}", said.json, said.log);
        said.json["runs"][0].clone()
    }

    pub(super) fn explain(&self, words: &[&str]) -> Said {
        let mut all = vec!["explain"];
        all.extend(words);
        self.storekeeper(&all)
    }

    /// The only row of the only answer.
    fn row(&self, words: &[&str]) -> Value {
        let said = self.explain(words);
        let rows = &said.json["answers"][0]["found"][0]["rows"];
        assert_eq!((said.code, rows.as_array().map(Vec::len)), (Some(0), Some(1)), "{} {}", said.json, said.log);
        rows[0].clone()
    }

    fn ledger(&self, words: &[&str]) -> Vec<String> {
        let mut all = vec!["--now", WEDNESDAY, "restatements"];
        all.extend(words);
        let said = self.storekeeper(&all);
        assert_eq!(said.code, Some(0), "{} {}", said.json, said.log);
        let line = |line: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            let key: Vec<String> = line["key"].as_object().unwrap().values().map(text).collect();
            let (column, old, new) = (text(&line["column"]), text(&line["old"]), text(&line["new"]));
            format!("{} {}: {column} {old} -> {new} by {}", text(&line["change"]), key.join(" "), text(&line["file"]))
        };
        said.json["restatements"].as_array().unwrap().iter().map(line).collect()
    }
}

const LUNCH: [&str; 4] = ["sales", "125", "2025-11-28", "Lunch"];

fn cell(row: &Value, column: &str) -> Value {
    let value = row["values"].as_array().unwrap().iter().find(|value| value["column"] == column).unwrap();
    json!([value["value"], value["cells"][0]["source_column"], value["cells"][0]["text"]])
}

#[tokio::test]
async fn a_changed_redelivery_shows_what_was_there_before_and_what_was_known_when() {
    let place = place().await;
    place.load_at(
        MONDAY,
        "first.csv",
        "125,11/28/25,Lunch,Ann Miller,\"$1,010.00\"\n125,11/28/25,Dinner,Ann Miller,20\n",
    );
    place.load_at(
        TUESDAY,
        "second.csv",
        "125,11/28/25,Dinner,Ann Miller,20\n,,,,\n125,11/28/25,Lunch,Bob Stone,12.5\n",
    );
    let now = place.row(&LUNCH);
    assert_eq!(cell(&now, "net_sales"), json!(["12.50", "Net Sales", "12.5"]));
    assert_eq!(cell(&now, "business_date"), json!(["2025-11-28", "Day", "11/28/25"]));
    assert_eq!((&now["file"]["name"], &now["source_row"]), (&"second.csv".into(), &5.into()));
    assert_eq!((&now["load"]["pipeline"], &now["load"]["trigger"]), (&"sales".into(), &"upload".into()));
    let earlier = &now["earlier"][0];
    assert_eq!((&earlier["file"]["name"], &earlier["source_row"]), (&"first.csv".into(), &3.into()));
    assert_eq!(earlier["until"]["committed_at"], TUESDAY, "{earlier:#}");
    let changed: Vec<String> = earlier["changed"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {} {}", one["column"], one["old"], one["new"]))
        .collect();
    assert_eq!(changed, [r#""cashier" null null"#, r#""net_sales" "1010.00" "12.50""#]);
    // A row that came again unchanged keeps the load, file and row that brought it.
    let dinner = place.row(&["sales", "daypart=Dinner", "--column", "net_sales"]);
    assert_eq!((&dinner["file"]["name"], &dinner["earlier"]), (&"first.csv".into(), &json!([])));
    assert_eq!(dinner["values"].as_array().unwrap().len(), 1);

    let as_of = |moment: &str| place.row(&[&LUNCH[..], &["--as-of", moment]].concat());
    let then = as_of("2025-12-02T08:59:59Z");
    assert_eq!(cell(&then, "net_sales"), json!(["1010.00", "Net Sales", "$1,010.00"]));
    assert_eq!((&then["later_versions"], &then["earlier"]), (&1.into(), &json!([])));
    assert_eq!(as_of(TUESDAY)["file"]["name"], "second.csv");
    let before = as_of("2025-11-30T00:00:00Z");
    assert_eq!((&before["standing"], &before["values"]), (&"not_yet".into(), &json!([])));

    place.load_at(WEDNESDAY, "third.csv", "125,11/28/25,Dinner,Ann Miller,20\n");
    let gone = place.row(&LUNCH);
    assert_eq!((&gone["standing"], &gone["removed_by"]["committed_at"]), (&"removed".into(), &WEDNESDAY.into()));
    assert_eq!(cell(&gone, "net_sales")[0], "12.50");
    assert_eq!(as_of(TUESDAY)["standing"], "there");

    let made = place.explain(&["--file", "second.csv"]).json["files"][0].clone();
    assert_eq!(made["rows"], json!({"inserted": 0, "updated": 1, "current": 0, "superseded": 1}), "{made:#}");
    assert_eq!((&made["without_effect"], &made["left_out"]["blank"]), (&1.into(), &1.into()));
    let hash = made["file"]["content_hash"].as_str().unwrap();
    assert_eq!(place.explain(&["--file", &hash[..12]]).json["files"][0]["file"]["name"], "second.csv");
    let first = place.explain(&["--file", "first.csv"]).json["files"][0]["rows"].clone();
    assert_eq!(first, json!({"inserted": 2, "updated": 0, "current": 1, "superseded": 1}));
    assert_eq!(place.explain(&["--file", "nowhere.csv"]).code, Some(1));
}

#[tokio::test]
async fn a_load_that_was_taken_back_stays_in_the_row_s_past() {
    let place = place().await;
    place.load_at(MONDAY, "first.csv", "125,11/28/25,Lunch,Ann,10\n");
    let second = place.load_at(TUESDAY, "second.csv", "125,11/28/25,Lunch,Ann,99\n")["load_id"].as_i64().unwrap();
    // What taking a load back writes, by the rules of the history.
    let third: i64 = sqlx::query_scalar(
        "INSERT INTO ops.loads (run_id, pipeline, brand, table_name, committed_at, undoes, kept_history, made_on)
         SELECT run_id, pipeline, brand, table_name, '2025-12-03T09:00:00Z', load_id, true, '2025-12-03'
         FROM ops.loads WHERE load_id = $1 RETURNING load_id",
    )
    .bind(second)
    .fetch_one(&place.pool)
    .await
    .unwrap();
    let columns = "store_id, business_date, daypart, cashier, net_sales, load_id, file_id, source_row";
    let back = format!(
        "UPDATE ops.loads SET undone_by = {third} WHERE load_id = {second};
         WITH gone AS (DELETE FROM mart_harbor.sales RETURNING {columns}, restored_by)
         INSERT INTO history_harbor.sales ({columns}, restored_by, superseded_by) SELECT *, {third} FROM gone;
         INSERT INTO mart_harbor.sales ({columns}, restored_by)
         SELECT {columns}, {third} FROM history_harbor.sales WHERE superseded_by = {second}"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(back)).execute(&place.pool).await.unwrap();
    let row = place.row(&LUNCH);
    assert_eq!(cell(&row, "net_sales"), json!(["10.00", "Net Sales", "10"]));
    assert_eq!((&row["restored_by"]["load_id"], &row["restored_by"]["undoes"]), (&third.into(), &second.into()));
    let earlier = row["earlier"].as_array().unwrap();
    assert_eq!(earlier.len(), 2);
    assert_eq!(
        (&earlier[0]["values"]["net_sales"], &earlier[0]["load"]["undone_by"]),
        (&"99.00".into(), &third.into())
    );
    assert_eq!(place.row(&[&LUNCH[..], &["--as-of", TUESDAY]].concat())["file"]["name"], "second.csv");
    let said = place.storekeeper(&["--now", WEDNESDAY, "restatements"]).json;
    let undoes: Vec<&Value> = said["restatements"].as_array().unwrap().iter().map(|line| &line["undoes"]).collect();
    assert_eq!(undoes, [&Value::from(second), &Value::Null], "{said:#}");
    assert_eq!((&said["restatements"][0]["old"], &said["restatements"][0]["new"]), (&"99.00".into(), &"10.00".into()));
    let made = place.explain(&["--file", "first.csv"]).json["files"][0]["rows"].clone();
    assert_eq!(made, json!({"inserted": 1, "updated": 0, "current": 1, "superseded": 0}));
}

#[tokio::test]
async fn a_refused_row_is_found_in_quarantine_by_the_key_it_would_have_had() {
    let place = place().await;
    place.load_at(MONDAY, "first.csv", "125,11/28/25,Lunch,Ann Miller,oops\n000125,11/28/25,Dinner,Ann Miller,20\n");
    let said = place.explain(&LUNCH);
    assert_eq!(said.code, Some(3), "{} {}", said.json, said.log);
    let found = &said.json["answers"][0]["found"][0];
    assert_eq!(found["rows"], json!([]));
    let refused = &found["refused"][0];
    assert_eq!((&refused["file"], &refused["row"], &refused["rule"]), (&"first.csv".into(), &3.into(), &"type".into()));
    assert_eq!((&refused["column"], &refused["values"]["net_sales"]), (&"net_sales".into(), &"oops".into()));
    assert_eq!(refused["values"].get("cashier"), None);
    assert_eq!(place.explain(&["sales", "125", "2025-11-28", "Dinner"]).code, Some(0));
    // Neither there nor refused, and questions that cannot be meant so.
    assert_eq!(place.explain(&["sales", "125", "2025-11-29", "Lunch"]).code, Some(1));
    for words in [
        &["sale", "125"][..],
        &["sales", "stor=125"],
        &["sales", "125", "someday"],
        &["sales", "125", "2025-11-28", "Lunch", "more"],
        &["sales", "125", "--column", "net"],
        &["sales"],
        &["sales", "125", "--brand", "nobody"],
    ] {
        let said = place.explain(words);
        assert_eq!(said.code, Some(2), "{words:?}: {} {}", said.json, said.log);
    }
}

#[tokio::test]
async fn personal_values_are_shown_only_to_who_asks_for_them() {
    let place = place().await;
    place.load_at(MONDAY, "first.csv", "125,11/28/25,Lunch,Ann Miller,10\n125,11/28/25,Dinner,Cleo Reed,x\n");
    place.load_at(TUESDAY, "second.csv", "125,11/28/25,Lunch,Bob Stone,11\n");
    let names = ["Ann Miller", "Bob Stone", "Cleo Reed"];
    let all: [&[&str]; 4] = [
        &["explain", "sales", "125"],
        &["explain", "sales", "daypart=Dinner"],
        &["restatements"],
        &["explain", "--file", "first.csv"],
    ];
    for words in all {
        let mut command = place.command(&[&["--now", WEDNESDAY], words].concat());
        let json = command.output().unwrap();
        let text = command.args(["--format", "text"]).output().unwrap();
        for said in [json, text].map(|output| String::from_utf8(output.stdout).unwrap()) {
            assert!(said.len() > 100 && names.iter().all(|name| !said.contains(name)), "{words:?}: {said}");
        }
    }
    let said = place.explain(&["sales", "125", "--with-personal"]).json.to_string();
    assert!(said.contains("Ann Miller") && said.contains("Bob Stone"), "{said}");
    let refused = place.explain(&["sales", "125", "2025-11-28", "Dinner", "--with-personal"]).json.to_string();
    assert!(refused.contains("Cleo Reed"), "{refused}");
    assert!(
        place
            .storekeeper(&["--now", WEDNESDAY, "restatements", "--with-personal"])
            .json
            .to_string()
            .contains("Bob Stone")
    );
    // A view under another name.
    place.write("sql/marts/010_who.sql", "SELECT store_id, cashier AS person, net_sales FROM sales");
    place.load_at(WEDNESDAY, "third.csv", "125,11/28/25,Lunch,Bob Stone,12\n");
    let view = place.explain(&["who", "store_id=125"]);
    assert!(view.code == Some(0) && names.iter().all(|name| !view.json.to_string().contains(name)), "{}", view.json);
    assert!(place.explain(&["who", "store_id=125", "--with-personal"]).json.to_string().contains("Bob Stone"));
}

#[tokio::test]
async fn the_ledger_holds_what_was_said_differently_of_days_that_were_over() {
    let place = place().await;
    place.load_at(
        MONDAY,
        "first.csv",
        "125,11/28/25,Lunch,Ann,10\n125,11/28/25,Dinner,Ann,20\n125,12/01/25,Lunch,Ann,5\n126,11/28/25,Lunch,Ann,7\n",
    );
    assert_eq!(place.ledger(&[]), Vec::<String>::new(), "a first word restates nothing");
    // Lunch changes, dinner goes, breakfast comes late; store 127 is new; 1 December is not over.
    place.load_at(
        "2025-12-01T20:00:00Z",
        "second.csv",
        "125,11/28/25,Lunch,Ann,11\n125,11/28/25,Breakfast,Ann,3\n125,12/01/25,Lunch,Ann,6\n127,11/28/25,Lunch,Ann,1\n",
    );
    let wanted = [
        "added 000125 2025-11-28 Breakfast: cashier - -> - by second.csv",
        "added 000125 2025-11-28 Breakfast: net_sales - -> 3.00 by second.csv",
        "removed 000125 2025-11-28 Dinner: cashier - -> - by second.csv",
        "removed 000125 2025-11-28 Dinner: net_sales 20.00 -> - by second.csv",
        "changed 000125 2025-11-28 Lunch: net_sales 10.00 -> 11.00 by second.csv",
    ];
    assert_eq!(place.ledger(&["sales"]), wanted);
    assert_eq!(place.ledger(&["--store", "126"]), Vec::<String>::new());
    assert_eq!(place.ledger(&["--store", "125", "--limit", "2"]), wanted[..2]);
    assert_eq!(place.ledger(&["--since", "2025-12-02"]), Vec::<String>::new());
    let of_function = "SELECT count(*) FROM mart_harbor.sales_restatements('2025-12-01')";
    assert_eq!(place.text(of_function).await, "5");
    // The next day the first of December is over.
    place.load_at(TUESDAY, "third.csv", "125,12/01/25,Lunch,Ann,6.5\n");
    assert_eq!(
        place.ledger(&["--since", "2025-12-02"]),
        ["changed 000125 2025-12-01 Lunch: net_sales 6.00 -> 6.50 by third.csv"]
    );
    assert_eq!(place.storekeeper(&["restatements", "nothing"]).code, Some(2));
}

#[tokio::test]
async fn whether_a_day_is_over_is_told_by_the_brand_s_clocks() {
    let place = place().await;
    let config = std::fs::read_to_string(place.path("config.toml")).unwrap();
    place.write("config.toml", config.replace("\"UTC\"", "\"America/Los_Angeles\""));
    place.load_at("2025-12-02T01:00:00Z", "first.csv", "125,12/01/25,Lunch,Ann,10\n");
    // Five in the afternoon, and nine in the evening, of the first of December.
    place.load_at("2025-12-02T05:00:00Z", "second.csv", "125,12/01/25,Lunch,Ann,11\n");
    assert_eq!(place.ledger(&[]), Vec::<String>::new());
    place.load_at("2025-12-02T09:00:00Z", "third.csv", "125,12/01/25,Lunch,Ann,12\n");
    assert_eq!(place.ledger(&[]), ["changed 000125 2025-12-01 Lunch: net_sales 11.00 -> 12.00 by third.csv"]);
}

#[tokio::test]
async fn a_transform_names_the_cells_of_a_computed_value_and_without_row_numbers_only_the_file_is_known() {
    let place = place().await;
    let sql = "SELECT store_id, business_date, daypart, net_sales, _row, \
               upper(daypart) || ' ' || store_id AS label, 1 AS one FROM input";
    place.write("pipelines/sales/transform.sql", sql);
    place.load_at(MONDAY, "first.csv", "125,11/28/25,Lunch,Ann,10\n");
    let row = place.row(&LUNCH);
    let of = |column: &str| {
        row["values"].as_array().unwrap().iter().find(|value| value["column"] == column).unwrap().clone()
    };
    let label = of("label");
    let cells: Vec<&Value> = label["cells"].as_array().unwrap().iter().map(|cell| &cell["text"]).collect();
    assert_eq!((&label["value"], cells), (&"LUNCH 000125".into(), vec![&Value::from("Lunch"), &Value::from("125")]));
    assert!(label["expression"].as_str().unwrap().contains("upper"), "{label:#}");
    assert_eq!(of("one")["cells"], json!([]));
    assert!(row["transform"]["sql"].as_str().unwrap().starts_with("SELECT store_id"));

    place.write(
        "pipelines/sales/transform.sql",
        "SELECT store_id, business_date, daypart, CAST(sum(net_sales) AS decimal(12,2)) AS net_sales, \
               '' AS label, 1 AS one FROM input GROUP BY 1, 2, 3",
    );
    place.load_at(TUESDAY, "second.csv", "126,11/28/25,Lunch,Ann,10\n126,11/28/25,Lunch,Ann,1\n");
    let row = place.row(&["sales", "126"]);
    assert_eq!((&row["source_row"], &row["file"]["name"]), (&Value::Null, &"second.csv".into()));
    assert!(row["no_cells"].as_str().unwrap().contains("_row"), "{row:#}");
}
