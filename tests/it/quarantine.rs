//! Refused rows: seen, handed out, tried again, settled.

use std::process::Stdio;

use serde_json::Value;

use crate::support::place::{Place, SCHEMA, Said, said};

const STORES: &str = r#"
title = "Stores"
[source]
kind = "upload"
format = { kind = "csv" }
[contract]
key = ["store"]
[[contract.columns]]
name = "store"
type = "text"
[destination]
table = "places"
write_disposition = "merge"
"#;

const SALES: &str = r#"
title = "Sales"
[source]
kind = "upload"
format = { kind = "csv" }
[contract]
key = ["ticket"]
quarantine_threshold = 1.0
[[contract.columns]]
name = "ticket"
type = "integer"
[[contract.columns]]
name = "store"
type = "text"
rules = [{ kind = "known", table = "places", column = "store" }]
[[contract.columns]]
name = "cashier"
type = "text"
personal = true
[[contract.columns]]
name = "amount"
type = "decimal(12,2)"
rules = [{ kind = "range", max = 100 }]
[destination]
table = "sales"
write_disposition = "merge"
"#;

/// Two pipelines, one looking into the other's table, which knows the store `A`.
async fn place() -> Place {
    let place = Place::start().await;
    place.write("pipelines/places/pipeline.toml", STORES);
    place.write("pipelines/sales/pipeline.toml", SALES);
    let stores = place.write("stores.csv", "store\nA\n");
    assert_eq!(place.run("places", &stores)["status"], "succeeded");
    place
}

impl Place {
    fn load_sales(&self, name: &str, rows: &str) -> Value {
        let file = self.write(name, format!("ticket,store,cashier,amount\n{rows}"));
        let run = self.run("sales", &file);
        assert_eq!(run["status"], "succeeded", "{run:#}");
        run
    }

    fn know_store_b(&self) {
        let stores = self.write("more.csv", "store\nA\nB\n");
        assert_eq!(self.run("places", &stores)["rows_inserted"], 1);
    }

    /// Rows up to this amount are no longer refused.
    fn allow_amounts_up_to(&self, most: u32) {
        self.write("pipelines/sales/pipeline.toml", SALES.replace("max = 100 ", &format!("max = {most} ")));
    }

    fn replay(&self) -> Said {
        self.storekeeper(&["quarantine", "replay", "--pipeline", "sales"])
    }

    async fn sales(&self) -> Vec<String> {
        let rows = self.rows(&format!("SELECT ticket, amount, source_row FROM {SCHEMA}.sales ORDER BY ticket")).await;
        rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect()
    }

    async fn states(&self) -> Vec<String> {
        let rows = self.rows("SELECT source_row, state, rule FROM ops.quarantine ORDER BY quarantine_id").await;
        rows.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect()
    }
}

#[tokio::test]
async fn rows_are_loaded_once_the_reference_is_mended_and_keep_where_they_came_from() {
    let place = place().await;
    place.load_sales("monday.csv", "1,A,Ann,1\n2,B,Ann,2\n3,B,Bob,3\n4,A,Bob,x\n");
    let listed = place.storekeeper(&["quarantine", "list"]);
    let reasons: Vec<String> = listed.json["reasons"]
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| format!("{} {} {}", reason["rows"], reason["column"], reason["rule"]))
        .collect();
    assert_eq!(reasons, [r#"2 "store" "known""#, r#"1 "amount" "type""#]);
    assert_eq!(listed.json["quarantine"].as_array().unwrap().len(), 3);

    let early = place.replay();
    assert_eq!((early.code, &early.json["runs"][0]["rows_quarantined"]), (Some(3), &3.into()), "{}", early.log);
    assert_eq!(place.sales().await, ["1 1.00 2"]);

    place.know_store_b();
    let replayed = place.replay();
    let run = &replayed.json["runs"][0];
    assert_eq!((replayed.code, &run["trigger"], &run["rows_inserted"]), (Some(3), &"replay".into(), &2.into()));
    assert_eq!(place.sales().await, ["1 1.00 2", "2 2.00 3", "3 3.00 4"]);
    let files = format!("SELECT DISTINCT f.name FROM {SCHEMA}.sales s JOIN ops.files f USING (file_id)");
    assert_eq!(place.rows(&files).await, [[Some("monday.csv".to_owned())]]);
    let loads = format!("SELECT count(DISTINCT load_id) FROM {SCHEMA}.sales");
    assert_eq!(place.text(&loads).await, "2", "the replay is a load of its own");
    assert_eq!(place.states().await, ["3 replayed known", "4 replayed known", "5 open type"]);

    let again = place.replay();
    assert_eq!(again.json["runs"][0]["rows_loaded"], 0, "{}", again.json);
    assert_eq!(place.sales().await.len(), 3);
}

#[tokio::test]
async fn newer_data_is_not_overwritten_and_doubt_is_not_decided() {
    let place = place().await;
    place.load_sales("1.csv", "1,A,Ann,10\n2,A,Ann,20\n3,A,Ann,30\n");
    place.load_sales("2.csv", "1,A,Ann,500\n2,A,Ann,600\n4,A,Ann,700\n");
    place.load_sales("3.csv", "1,A,Ann,11\n5,A,Ann,50\n3,A,Ann,800\n");
    place.allow_amounts_up_to(1000);
    let said = place.replay();
    assert_eq!(said.code, Some(3), "{}", said.log);
    // 1 came again, changed; of 2 nobody knows whether file 3 told it again; 4 is new; 3 is of the latest file.
    assert_eq!(place.sales().await, ["1 11.00 2", "2 20.00 3", "3 800.00 4", "4 700.00 4", "5 50.00 3"]);
    assert_eq!(place.states().await, ["2 superseded range", "3 open replay", "4 replayed range", "4 replayed range"]);
}

#[tokio::test]
async fn the_later_of_two_refused_rows_with_one_key_counts() {
    let place = place().await;
    place.load_sales("1.csv", "9,A,Ann,1\n1,A,Ann,500\n");
    place.load_sales("2.csv", "8,A,Ann,1\n1,A,Ann,600\n");
    place.allow_amounts_up_to(1000);
    assert_eq!(place.replay().code, Some(0));
    assert_eq!(place.sales().await, ["1 600.00 3", "8 1.00 2", "9 1.00 2"]);
    assert_eq!(place.states().await, ["3 superseded range", "3 replayed range"]);
}

#[tokio::test]
async fn a_replay_that_dies_at_any_step_loads_each_row_once() {
    let place = place().await;
    place.load_sales("monday.csv", "1,A,Ann,1\n2,B,Ann,2\n3,B,Bob,3\n");
    place.know_store_b();
    let words = ["quarantine", "replay", "--pipeline", "sales"];
    for (point, rows) in [("replay_staged", 1), ("replay_settled", 1), ("replay_committed", 3)] {
        let output = place.command(&words).env("STOREKEEPER_CRASH_AT", point).output().unwrap();
        assert_eq!(output.status.code(), None, "it should have died at `{point}`");
        assert_eq!(place.sales().await.len(), rows, "after dying at `{point}`");
    }
    let last = place.storekeeper(&words);
    assert_eq!((last.code, &last.json["runs"]), (Some(0), &Value::Array(Vec::new())), "{}", last.log);
    assert_eq!(place.states().await, ["3 replayed known", "4 replayed known"]);
}

#[tokio::test]
async fn two_replays_at_once_load_each_row_once() {
    let place = place().await;
    let rows: String = (1..500).map(|ticket| format!("{ticket},B,Ann,{}\n", ticket % 90)).collect();
    place.load_sales("monday.csv", &rows);
    place.know_store_b();
    let start = || {
        let mut command = place.command(&["quarantine", "replay", "--all"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let loaded: u64 = [start(), start(), start()]
        .into_iter()
        .map(|child| said(&child.wait_with_output().unwrap()))
        .inspect(|said| assert_eq!(said.code, Some(0), "{}", said.log))
        .map(|said| said.json["runs"][0]["rows_loaded"].as_u64().unwrap_or(0))
        .sum();
    assert_eq!(loaded, 499);
    assert_eq!(place.sales().await.len(), 499);
}

#[tokio::test]
async fn an_export_holds_no_formula_and_personal_columns_by_consent_only() {
    let place = place().await;
    place.load_sales("monday.csv", "1,=1+1,Ann Smith,1\n2,B,Bob Miller,-300\n3,A,Ann Smith,500\n");
    let export = |words: &[&str]| {
        let mut all = vec!["quarantine", "export", "--pipeline", "sales", "--out", "refused.csv"];
        all.extend(words);
        let said = place.storekeeper(&all);
        assert_eq!((said.code, &said.json["rows"]), (Some(0), &3.into()), "{}", said.log);
        (std::fs::read_to_string(place.path("refused.csv")).unwrap(), said.json["left_out"].to_string())
    };
    let (text, left_out) = export(&[]);
    assert!(text.starts_with('\u{feff}'), "Excel needs the mark to read UTF-8");
    assert!(!text.contains("Smith") && left_out.contains("cashier"), "{text} {left_out}");
    assert!(text.contains(",'=1+1,") && !text.contains(",=1+1"), "{text}");
    assert!(text.contains(",-300"), "a number stays a number: {text}");
    let mut lines = csv::Reader::from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let names: Vec<String> = lines.headers().unwrap().iter().map(str::to_owned).collect();
    assert_eq!(names[4..], ["file", "sheet", "row", "column", "reason", "ticket", "store", "amount"]);
    let rows: Vec<String> = lines.records().map(|line| line.unwrap()[6].to_owned()).collect();
    assert_eq!(rows, ["2", "3", "4"]);
    let (text, _) = export(&["--with-personal"]);
    assert!(text.contains("Bob Miller"), "{text}");

    let missing = place.storekeeper(&["quarantine", "export", "--out", "nowhere/refused.csv"]);
    assert_eq!(missing.code, Some(1));
}

#[tokio::test]
async fn a_dismissed_row_is_settled_with_a_reason_and_not_replayed() {
    let place = place().await;
    let run = place.load_sales("monday.csv", "1,B,Ann,1\n2,B,Ann,2\n");
    let run = run["run_id"].to_string();
    let all = place.storekeeper(&["quarantine", "dismiss", "--why", "test data"]);
    assert_eq!(all.code, Some(2), "everything at once wants a word: {}", all.json);
    let said = place.storekeeper(&["quarantine", "dismiss", &run, "--why", "test data", "--by", "kim"]);
    assert_eq!((said.code, &said.json["dismissed"]), (Some(0), &2.into()), "{}", said.log);
    let listed = place.storekeeper(&["quarantine", "list", "--state", "dismissed"]).json;
    assert_eq!(
        (&listed["quarantine"][0]["handled_by"], &listed["quarantine"][0]["handled_why"]),
        (&"kim".into(), &"test data".into())
    );
    place.know_store_b();
    assert_eq!(place.replay().json["runs"], Value::Array(Vec::new()));
    let rows = place.text(&format!("SELECT count(*) FROM {SCHEMA}.sales")).await;
    assert_eq!(rows, "0");
}

#[tokio::test]
async fn a_column_that_was_not_kept_cannot_be_replayed() {
    let place = place().await;
    place.load_sales("monday.csv", "1,B,Ann,1\n");
    place.know_store_b();
    let more = "[[contract.columns]]\nname = \"channel\"\ntype = \"text\"\n[destination]";
    place.write("pipelines/sales/pipeline.toml", SALES.replace("[destination]", more));
    let said = place.replay();
    assert_eq!(said.code, Some(3), "{}", said.log);
    let reason = place.text("SELECT reason FROM ops.quarantine").await;
    assert!(reason.contains("`channel` was not kept"), "{reason}");
}

#[tokio::test]
async fn a_row_whose_cells_cannot_be_told_apart_stays_refused() {
    let place = place().await;
    place.load_sales("monday.csv", "1,A,Ann,1\n2,A,7\n");
    for _ in 0..2 {
        let replayed = place.replay();
        assert_eq!(replayed.json["runs"][0]["rows_loaded"], 0, "{}", replayed.json);
        assert_eq!(place.states().await, ["3 open shape"]);
    }
    place.storekeeper(&["quarantine", "export", "--pipeline", "sales", "--out", "refused.csv"]);
    let text = std::fs::read_to_string(place.path("refused.csv")).unwrap();
    assert!(text.contains("has 3 cells where the header has 4"), "{text}");
}
