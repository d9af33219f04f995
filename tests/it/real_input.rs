//! Public data that nobody here generated, through the built program: the
//! definitions in `examples/`, the files in `../shared/real-input`.
//!
//! The data is no part of the project. Where it is absent these tests say so, and pass.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::postgres::Database;

#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn real_input() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/real-input");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not there", folder.display());
    None
}

/// One of the definitions below `examples/`, on a database of its own.
struct Example {
    definitions: PathBuf,
    database: Database,
    work: tempfile::TempDir,
}

impl Example {
    async fn start(name: &str) -> Self {
        let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
        Self { definitions, database: Database::migrated().await, work: tempfile::tempdir().expect("a folder") }
    }

    /// Runs a pipeline on a file, from another working directory; answers with its report.
    fn run(&self, pipeline: &str, file: &Path) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_storekeeper"))
            .arg("--config")
            .arg(self.definitions.join("config.toml"))
            .arg("--definitions")
            .arg(&self.definitions)
            .args(["--format", "json", "run", pipeline, "--file"])
            .arg(file)
            .current_dir(self.work.path())
            .env("STOREKEEPER__DATABASE__URL", self.database.url())
            // Roles belong to the cluster, which tests share: the prefix is the database's name.
            .env("STOREKEEPER__INSTALLATION__NAME", self.database.name())
            .env("STOREKEEPER__INSTALLATION__DATA_DIR", self.work.path().join("data"))
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{log}"));
        answer["runs"][0].clone()
    }

    /// Loads a file of which every row must be taken; answers with how many there are.
    fn load(&self, pipeline: &str, file: &Path) -> u64 {
        let run = self.run(pipeline, file);
        assert_eq!((&run["status"], &run["rows_quarantined"]), (&"succeeded".into(), &0.into()), "{run:#}");
        assert_eq!(run["rows_loaded"], run["rows_read"], "{run:#}");
        run["rows_loaded"].as_u64().expect("a count")
    }

    /// The columns of one row as text.
    async fn figures(&self, sql: &str) -> Vec<String> {
        let mut connection = PgConnection::connect(self.database.url()).await.expect("the database answers");
        let wrapped = format!(
            "SELECT array_to_json(ARRAY(SELECT value FROM json_each_text(to_json(one))))::text FROM ({sql}) AS one"
        );
        let row: String = sqlx::query_scalar(AssertSqlSafe(wrapped)).fetch_one(&mut connection).await.expect("one row");
        serde_json::from_str(&row).expect("a list of texts")
    }
}

#[tokio::test]
async fn a_year_of_a_restaurant_is_loaded_to_the_cent() {
    let Some(data) = real_input() else { return };
    let example = Example::start("restaurant").await;
    let early = example.run("order_details", &data.join("order_details.csv"));
    assert_eq!(early["status"], "failed", "its references are not loaded yet: {early:#}");

    for (pipeline, rows) in [("pizza_types", 32), ("pizzas", 96), ("orders", 21_350), ("order_details", 48_620)] {
        assert_eq!(example.load(pipeline, &data.join(format!("{pipeline}.csv"))), rows, "{pipeline}");
    }
    let orders =
        "SELECT count(*), count(DISTINCT ordered_on), min(ordered_at), max(ordered_at) FROM mart_restaurant.orders";
    assert_eq!(example.figures(orders).await, ["21350", "358", "09:52:21", "23:05:52"]);
    let sales = "SELECT count(*), sum(orders), sum(pizzas), sum(sales) FROM mart_restaurant.sales_by_day";
    assert_eq!(example.figures(sales).await, ["358", "21350", "49574", "817860.05"]);
    // The one byte that is not ASCII is a curly quote of Windows-1252.
    let quote = "SELECT ingredients FROM mart_restaurant.pizza_types WHERE pizza_type_id = 'calabrese'";
    assert!(example.figures(quote).await[0].starts_with("\u{2018}Nduja Salami, Pancetta"));

    let again = example.run("orders", &data.join("orders.csv"));
    assert_eq!((&again["status"], &again["rows_loaded"]), (&"nothing_new".into(), &0.into()), "{again:#}");
}

#[tokio::test]
async fn a_workbook_of_budget_and_actual_is_loaded_from_its_three_sheets() {
    let Some(data) = real_input() else { return };
    let example = Example::start("coffee_chain").await;
    let workbook = data.join("coffee_chain.xlsx");
    for (pipeline, rows) in [("products", 13), ("locations", 156), ("budget_actual", 4248)] {
        assert_eq!(example.load(pipeline, &workbook), rows, "{pipeline}");
    }
    let facts =
        "SELECT count(*), sum(sales), sum(budget_sales), sum(inventory), min(month_starts_on), max(month_starts_on)
                 FROM mart_coffee_chain.budget_actual";
    assert_eq!(example.figures(facts).await, ["4248", "819811.00", "746160.00", "3183372", "2012-01-01", "2013-12-01"]);
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'mart_coffee_chain'
                   AND table_name = 'budget_actual' AND column_name NOT IN ('load_id', 'file_id', 'source_row', 'restored_by')";
    assert_eq!(example.figures(columns).await, ["21"]);
    // The sheet holds numbers; what it means are a whole number and an area code.
    let ids =
        "SELECT min(product_id), max(product_id), min(area_code), max(area_code) FROM mart_coffee_chain.budget_actual";
    assert_eq!(example.figures(ids).await, ["1", "13", "203", "985"]);
    let variance = "SELECT sum(variance) = sum(sales) - sum(budget_sales) FROM mart_coffee_chain.sales_against_budget";
    assert_eq!(example.figures(variance).await, ["true"]);
}
