//! The upkeep of the tables: partitions ahead, indexes, statistics, the history's end.

mod archive;
mod plans;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use storekeeper::warehouse::horizon;

use crate::support::place::{Place, Said};

const NOW: &str = "2025-11-29T11:00:00Z";

/// Sales by month, with further lines for `[destination]`.
fn definition(more: &str) -> String {
    format!(
        r#"
title = "Sales"
[source]
kind = "upload"
format = {{ kind = "csv" }}
[contract]
key = ["store_id", "day", "ticket"]
quarantine_threshold = 1.0
[[contract.columns]]
name = "store_id"
type = "text"
[[contract.columns]]
name = "day"
type = "date"
[[contract.columns]]
name = "ticket"
type = "integer"
[[contract.columns]]
name = "amount"
type = "decimal(12,2)"
[destination]
table = "sales"
write_disposition = "merge"
partition_by = "day"
{more}
"#
    )
}

async fn place(more: &str) -> Place {
    let place = Place::start().await;
    place.write("pipelines/sales/pipeline.toml", definition(more));
    // Who waits for a reader here would wait for ever.
    let name = place.text("SELECT current_database()").await;
    let patience = AssertSqlSafe(format!("ALTER DATABASE {name} SET lock_timeout = '5s'"));
    place.pool.execute(patience).await.unwrap();
    place
}

impl Place {
    fn at(&self, now: &str, words: &[&str]) -> Said {
        self.storekeeper(&[&["--now", now], words].concat())
    }

    /// Loads rows that were written at a moment.
    fn load_on(&self, now: &str, name: &str, rows: &str) -> Value {
        let file = self.write(name, format!("store_id,day,ticket,amount\n{rows}"));
        let said = self.at(now, &["run", "sales", "--file", file.to_str().unwrap()]);
        let run = said.json["runs"][0].clone();
        assert_eq!(run["status"], "succeeded", "{run:#} {}", said.log);
        run
    }

    fn maintain(&self, now: &str) -> Value {
        let said = self.at(now, &["db", "maintain"]);
        assert_eq!(said.code, Some(0), "{} {}", said.json, said.log);
        said.json["maintained"][0].clone()
    }

    async fn partitions(&self) -> String {
        let partitions = "SELECT string_agg(right(inhrelid::regclass::text, 6), ' ' ORDER BY inhrelid::regclass::text)
                          FROM pg_inherits WHERE inhparent = 'mart_harbor.sales'::regclass";
        self.text(partitions).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_made_ahead_once_and_lock_no_reader_out() {
    let place = place("").await;
    place.load_on(NOW, "one.csv", "A,2025-11-03,1,10\n");
    assert_eq!(place.partitions().await, "202511");
    // A dashboard that is in the middle of its query, and one that asks meanwhile.
    let mut reader = place.pool.begin().await.unwrap();
    reader.execute("SELECT * FROM mart_harbor.sales").await.unwrap();
    let done = place.maintain(NOW);
    assert_eq!(done["partitions_made"], json!(["2025-12", "2026-01", "2026-02"]));
    assert_eq!(place.text("SELECT count(*) FROM mart_harbor.sales").await, "1");
    reader.rollback().await.unwrap();
    assert_eq!(place.maintain(NOW)["partitions_made"], json!([]));
    // Two at once, a month later: each partition is made by one of them.
    let run = || place.at("2025-12-29T11:00:00Z", &["db", "maintain"]);
    let (one, two) = std::thread::scope(|scope| {
        let (one, two) = (scope.spawn(run), scope.spawn(run));
        (one.join().unwrap(), two.join().unwrap())
    });
    assert_eq!((one.code, two.code), (Some(0), Some(0)), "{} {}", one.log, two.log);
    let made = |said: &Said| said.json["maintained"][0]["partitions_made"].as_array().unwrap().len();
    assert_eq!(made(&one) + made(&two), 1);
    assert_eq!(place.partitions().await, "202511 202512 202601 202602 202603");
    // Rows go where they belong, and no CHECK of the making is left.
    place.load_on(NOW, "two.csv", "A,2026-01-31,1,10\n");
    assert_eq!(
        place.text("SELECT tableoid::regclass FROM mart_harbor.sales WHERE day > '2026-01-01'").await,
        "mart_harbor.sales_202601"
    );
    assert_eq!(place.text("SELECT count(*) FROM pg_constraint WHERE conname = 'in_month'").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_comes_to_a_table_that_is_there_bit_by_bit() {
    let place = place("").await;
    place.load_on(NOW, "one.csv", "A,2025-09-03,1,10\nA,2025-10-03,1,10\nA,2025-11-03,1,10\n");
    place.maintain(NOW);
    place.write(
        "pipelines/sales/pipeline.toml",
        definition("indexes = [[\"day\", \"store_id\"], [\"store_id\", \"day\"]]"),
    );
    let valid = "SELECT count(*) || ' of ' || count(*) FILTER (WHERE i.indisvalid) FROM pg_index i
                 JOIN pg_class c ON c.oid = i.indrelid WHERE c.relname LIKE 'sales%' AND c.relnamespace = 'mart_harbor'::regnamespace
                   AND pg_get_indexdef(i.indexrelid) LIKE '%(day, store_id)'";
    // It dies before the first partition has its own.
    let mut dies = place.command(&["--now", NOW, "db", "maintain"]);
    let status = dies.env("STOREKEEPER_CRASH_AT", "partition_indexed").output().unwrap().status;
    assert_eq!(status.code(), None);
    assert_eq!(place.text(valid).await, "1 of 0", "the table's own, which does not count yet");
    // A load in between brings a partition of its own.
    place.load_on(NOW, "two.csv", "A,2025-08-03,1,10\n");
    // Readers are not waited for.
    let mut reader = place.pool.begin().await.unwrap();
    reader.execute("SELECT * FROM mart_harbor.sales").await.unwrap();
    let done = place.maintain(NOW);
    assert_eq!(done["indexes_made"], json!(["day, store_id"]), "the key serves the other one");
    reader.rollback().await.unwrap();
    assert_eq!(place.text(valid).await, "8 of 8", "one of the table, seven of partitions");
    assert_eq!(place.maintain(NOW)["indexes_made"], json!([]));
    // New tables have it from their first load on, new partitions too.
    place.load_on(NOW, "three.csv", "A,2025-07-03,1,10\n");
    assert_eq!(place.text(valid).await, "9 of 9");
    // The last partition that lacked it went away: nothing is left to make the whole count.
    let broken = "DROP INDEX mart_harbor.sales_day_store_id_idx; SET search_path = mart_harbor;
        CREATE INDEX sales_day_store_id_idx ON ONLY sales (day, store_id);
        DO $$ DECLARE part text; BEGIN
            FOR part IN SELECT inhrelid::regclass::text FROM pg_inherits
                        WHERE inhparent = 'sales'::regclass AND inhrelid <> 'sales_202507'::regclass LOOP
                EXECUTE format('CREATE INDEX %I ON %s (day, store_id)', part || '_again', part);
                EXECUTE format('ALTER INDEX sales_day_store_id_idx ATTACH PARTITION %I', part || '_again');
            END LOOP; END $$;
        DROP TABLE sales_202507; RESET search_path";
    sqlx::raw_sql(broken).execute(&place.pool).await.unwrap();
    assert_eq!(place.text(valid).await, "8 of 7");
    place.maintain(NOW);
    assert_eq!(place.text(valid).await, "8 of 8");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_changes_much_has_its_partitions_analysed() {
    let place = place("").await;
    let analyzed = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_stat_all_tables
                    WHERE schemaname = 'mart_harbor' AND last_analyze IS NOT NULL";
    let load = |name: &str, month: &str, rows: std::ops::Range<u32>| {
        let rows: String = rows.map(|ticket| format!("A,2025-{month}-01,{ticket},1\n")).collect();
        let file = place.write(name, format!("store_id,day,ticket,amount\n{rows}"));
        let mut command = place.command(&["run", "sales", "--file", file.to_str().unwrap()]);
        let output = command.env("STOREKEEPER__WAREHOUSE__ANALYZE_ROWS", "10").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    load("few.csv", "09", 0..9);
    assert_eq!(place.text(analyzed).await, "", "nine rows move no plan");
    load("many.csv", "10", 0..100);
    assert_eq!(place.text(analyzed).await, "sales_202510");
    // Of the parent for the first time, which looks at every partition.
    assert_eq!(place.maintain(NOW)["analyzed"], true);
    assert_eq!(place.maintain(NOW)["analyzed"], false);
    assert!(
        place.text(analyzed).await.starts_with("sales sales_202509 sales_202510"),
        "{}",
        place.text(analyzed).await
    );
    let when = "SELECT string_agg(relname || ' ' || analyze_count, ', ' ORDER BY relname) FROM pg_stat_all_tables
                WHERE schemaname = 'mart_harbor' AND relname LIKE 'sales%'";
    load("tenth.csv", "11", 0..10);
    assert_eq!(place.maintain(NOW)["analyzed"], false, "ten rows more are less than a tenth");
    load("more.csv", "11", 10..40);
    assert_eq!(place.maintain(NOW)["analyzed"], true);
    assert!(place.text(when).await.starts_with("sales 2,"), "{}", place.text(when).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_past_is_told_back_to_the_horizon_and_refused_before() {
    let place = place("").await;
    place.load_on("2023-01-10T11:00:00Z", "one.csv", "A,2023-01-03,1,10\nA,2023-01-03,2,20\n");
    place.load_on("2023-02-10T11:00:00Z", "two.csv", "A,2023-01-03,1,11\n");
    place.load_on("2025-02-10T11:00:00Z", "three.csv", "A,2023-01-03,1,12\n");
    let known =
        |at: &str| format!("SELECT string_agg(amount::text, ' ' ORDER BY ticket) FROM mart_harbor.sales_as_of('{at}')");
    assert_eq!(place.text(&known("2023-01-15Z")).await, "10.00 20.00");
    let mut connection = PgConnection::connect(place.url()).await.unwrap();
    assert_eq!(horizon(&mut connection, &"harbor".into()).await.unwrap(), None);
    // 800 days before that moment the first version was superseded, the second was not.
    assert_eq!(place.maintain(NOW)["versions_pruned"], 1);
    assert_eq!(place.maintain(NOW)["versions_pruned"], 0);
    let since = horizon(&mut connection, &"harbor".into()).await.unwrap().unwrap();
    assert_eq!(since.to_rfc3339(), "2023-09-21T11:00:00+00:00");
    for before in ["2023-01-15Z", "2023-09-21 10:59:59Z"] {
        let refused = sqlx::query(AssertSqlSafe(known(before))).fetch_all(&mut connection).await.unwrap_err();
        assert!(refused.to_string().contains("no longer kept: the history begins at 2023-09-21"), "{refused}");
    }
    assert_eq!(place.text(&known("2023-09-21 11:00Z")).await, "11.00 20.00");
    assert_eq!(place.text(&known("2025-03-01Z")).await, "12.00 20.00");
    // The planner still sees through the function: a day finds its partition.
    let explain =
        "EXPLAIN SELECT * FROM mart_harbor.sales_as_of('2025-03-01Z') WHERE day = '2023-01-03' AND store_id = 'A'";
    let lines: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut connection).await.unwrap();
    let plan = lines.join("\n");
    assert!(plan.contains("sales_202301") && !plan.contains("Function Scan"), "{plan}");
    // For ever, where somebody wants that.
    place.load_on(NOW, "four.csv", "A,2023-01-03,1,13\n");
    let mut command = place.command(&["--now", "2035-01-01T00:00:00Z", "db", "maintain"]);
    let output = command.env("STOREKEEPER__WAREHOUSE__HISTORY_DAYS", "0").output().unwrap();
    assert!(output.status.success());
    assert_eq!(place.text("SELECT count(*) FROM history_harbor.sales").await, "2");
}
