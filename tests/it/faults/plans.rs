//! What the small world is made of: definitions, tables and settings.

use std::path::{Path, PathBuf};

use sandbox::dataverse::Dataverse;
use sandbox::dataverse::schema::{AlternateKey, Column, ColumnKind, Table};
use sandbox::graph::Graph;
use sandbox::token::{TokenOptions, TokenService};
use serde_json::{Map, Value, json};

pub(super) const SITE: &str = "sites/harbor";
pub(super) const SECRET: &str = "s+e/c=r&et~1";

const SALES: &str = r#"
title = "Sales"
[source]
kind = "drive"
folder = "BI Import"
pattern = "Sales*.csv"
format = { kind = "csv" }
[contract]
key = ["store_id", "business_date"]
[[contract.columns]]
name = "store_id"
type = "store_id"
[[contract.columns]]
name = "business_date"
type = "date"
[[contract.columns]]
name = "net_sales"
type = "decimal(14,2)"
[destination]
table = "sales"
write_disposition = "merge"
"#;

const PLAN: &str = r#"
title = "Plan"
[source]
kind = "drive"
folder = "Plan"
pattern = "*.csv"
format = { kind = "csv" }
after = "archive"
[contract]
key = ["store_id"]
[[contract.columns]]
name = "store_id"
type = "store_id"
[[contract.columns]]
name = "hours"
type = "decimal(8,2)"
[destination]
table = "plan"
write_disposition = "merge"
"#;

const METRICS: &str = r#"
title = "Metrics"
[source]
kind = "dataverse"
entity_set = "sk_metrics"
order_by = "sk_store"
[contract]
key = ["store_id"]
[[contract.columns]]
name = "store_id"
from = "sk_store"
type = "store_id"
[[contract.columns]]
name = "amount"
from = "sk_amount"
type = "decimal(28,4)"
[[contract.columns]]
name = "seen_on"
from = "sk_seenon"
type = "date"
[destination]
table = "metrics"
write_disposition = "merge"
[export]
entity_set = "sk_totals"
key = ["sk_store"]
"#;

/// As the sales, but the drive is asked for what changed.
const FEED: &str = r#"
title = "Feed"
[source]
kind = "drive"
mode = "delta"
folder = "Feed"
pattern = "*.csv"
format = { kind = "csv" }
[contract]
key = ["store_id", "business_date"]
[[contract.columns]]
name = "store_id"
type = "store_id"
[[contract.columns]]
name = "business_date"
type = "date"
[[contract.columns]]
name = "net_sales"
type = "decimal(14,2)"
[destination]
table = "feed"
write_disposition = "merge"
"#;

/// A table of which only the changes are read.
const PUNCHES: &str = r#"
title = "Punches"
[source]
kind = "dataverse"
entity_set = "sk_punches"
changes = "track"
[contract]
key = ["store_id"]
[[contract.columns]]
name = "store_id"
from = "sk_store"
type = "store_id"
[[contract.columns]]
name = "amount"
from = "sk_amount"
type = "decimal(28,4)"
[destination]
table = "punches"
write_disposition = "merge"
[export]
entity_set = "sk_logs"
key = ["sk_store"]
missing = "delete"
"#;

/// The key of one row stands in no address, so that it is looked up and written alone.
const METRICS_EXPORT: &str = "SELECT CASE store_id WHEN '000003' THEN 'three/3' ELSE store_id END AS sk_store,
    amount AS sk_amount, seen_on AS sk_seenon FROM metrics";

const PUNCHES_EXPORT: &str = "SELECT store_id AS sk_store, amount AS sk_amount FROM punches";

/// The definitions, written once for all towns of a test.
pub(super) struct Plans {
    pub(super) folder: tempfile::TempDir,
}

impl Plans {
    pub(super) fn write() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pipelines = [("sales", SALES), ("plan", PLAN), ("feed", FEED), ("metrics", METRICS), ("punches", PUNCHES)];
        for (name, text) in pipelines {
            let place = folder.path().join("pipelines/all").join(name);
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("pipeline.toml"), text).unwrap();
        }
        for (name, sql) in [("metrics", METRICS_EXPORT), ("punches", PUNCHES_EXPORT)] {
            std::fs::write(folder.path().join("pipelines/all").join(name).join("export.sql"), sql).unwrap();
        }
        Self { folder }
    }
}

/// A row of any of the tables.
pub(super) fn row(table: &str, number: u32, amount: &str) -> Map<String, Value> {
    let row = json!({
        (format!("{table}id")): format!("00000000-0000-0000-0000-00000000000{number}"),
        "sk_store": format!("{number:06}"),
        "sk_amount": amount,
        "sk_seenon": format!("2025-11-0{number}"),
    });
    row.as_object().cloned().unwrap_or_default()
}

/// Two tables to read, and two to write to.
pub(super) fn tables() -> Vec<Table> {
    let amounts = ["79228162514264337593543.9505", "0.1000", "-3.0000", "20000.0000", "99999999.9900"];
    vec![
        table("sk_metric", "sk_metrics", &amounts),
        table("sk_punch", "sk_punches", &amounts),
        table("sk_total", "sk_totals", &[]),
        table("sk_log", "sk_logs", &[]),
    ]
}

fn table(name: &str, entity_set: &str, amounts: &[&str]) -> Table {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let id = format!("{name}id");
    Table {
        logical_name: name.to_owned(),
        entity_set: entity_set.to_owned(),
        primary_id: id.clone(),
        columns: vec![
            column(&id, ColumnKind::Guid),
            column("sk_store", ColumnKind::Text),
            column("sk_amount", ColumnKind::Decimal { precision: 4 }),
            column("sk_seenon", ColumnKind::DateOnly),
        ],
        alternate_keys: vec![AlternateKey {
            name: "sk_bystore".to_owned(),
            columns: vec!["sk_store".to_owned()],
            active: true,
        }],
        change_tracking: true,
        rows: (1..).zip(amounts).map(|(number, amount)| row(name, number, amount)).collect(),
    }
}

/// Writes the settings of a brand that lives there.
pub(super) fn written(
    folder: &Path,
    brand: &str,
    token: &TokenService,
    graph: &Graph,
    dataverse: &Dataverse,
) -> PathBuf {
    let secret = folder.join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let text = format!(
        "[http]\nread_timeout_seconds = 1\nattempts = 4\nbackoff_milliseconds = 1\nthrottled_pause_seconds = 0\n\
         retry_after_limit_seconds = 2\n\
         [microsoft]\ntenant_id = {:?}\nclient_id = \"app\"\nclient_secret_file = {secret:?}\n\
         authority_url = {:?}\ngraph_url = {:?}\n\
         [sources]\nsettle_seconds = 0\ndataverse_page_size = 2\n\
         [mail]\ntransport = \"graph\"\nfrom = \"storekeeper@example.com\"\nto = [\"admins@example.com\"]\n\
         [brands.{brand}]\ntitle = \"Harbor\"\ndataverse_url = {:?}\n\
         drive = {{ site = \"example.sharepoint.com:/{SITE}\" }}\n",
        TokenOptions::default().tenant_id,
        token.base_url,
        graph.base_url,
        dataverse.base_url,
    );
    let file = folder.join("config.toml");
    std::fs::write(&file, text).unwrap();
    file
}
