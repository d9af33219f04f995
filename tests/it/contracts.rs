//! Contracts as a run keeps them: files on their own, columns that change, rules
//! over whole files. The built program, a folder of files, a database of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::postgres::Database;

/// A folder of files, a definition, and what the program makes of them.
struct Desk {
    folder: tempfile::TempDir,
    database: Database,
    pool: PgPool,
}

impl Desk {
    /// One pipeline `sales` into table `sales`, with a contract and a destination of the test's.
    async fn with(contract: &str, destination: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::migrated().await;
        let pool = PgPool::connect(database.url()).await.unwrap();
        let desk = Self { folder, database, pool };
        let config = format!(
            "[installation]\nname = \"{}\"\ndata_dir = \"{}\"\n[brands.harbor]\ntitle = \"Harbor\"\nfolder = \"{}\"\n",
            desk.database.name(),
            desk.path("data").display(),
            desk.path("files").display()
        );
        for folder in ["files/in", "sql/marts"] {
            std::fs::create_dir_all(desk.path(folder)).unwrap();
        }
        std::fs::write(desk.path("config.toml"), config).unwrap();
        desk.define(contract, destination);
        desk
    }

    fn define(&self, contract: &str, destination: &str) {
        let text = format!(
            "title = \"Sales\"\n[source]\nkind = \"folder\"\nfolder = \"in\"\npattern = \"*.csv\"\nformat = {{ kind = \"csv\" }}\n\
             [contract]\n{contract}\n[destination]\ntable = \"sales\"\n{destination}\n"
        );
        std::fs::create_dir_all(self.path("pipelines/sales")).unwrap();
        std::fs::write(self.path("pipelines/sales/pipeline.toml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts a file that was changed so many minutes after the others.
    fn put(&self, name: &str, text: &str, minutes: u64) {
        let path = self.path("files/in").join(name);
        std::fs::write(&path, text).unwrap();
        let noon = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_764_330_000 + minutes * 60);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(noon).unwrap();
    }

    fn command(&self, words: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_storekeeper"))
            .arg("--config")
            .arg(self.path("config.toml"))
            .arg("--definitions")
            .arg(self.folder.path())
            .args(["--now", "2025-11-29T11:00:00Z", "--format", "json"])
            .args(words)
            .env("STOREKEEPER__DATABASE__URL", self.database.url())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        (output.status.code().unwrap_or(-1), text)
    }

    /// Runs the pipeline; answers with the exit code and the report.
    fn run(&self) -> (i32, Value) {
        let (code, text) = self.command(&["run", "sales"]);
        let json: Value = serde_json::from_str(&text).unwrap();
        let run = json["runs"][0].clone();
        assert!(run.is_object(), "{json}");
        (code, run)
    }

    /// The only column of a query's rows, with spaces between.
    async fn text(&self, sql: &str) -> String {
        let wrapped = format!("SELECT coalesce(string_agg(x::text, ' '), '') FROM ({sql}) AS one(x)");
        sqlx::query_scalar(AssertSqlSafe(wrapped)).fetch_one(&self.pool).await.unwrap()
    }
}

fn notes(run: &Value) -> String {
    run["notes"].as_array().unwrap().iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

const PLAIN: &str = r#"
key = ["store", "day"]
columns = [
  { name = "store", from = "Store", type = "text" },
  { name = "day", from = "Day", type = "date" },
  { name = "amount", from = "Amount", type = "decimal(12,2)" },
]
"#;
const MERGE: &str = "write_disposition = \"merge\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_keeps_no_other_from_being_loaded_and_is_read_again() {
    let desk = Desk::with(PLAIN, MERGE).await;
    desk.put("a.csv", "Store,Day,Amount\nA,2025-11-01,1\n", 0);
    desk.put("b.csv", "Shop,When\nB,2025-11-01\n", 1);
    desk.put("c.csv", "Store,Day,Amount\nC,2025-11-01,3\n", 2);
    let (code, run) = desk.run();
    assert_eq!((code, run["status"].as_str()), (1, Some("partial")), "{run}");
    assert_eq!(desk.text("SELECT store FROM mart_harbor.sales ORDER BY 1").await, "A C");
    assert!(run["error"].as_str().unwrap().starts_with("1 of 3 files was refused: failed to read `b.csv`"), "{run}");
    let refused: Vec<&Value> =
        run["files"].as_array().unwrap().iter().filter(|file| file["error"].is_string()).collect();
    assert_eq!(refused.len(), 1, "{run}");
    assert_eq!(refused[0]["name"], "b.csv");
    assert!(refused[0]["hint"].as_str().unwrap().contains("`from`"), "{run}");
    assert_eq!(desk.text("SELECT name FROM ops.files ORDER BY 1").await, "a.csv c.csv");
    // Again, as long as it is no good; and only that one.
    let (code, run) = desk.run();
    assert_eq!((code, run["status"].as_str()), (1, Some("failed")), "{run}");
    desk.put("b.csv", "Store,Day,Amount\nB,2025-11-01,2\n", 3);
    let (code, run) = desk.run();
    assert_eq!((code, run["status"].as_str(), run["rows_read"].as_u64()), (0, Some("succeeded"), Some(1)), "{run}");
    assert_eq!(desk.text("SELECT store FROM mart_harbor.sales ORDER BY 1").await, "A B C");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_file_that_is_read_later_does_not_undo_a_newer_one() {
    for destination in [MERGE, "write_disposition = \"replace_window\"\nwindow = [\"store\"]"] {
        let desk = Desk::with(PLAIN, destination).await;
        desk.put("old.csv", "Store,Day,Amount\nA,3/4/2025,1\nB,3/4/2025,1\n", 0);
        desk.put("new.csv", "Store,Day,Amount\nA,2025-03-04,2\n", 1);
        let (code, run) = desk.run();
        assert_eq!((code, run["status"].as_str()), (1, Some("partial")), "{run}");
        desk.define(&PLAIN.replace("type = \"date\"", "type = \"date\", date_order = \"mdy\""), destination);
        let (code, run) = desk.run();
        assert_eq!(code, 0, "{run}");
        let amounts = desk.text("SELECT store || '=' || amount FROM mart_harbor.sales ORDER BY 1").await;
        assert_eq!(amounts, "A=2.00 B=1.00", "{destination}: {run}");
        assert!(notes(&run).contains("1 row of files that were refused before is older than what is there"), "{run}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_replaced_waits_for_all_its_files() {
    let desk = Desk::with(PLAIN, "write_disposition = \"replace\"").await;
    desk.put("a.csv", "Store,Day,Amount\nA,2025-11-01,1\n", 0);
    assert_eq!(desk.run().0, 0);
    desk.put("b.csv", "Store,Day\nB,2025-11-01\n", 1);
    desk.put("c.csv", "Store,Day,Amount\nC,2025-11-01,3\n", 2);
    let (code, run) = desk.run();
    assert_eq!((code, run["status"].as_str()), (1, Some("failed")), "{run}");
    assert_eq!(desk.text("SELECT store FROM mart_harbor.sales").await, "A");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_day_and_month_is_decided_from_the_whole_file_or_refused() {
    let desk = Desk::with(PLAIN, MERGE).await;
    // The one value that decides stands far behind the first batch.
    let mut long = "Store,Day,Amount\n".to_owned();
    for row in 0..20_000 {
        long.push_str(&format!("S{row},3.4.2025,1\n"));
    }
    long.push_str("LAST,28.11.2025,1\n");
    desk.put("dmy.csv", &long, 0);
    desk.put("mdy.csv", "Store,Day,Amount\nM,3/4/2025,1\nM,11/28/2025,1\n", 1);
    desk.put("open.csv", "Store,Day,Amount\nO,3/4/2025,1\nO,5/6/2025,1\n", 2);
    let (code, run) = desk.run();
    assert_eq!((code, run["status"].as_str()), (1, Some("partial")), "{run}");
    assert_eq!(desk.text("SELECT count(*) FROM mart_harbor.sales WHERE day = '2025-04-03'").await, "20000");
    assert_eq!(
        desk.text("SELECT day FROM mart_harbor.sales WHERE store = 'M' ORDER BY 1").await,
        "2025-03-04 2025-11-28"
    );
    assert_eq!(desk.text("SELECT count(*) FROM mart_harbor.sales WHERE store = 'O'").await, "0");
    assert!(notes(&run).contains("dates of `Day` are read as dmy: `28.11.2025` can be nothing else"), "{run}");
    let error = run["error"].as_str().unwrap();
    assert!(error.contains("`open.csv`: column `Day` can be read in two ways: `3/4/2025`, `5/6/2025`"), "{error}");
    assert!(run["hint"].as_str().unwrap().contains("`date_order`"), "{run}");
    // The contract has the last word.
    desk.define(&PLAIN.replace("type = \"date\"", "type = \"date\", date_order = \"mdy\""), MERGE);
    let (code, run) = desk.run();
    assert_eq!((code, run["rows_read"].as_u64()), (0, Some(2)), "{run}");
    assert_eq!(
        desk.text("SELECT day FROM mart_harbor.sales WHERE store = 'O' ORDER BY 1").await,
        "2025-03-04 2025-05-06"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_decimal_mark_is_that_of_the_whole_file() {
    let desk = Desk::with(PLAIN, "write_disposition = \"merge\"").await;
    desk.put("comma.csv", "Store;Day;Amount\nA;2025-11-01;1.234\nB;2025-11-01;12,50\n", 0);
    desk.put("point.csv", "Store,Day,Amount\nC,2025-11-01,1.234\nD,2025-11-01,\"1,234.50\"\n", 1);
    let (code, run) = desk.run();
    assert_eq!(code, 0, "{run}");
    let amounts = desk.text("SELECT store || '=' || amount FROM mart_harbor.sales ORDER BY 1").await;
    assert_eq!(amounts, "A=1234.00 B=12.50 C=1.23 D=1234.50");
    assert!(notes(&run).contains("numbers of `Amount` are read with a decimal comma"), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_column_joins_the_table_where_the_contract_evolves_and_stays() {
    let evolving = format!("new_columns = \"evolve\"\n{PLAIN}");
    let destination = "write_disposition = \"merge\"\npartition_by = \"day\"";
    let desk = Desk::with(&evolving, destination).await;
    desk.put("a.csv", "Store,Day,Amount\nA,2025-10-01,1\n", 0);
    let (code, run) = desk.run();
    assert_eq!(code, 0, "{run}");
    desk.put("b.csv", "Store,Day,Delivery Fee,Amount\nB,2025-11-01,2.50,1\n", 1);
    desk.put("c.csv", "Store,Day,Amount\nC,2025-11-01,1\n", 2);
    let (code, run) = desk.run();
    assert_eq!(code, 0, "{run}");
    let drift = &run["files"][0]["drift"];
    assert_eq!(drift["added"][0]["name"], "Delivery Fee", "{run}");
    assert_eq!(drift["added"][0]["looks_like"], "decimal", "{run}");
    assert!(
        notes(&run).contains("column `Delivery Fee` is new, and is `delivery_fee` of `sales` from now on"),
        "{run}"
    );
    assert_eq!(run["files"][1]["drift"]["missing"][0], "Delivery Fee", "{run}");
    let fees = "SELECT store || '=' || coalesce(delivery_fee, 'nothing') FROM mart_harbor.sales ORDER BY 1";
    assert_eq!(desk.text(fees).await, "A=nothing B=2.50 C=nothing");
    // Whoever reads all brands sees it too, and the partitions have it.
    assert_eq!(desk.text("SELECT count(delivery_fee) FROM mart_all.sales").await, "1");
    desk.put("d.csv", "Delivery Fee,Store,Day,Amount\n3,D,2025-12-01,1\n", 3);
    let (code, run) = desk.run();
    assert_eq!(code, 0, "{run}");
    assert!(!notes(&run).contains("is `delivery_fee`"), "it is known by now: {run}");
    assert_eq!(desk.text(fees).await, "A=nothing B=2.50 C=nothing D=3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_a_refused_file_brought_is_not_learned() {
    let evolving = format!("new_columns = \"evolve\"\nfail_limit_rows = 0\n{PLAIN}");
    let desk = Desk::with(&evolving, MERGE).await;
    desk.put("a.csv", "Store,Day,Amount\nA,2025-10-01,1\n", 0);
    desk.put("b.csv", "Store,Day,Amount,Tips\nB,2025-10-01,many,1\n", 1);
    desk.put("c.csv", "Store,Day,Amount\nC,2025-10-01,1\n", 2);
    let (code, run) = desk.run();
    assert_eq!((code, run["status"].as_str()), (1, Some("partial")), "{run}");
    assert!(run["error"].as_str().unwrap().contains("1 of 1 row of `b.csv` is refused"), "{run}");
    assert_eq!(desk.text("SELECT store FROM mart_harbor.sales ORDER BY 1").await, "A C");
    assert_eq!(desk.text("SELECT name FROM ops.evolved_columns").await, "");
    let there = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'sales' AND column_name = 'tips'";
    assert_eq!(desk.text(there).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_column_is_pointed_out_and_never_guessed() {
    let desk = Desk::with(PLAIN, MERGE).await;
    desk.put("a.csv", "Store,Day,Amount\nA,2025-10-01,1\n", 0);
    assert_eq!(desk.run().0, 0);
    desk.put("b.csv", "Store,Day,Amount USD\nB,2025-10-01,1\n", 1);
    let (code, run) = desk.run();
    assert_eq!((code, run["status"].as_str()), (1, Some("failed")), "{run}");
    let renamed = &run["files"][0]["drift"]["renamed"][0];
    assert_eq!((renamed["from"].as_str(), renamed["to"].as_str()), (Some("Amount"), Some("Amount USD")), "{run}");
    assert!(notes(&run).contains(r#"add "Amount USD" to `from` of column `amount`"#), "{run}");
    desk.define(&PLAIN.replace(r#"from = "Amount""#, r#"from = ["Amount", "Amount USD"]"#), MERGE);
    let (code, run) = desk.run();
    assert_eq!(code, 0, "{run}");
    assert_eq!(desk.text("SELECT store FROM mart_harbor.sales ORDER BY 1").await, "A B");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_contract_refuses_a_new_column_and_says_what_it_holds() {
    let desk = Desk::with(&format!("new_columns = \"freeze\"\n{PLAIN}"), MERGE).await;
    desk.put("a.csv", "Store,Day,Amount,Open\nA,2025-10-01,1,yes\n", 0);
    let (code, run) = desk.run();
    assert_eq!(code, 1, "{run}");
    assert!(notes(&run).contains("a.csv: new column `Open`, its values look like boolean"), "{run}");
    assert_eq!(desk.text("SELECT to_regclass('mart_harbor.sales') IS NULL").await, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_whose_own_total_does_not_fit_is_refused_or_pointed_out() {
    let ruled = |severity: &str| {
        let rule = format!("rules = [{{ kind = \"control_total\"{severity} }}]");
        PLAIN.replace("type = \"decimal(12,2)\"", &format!("type = \"decimal(12,2)\", {rule}"))
    };
    let desk = Desk::with(&ruled(""), MERGE).await;
    desk.put("whole.csv", "Store,Day,Amount\nA,2025-10-01,1.50\nB,2025-10-01,2\nTotal,,3.50\n", 0);
    desk.put("cut.csv", "Store,Day,Amount\nC,2025-10-01,1.50\nTotal,,3.50\n", 1);
    let (code, run) = desk.run();
    assert_eq!((code, run["status"].as_str()), (1, Some("partial")), "{run}");
    assert_eq!(desk.text("SELECT store FROM mart_harbor.sales ORDER BY 1").await, "A B");
    let error = run["error"].as_str().unwrap();
    let wanted =
        "`cut.csv` breaks rule `control_total` on `amount` in row 3: the file's total is 3.50, its rows add up to 1.50";
    assert!(error.contains(wanted), "{error}");
    desk.define(&ruled(", severity = \"warn\""), MERGE);
    let (code, run) = desk.run();
    assert_eq!(code, 0, "{run}");
    assert!(notes(&run).contains("the file's total is 3.50, its rows add up to 1.50"), "{run}");
    assert_eq!(desk.text("SELECT store FROM mart_harbor.sales ORDER BY 1").await, "A B C");
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_values_of_a_unique_column_are_kept_aside_warned_about_or_refused() {
    let ruled = |severity: &str| {
        format!(
            "columns = [{{ name = \"receipt\", type = \"text\", rules = [{{ kind = \"unique\", severity = \"{severity}\" }}] }}]"
        )
    };
    let destination = "write_disposition = \"append\"";
    let file = "receipt\nR1\nR2\nR1\n\"-\"\n-\n";
    for (severity, code, rows, quarantined) in [("quarantine", 3, "4", 1), ("warn", 0, "5", 0), ("fail", 1, "", 0)] {
        let desk = Desk::with(&ruled(severity), destination).await;
        desk.put("a.csv", file, 0);
        let (exit, run) = desk.run();
        assert_eq!(exit, code, "{severity}: {run}");
        assert_eq!(run["rows_quarantined"], quarantined, "{severity}: {run}");
        if code == 1 {
            assert!(run["error"].as_str().unwrap().contains("breaks rule `unique` on `receipt`"), "{run}");
            continue;
        }
        assert_eq!(desk.text("SELECT count(*) FROM mart_harbor.sales").await, rows, "{severity}");
        if quarantined == 1 {
            let kept = "SELECT source_row || ' ' || rule || ': ' || reason FROM ops.quarantine";
            assert_eq!(desk.text(kept).await, "2 unique: row 4 has the same value");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_reaches_its_type_in_postgresql() {
    let contract = r#"
columns = [
  { name = "worked", type = "duration" },
  { name = "extra", type = "json" },
  { name = "at", type = "timestamp", time_zone = "America/Chicago", ambiguous = "later" },
  { name = "written_on", type = "date", format = "%d %b %Y" },
  { name = "share", type = "decimal(6,4)", null_words = ["closed"] },
  { name = "code", type = "integer", type_severity = "warn" },
]
"#;
    let desk = Desk::with(contract, "write_disposition = \"replace\"").await;
    desk.put(
        "a.csv",
        "worked;extra;at;written_on;share;code\n\
         7:30;\"{\"\"a\"\": [1, 2]}\";2025-11-02 01:30;8 Nov 2025;12,5 %;7\n\
         1.5 h;;2025-07-01 08:00;09 Nov 2025;closed;seven\n\
         -0:15;null;2025-03-09 02:30;10 Nov 2025;1;1\n",
        0,
    );
    let (code, run) = desk.run();
    assert_eq!(code, 3, "{run}");
    let row = "SELECT concat_ws('|', worked, extra -> 'a' -> 1, at AT TIME ZONE 'UTC', written_on, share, code) \
               FROM mart_harbor.sales ORDER BY source_row";
    assert_eq!(
        desk.text(row).await,
        "07:30:00|2|2025-11-02 07:30:00|2025-11-08|0.1250|7 01:30:00|2025-07-01 13:00:00|2025-11-09"
    );
    assert_eq!(run["quarantine"][0]["column"], "at", "{run}");
    assert!(run["quarantine"][0]["reason"].as_str().unwrap().contains("never shown"), "{run}");
    assert!(notes(&run).contains("1 row breaks rule `type` on `code`"), "{run}");
    // The same rows again are the same rows: every type can be compared.
    desk.put("b.csv", "worked;extra;at;written_on;share;code\n2:00;\"{}\";2025-07-01 08:00;9 Nov 2025;1;2\n", 1);
    assert_eq!(desk.run().0, 0);
    let kinds = "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'mart_harbor.sales'::regclass \
                 AND attname IN ('worked', 'extra', 'at') ORDER BY attnum";
    assert_eq!(desk.text(kinds).await, "interval jsonb timestamp with time zone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_with_options_that_do_not_fit_is_refused_by_check() {
    let contract = r#"
fail_threshold = 2
columns = [
  { name = "a", type = "text", date_order = "mdy", decimal_mark = "comma" },
  { name = "b", type = "timestamp", ambiguous = "later", format = "%Q" },
  { name = "c", type = "integer", rules = [{ kind = "total_of", columns = ["a"] }, { kind = "control_total", tolerance = -1 }] },
  { name = "d", type = "json", rules = [{ kind = "known", table = "t", column = "c" }] },
]
"#;
    let desk = Desk::with(contract, "write_disposition = \"append\"").await;
    let (code, text) = desk.command(&["check"]);
    assert_eq!(code, 2, "{text}");
    for wanted in [
        "`fail_threshold` is a share between 0 and 1",
        "option `date_order` is for date and timestamp, not for text",
        "option `decimal_mark` is for integer and decimal, not for text",
        "option `ambiguous` goes with `time_zone`",
        "`%Q` is no strftime format",
        "rule `total_of` names `a`, which is no number",
        "`tolerance` is a number from 0 up",
        "rule `known` is not for json",
    ] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    desk.define(
        "new_columns = \"evolve\"\ncolumns = [{ name = \"a\", type = \"text\" }]",
        "write_disposition = \"append\"",
    );
    let (_, text) = desk.command(&["check"]);
    assert!(!text.contains("evolve"), "{text}");
}
