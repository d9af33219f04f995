//! Workbooks of several sheets, by the built program: a row's sheet is known, a
//! key in two sheets is no accident, and a workbook comes in whole or not at all.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use sandbox::generator::messy;
use serde_json::Value;
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::postgres::Database;

struct Desk {
    folder: tempfile::TempDir,
    database: Database,
    pool: PgPool,
}

impl Desk {
    /// One messy workbook, and a pipeline that reads it by a format and a key of the test's.
    async fn with(name: &str, format: &str, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::migrated().await;
        let pool = PgPool::connect(database.url()).await.unwrap();
        let desk = Self { folder, database, pool };
        for folder in ["files/in", "sql/marts", "pipelines/sales"] {
            std::fs::create_dir_all(desk.path(folder)).unwrap();
        }
        let config = format!(
            "[installation]\nname = \"{}\"\ndata_dir = \"{}\"\n[brands.harbor]\ntitle = \"Harbor\"\nfolder = \"{}\"\n",
            desk.database.name(),
            desk.path("data").display(),
            desk.path("files").display()
        );
        std::fs::write(desk.path("config.toml"), config).unwrap();
        let messy = messy::all().into_iter().find(|messy| messy.name == name).unwrap();
        std::fs::write(desk.path("files/in/Sales.xlsx"), &messy.bytes).unwrap();
        let columns: Vec<String> = messy
            .columns
            .iter()
            .map(|column| {
                let from = column.header.map(|header| format!(", from = \"{header}\"")).unwrap_or_default();
                format!("{{ name = \"{}\", type = \"{}\"{from} }}", column.name, column.column_type)
            })
            .filter(|column| format.contains("sheet_as") || column.contains("from"))
            .collect();
        let definition = format!(
            "title = \"Sales\"\n[source]\nkind = \"folder\"\nfolder = \"in\"\npattern = \"*.xlsx\"\nformat = {format}\n\
             [contract]\nkey = {key}\ncolumns = [{}]\n[destination]\ntable = \"sales\"\nwrite_disposition = \"merge\"\n",
            columns.join(", ")
        );
        std::fs::write(desk.path("pipelines/sales/pipeline.toml"), definition).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_storekeeper"))
            .arg("--config")
            .arg(self.path("config.toml"))
            .arg("--definitions")
            .arg(self.folder.path())
            .args(["--now", "2025-11-29T11:00:00Z", "--format", "json", "run", "sales"])
            .env("STOREKEEPER__DATABASE__URL", self.database.url())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let json: Value = serde_json::from_str(&text).unwrap();
        json["runs"][0].clone()
    }

    async fn text(&self, sql: &str) -> String {
        let wrapped = format!("SELECT coalesce(string_agg(x::text, ' | '), '') FROM ({sql}) AS one(x)");
        sqlx::query_scalar(AssertSqlSafe(wrapped)).fetch_one(&self.pool).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_a_workbook_tells_its_file_its_sheet_and_its_row() {
    let format = r#"{ kind = "xlsx", sheets = ["*"], sheet_as = "store_id" }"#;
    let desk = Desk::with("sheet_per_store", format, r#"["store_id", "sold_on", "channel"]"#).await;
    let run = desk.run();
    assert_eq!((run["status"].as_str(), run["rows_read"].as_u64()), (Some("succeeded"), Some(12)), "{run}");
    assert_eq!(run["files"].as_array().map(Vec::len), Some(1), "{run}");
    let places = "SELECT f.name || ' ' || f.sheet || ' ' || min(s.source_row) || '-' || max(s.source_row) || ' ' \
                  || min(s.store_id) || ' ' || count(*)
                  FROM mart_harbor.sales s JOIN ops.files f USING (file_id) GROUP BY f.name, f.sheet ORDER BY 1";
    assert_eq!(desk.text(places).await, "Sales.xlsx 000125 2-7 000125 6 | Sales.xlsx 000719 2-7 000719 6");
    let run = desk.run();
    assert_eq!(run["status"].as_str(), Some("nothing_new"), "{run}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_two_sheets_is_refused_and_says_where_the_other_is() {
    let desk = Desk::with("sheet_per_store", r#"{ kind = "xlsx", sheets = ["*"] }"#, r#"["sold_on", "channel"]"#).await;
    let run = desk.run();
    assert_eq!(run["rows_quarantined"].as_u64(), Some(6), "{run}");
    assert_eq!(desk.text("SELECT count(*) FROM mart_harbor.sales").await, "6");
    let reasons = "SELECT f.sheet || ': ' || q.reason FROM ops.quarantine q JOIN ops.files f USING (file_id)
                   ORDER BY q.source_row LIMIT 1";
    assert_eq!(desk.text(reasons).await, "000125: row 2 of sheet `000719` has the same key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workbook_with_a_sheet_that_is_no_good_leaves_nothing_behind() {
    let format = r#"{ kind = "xlsx", sheets = ["*"] }"#;
    let desk = Desk::with("several_sheets", format, r#"["store_id", "sold_on", "channel"]"#).await;
    let run = desk.run();
    assert_eq!(run["status"].as_str(), Some("failed"), "{run}");
    assert!(run["error"].as_str().unwrap().contains("no header row was found"), "{run}");
    assert_eq!(desk.text("SELECT count(*) FROM ops.files").await, "0");
    let definition = std::fs::read_to_string(desk.path("pipelines/sales/pipeline.toml")).unwrap();
    let mended = definition.replace(r#"["*"]"#, r#"["*", "!About"]"#);
    std::fs::write(desk.path("pipelines/sales/pipeline.toml"), mended).unwrap();
    let run = desk.run();
    assert_eq!((run["status"].as_str(), run["rows_read"].as_u64()), (Some("succeeded"), Some(12)), "{run}");
    assert_eq!(desk.text("SELECT sheet FROM ops.files ORDER BY 1").await, "North | South");
}
