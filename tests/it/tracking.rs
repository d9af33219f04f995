//! A Dataverse table whose changes are tracked, through the real program.

use std::process::Command;

use sandbox::dataverse::Dataverse;
use sandbox::dataverse::schema::{Column, ColumnKind};
use serde_json::{Map, Value, json};

use crate::support::world::World;

const TABLE: &str = "sk_clockinout";
const ROWS: &str = "GET /api/data/v9.2/sk_clockinouts*";
const PIPELINE: &str = r#"
title = "Punch log"
brands = ["harbor"]

[source]
kind = "dataverse"
entity_set = "sk_clockinouts"
changes = "track"

[contract]
key = ["business_key"]

[[contract.columns]]
name = "business_key"
from = ["sk_key", "sk_businesskey"]
type = "text"

[[contract.columns]]
name = "state"
from = "statecode@label"
type = "text"

[[contract.columns]]
name = "nickname"
from = "sk_nickname"
type = "text"
optional = true

[[contract.columns]]
name = "clocked_in_at"
from = "sk_clockin"
type = "timestamp"

[[contract.columns]]
name = "total_hours"
from = "sk_totalhours"
type = "decimal(8,2)"

[destination]
table = "punch_log"
write_disposition = "merge"
"#;

struct Log {
    world: World,
}

impl Log {
    async fn start() -> Self {
        let log = Self { world: World::start(60).await };
        std::fs::create_dir_all(log.world.folder().join("definitions/sql/marts")).unwrap();
        log.define(PIPELINE);
        log
    }

    fn define(&self, text: &str) {
        let folder = self.world.folder().join("definitions/pipelines/punch_log");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("pipeline.toml"), text).unwrap();
    }

    /// The world's own command with the definitions of this test.
    fn command(&self, words: &[&str]) -> Command {
        let ours = self.world.command(words);
        let mut command = Command::new(ours.get_program());
        let mut takes_folder = false;
        for word in ours.get_args() {
            if takes_folder {
                command.arg(self.world.folder().join("definitions"));
            } else {
                command.arg(word);
            }
            takes_folder = word == "--definitions";
        }
        command.envs(ours.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    }

    fn run(&self) -> Value {
        let output = self.command(&["run", "punch_log", "--brand", "harbor"]).output().unwrap();
        let answer: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        answer["runs"][0].clone()
    }

    fn source(&self) -> &Dataverse {
        &self.world.stand_ins.dataverses["harbor"]
    }

    /// Keys and hours at the source, as the table must have them.
    fn truth(&self) -> Vec<String> {
        let text = |row: &Map<String, Value>, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let hours = |row: &Map<String, Value>| {
            let text = text(row, "sk_totalhours");
            text.split_once('.').map_or(String::new(), |(whole, fraction)| format!("{whole}.{}", &fraction[..2]))
        };
        let rows = self.source().rows(TABLE);
        let mut lines: Vec<String> =
            rows.iter().map(|row| format!("{}|Active|{}", text(row, "sk_businesskey"), hours(row))).collect();
        lines.sort();
        lines
    }

    async fn loaded(&self) -> Vec<String> {
        let sql = "SELECT coalesce(string_agg(x, E'\\n' ORDER BY x COLLATE \"C\"), '') FROM (
                   SELECT business_key || '|' || state || '|' || coalesce(total_hours::text, '') AS x
                   FROM mart_harbor.punch_log) AS rows";
        self.world.text(sql).await.lines().map(str::to_owned).collect()
    }

    fn ids(&self) -> Vec<String> {
        let rows = self.source().rows(TABLE);
        rows.iter().map(|row| row["sk_clockinoutid"].as_str().unwrap().to_owned()).collect()
    }

    fn change(&self, id: &str, name: &str, value: Value) {
        let row = json!({"sk_clockinoutid": id, name: value}).as_object().cloned().unwrap();
        self.source().upsert(TABLE, &row).unwrap();
    }

    fn asked(&self) -> Vec<String> {
        let requests = self.source().faults().requests_to(ROWS);
        requests.into_iter().map(|request| request.target.clone()).collect()
    }
}

fn count(run: &Value, name: &str) -> u64 {
    run[name].as_u64().unwrap_or_else(|| panic!("{run}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_deletes_at_the_source_are_the_tables_too() {
    let log = Log::start().await;
    let first = log.run();
    assert_eq!(first["status"], "succeeded", "{first}");
    assert_eq!(log.loaded().await, log.truth());
    let asked = log.asked();
    assert!(asked.iter().all(|target| !target.contains("deltatoken")), "{asked:?}");

    let again = log.run();
    assert_eq!(again["status"], "nothing_new", "{again}");
    assert!(log.asked().last().unwrap().contains("deltatoken"));

    let ids = log.ids();
    log.change(&ids[0], "sk_totalhours", json!("7.77"));
    log.change(&ids[1], "sk_businesskey", json!("another key"));
    log.change(&ids[2], "sk_totalhours", json!("1.00"));
    assert!(log.source().delete(TABLE, &ids[2]));
    let unseen = "0f0f0f0f-0000-4000-8000-000000000001";
    log.change(unseen, "sk_businesskey", json!("never seen"));
    assert!(log.source().delete(TABLE, unseen));
    let changed = log.run();
    assert_eq!((count(&changed, "rows_updated"), count(&changed, "rows_inserted")), (1, 1), "{changed}");
    assert_eq!(count(&changed, "rows_read"), 2, "{changed}");
    assert_eq!(log.loaded().await, log.truth());

    // A row that is deleted and comes back the same is there again.
    let row = log.source().rows(TABLE).into_iter().find(|row| row["sk_clockinoutid"] == ids[0].as_str()).unwrap();
    assert!(log.source().delete(TABLE, &ids[0]));
    log.run();
    assert_eq!(log.loaded().await, log.truth());
    log.source().upsert(TABLE, &row).unwrap();
    log.run();
    assert_eq!(log.loaded().await, log.truth());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_expired_means_a_full_read_that_finds_the_deleted_rows() {
    let log = Log::start().await;
    log.run();
    let ids = log.ids();
    assert!(log.source().delete(TABLE, &ids[0]));
    log.source().expire_changes();
    let run = log.run();
    assert!(run["notes"].to_string().contains("read whole again: the change link has expired"), "{run}");
    assert_eq!(log.loaded().await, log.truth());

    // A new column makes every link void as well.
    log.source().add_column(TABLE, Column { name: "sk_nickname".to_owned(), kind: ColumnKind::Text });
    assert!(log.source().delete(TABLE, &ids[1]));
    log.run();
    assert_eq!(log.loaded().await, log.truth());
    assert_eq!(log.run()["status"], "nothing_new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_shrank_suspiciously_deletes_nothing() {
    let log = Log::start().await;
    log.run();
    let before = log.loaded().await;
    for id in log.ids() {
        assert!(log.source().delete(TABLE, &id));
    }
    log.source().expire_changes();
    let run = log.run();
    assert_eq!(run["status"], "failed", "{run}");
    let said = format!("came without {0} of the {0} rows", before.len());
    assert!(run["error"].as_str().unwrap_or_default().contains(&said), "{run}");
    assert_eq!(log.loaded().await, before);
    log.define(&PIPELINE.replace("\"track\"", "\"track\"\nshrink_threshold = 1.0"));
    let run = log.run();
    assert_eq!(run["status"], "succeeded", "{run}");
    assert!(log.loaded().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_were_not_committed_are_asked_for_again() {
    let log = Log::start().await;
    log.run();
    let ids = log.ids();
    log.change(&ids[0], "sk_totalhours", json!("7.77"));
    assert!(log.source().delete(TABLE, &ids[1]));
    for point in ["files_fetched", "before_merge", "before_commit"] {
        let mut command = log.command(&["run", "punch_log", "--brand", "harbor"]);
        let status = command.env("STOREKEEPER_CRASH_AT", point).output().unwrap().status;
        assert_eq!(status.code(), None, "the program should have died at `{point}`");
    }
    let run = log.run();
    assert_eq!(count(&run, "rows_updated"), 1, "{run}");
    assert_eq!(log.loaded().await, log.truth());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_go_with_tracking_is_told_by_check() {
    let log = Log::start().await;
    log.define(&PIPELINE.replace("\"track\"", "\"track\"\nfilter = \"statecode eq 0\"").replace("merge", "replace"));
    let output = log.command(&["check"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("takes no `filter`") && text.contains("needs `write_disposition"), "{text}");
}
