//! A small world over all sources: two folders of a drive, a Dataverse table and
//! a mailbox. Its brand has a schema of its own, so that many share a database.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use sandbox::clock::Clock;
use sandbox::dataverse::schema::{AlternateKey, Column, ColumnKind, Table};
use sandbox::dataverse::{Dataverse, DataverseOptions};
use sandbox::faults::{Faults, Recorded};
use sandbox::graph::{Graph, GraphOptions, Paging};
use sandbox::token::{TokenOptions, TokenService};
use serde_json::{Map, Value, json};
use sqlx::AssertSqlSafe;
use storekeeper::app::App;
use storekeeper::ids::BrandId;
use storekeeper::notify::{Summary, send_summary_through};
use storekeeper::pipelines::{Engine, Order, Pipeline, RunReport, Status, Trigger};
use storekeeper::telemetry::chain;
use storekeeper::warehouse::Warehouse;

const SITE: &str = "sites/harbor";
const SECRET: &str = "s+e/c=r&et~1";

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
"#;

/// The definitions, written once for all towns of a test.
pub(super) struct Plans {
    folder: tempfile::TempDir,
}

impl Plans {
    pub(super) fn write() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("sales", SALES), ("plan", PLAN), ("metrics", METRICS)] {
            let place = folder.path().join("pipelines/all").join(name);
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("pipeline.toml"), text).unwrap();
        }
        Self { folder }
    }
}

/// One world, and a brand that reads it.
pub(super) struct Town {
    pub(super) faults: Faults,
    graph: Graph,
    dataverse: Dataverse,
    _token: TokenService,
    app: App,
    pipelines: Vec<Pipeline>,
    engine: Engine,
    warehouse: Warehouse,
    brand: BrandId,
    _folder: tempfile::TempDir,
}

impl Town {
    pub(super) async fn found(plans: &Plans, warehouse: &Warehouse, brand: &str) -> Self {
        // The log must tell real moments, for what is sent inside a wait.
        let (clock, faults) = (Clock::system(), Faults::new());
        let token = TokenService::start(TokenOptions {
            clients: vec![("app".to_owned(), SECRET.to_owned())],
            clock: clock.clone(),
            faults: faults.clone(),
            ..TokenOptions::default()
        })
        .unwrap();
        let graph = Graph::start(GraphOptions {
            book: token.book(),
            sites: vec![SITE.to_owned()],
            clock: clock.clone(),
            faults: faults.clone(),
            ..GraphOptions::default()
        })
        .unwrap();
        graph.set_paging(Paging { size: 2, quirk: None });
        let dataverse = Dataverse::start(DataverseOptions {
            book: token.book(),
            tables: vec![metrics()],
            clock: clock.clone(),
            faults: faults.clone(),
        })
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = written(folder.path(), brand, &token, &graph, &dataverse);
        let settings = storekeeper::settings::read(&[file], &BTreeMap::new()).unwrap();
        let app = App {
            settings,
            clock: storekeeper::clock::Clock::Fixed(noon()),
            definitions: plans.folder.path().to_owned(),
        };
        let pipelines = app.pipelines().await.unwrap();
        let engine = app.engine(warehouse).unwrap();
        let town = Self {
            faults,
            graph,
            dataverse,
            _token: token,
            app,
            pipelines,
            engine,
            warehouse: warehouse.clone(),
            brand: BrandId::from(brand),
            _folder: folder,
        };
        town.fill();
        town
    }

    fn put(&self, folder: &str, name: &str, text: &str) {
        self.graph.put_file(SITE, folder, name, text, noon());
    }

    fn fill(&self) {
        for number in 1..=3 {
            self.put("BI Import", &format!("Sales {number}.csv"), &sales(number, 100));
        }
        // What addresses give a meaning, and both ways to write an é.
        self.put("BI Import", "Sales #5 50%+ O'Brien \u{e9} e\u{301}.csv", &sales(5, 100));
        self.put("BI Import", "~$Sales 1.csv", "somebody");
        self.put("BI Import", "Sales 9.csv", "");
        let notebook = json!({"package": {"type": "oneNote"}}).as_object().cloned().unwrap_or_default();
        self.graph.put_other(SITE, "BI Import", "Sales Notes.csv", notebook);
        self.put("Plan", "Plan.csv", "store_id,hours\n000001,8.00\n000002,7.50\n");
    }

    /// What people do between two turns. Every row of before is still somewhere
    /// after it, so that who missed a turn misses no row.
    pub(super) fn change(&self) {
        self.put("BI Import", "Sales 2.csv", &sales(2, 250));
        self.put("BI Import", "Sales 4.csv", &sales(4, 100));
        self.put("BI Import", "Sales 9.csv", &sales(9, 100));
        self.put("Plan", "Plan.csv", "store_id,hours\n000001,9.00\n000002,7.50\n000003,6.00\n");
        self.dataverse.upsert("sk_metric", &metric(6, "6.0000"));
        self.dataverse.upsert("sk_metric", &metric(2, "-2.5000"));
    }

    /// Runs every pipeline once, and mails what came of it.
    pub(super) async fn turn(&self) -> Vec<RunReport> {
        let order = Order { trigger: Trigger::Manual, file: None, full: false };
        let mut reports = Vec::new();
        for pipeline in &self.pipelines {
            reports.push(self.engine.run(pipeline, &self.brand, &order).await.unwrap());
        }
        reports
    }

    /// Mails a summary; its end in words.
    pub(super) async fn mail(&self, reports: Vec<RunReport>) -> String {
        let mailer = self.app.mailer().unwrap();
        match send_summary_through(&self.warehouse, &mailer, &Summary::new(reports), noon()).await {
            Ok(sent) => format!("{:?}", sent.state).to_lowercase(),
            Err(error) => chain(&error),
        }
    }

    pub(super) fn mails(&self) -> usize {
        self.graph.mails().len()
    }

    /// A program that starts anew knows no gate and no token.
    pub(super) fn restart(&mut self) {
        self.engine = self.app.engine(&self.warehouse).unwrap();
    }

    /// A digest of each table, whatever load brought its rows.
    pub(super) async fn rows(&self) -> Vec<String> {
        let mut digests = Vec::new();
        for table in ["metrics", "plan", "sales"] {
            let name = format!("mart_{}.{table}", self.brand);
            let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
                .bind(&name)
                .fetch_one(self.warehouse.pool())
                .await
                .unwrap();
            if !there {
                digests.push(format!("{table}: none"));
                continue;
            }
            let sql = format!(
                "SELECT count(*) || ' ' || coalesce(md5(string_agg(x, '' ORDER BY x)), '') FROM
                 (SELECT (to_jsonb(t) - 'load_id' - 'file_id' - 'source_row')::text AS x FROM {name} t) AS rows"
            );
            let digest: String = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(self.warehouse.pool()).await.unwrap();
            digests.push(format!("{table}: {digest}"));
        }
        digests
    }
}

/// What a turn refused, each once, in words.
pub(super) fn refusals(reports: &[RunReport]) -> Vec<String> {
    let failed = reports.iter().filter(|report| report.status == Status::Failed);
    let mut said: Vec<String> = failed.map(|report| report.error.clone().unwrap_or_default()).collect();
    said.dedup();
    said
}

/// Requests that a service got inside a time it had asked for. The same moment
/// counts as outside: such a request was on its way already.
pub(super) fn inside_a_wait(log: &[Recorded]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, asked) in log.iter().enumerate() {
        let seconds = asked.retry_after.as_ref().and_then(|text| text.parse::<f64>().ok());
        let Some(seconds) = seconds.filter(|_| matches!(asked.status, Some(429 | 503))) else { continue };
        let until = asked.received_at + chrono::TimeDelta::milliseconds((seconds * 1000.0) as i64);
        let later = log[index + 1..].iter().filter(|other| other.origin == asked.origin && host(other) == host(asked));
        let inside = later.filter(|other| other.received_at > asked.received_at && other.received_at < until);
        found.extend(inside.map(|other| format!("{} inside {seconds} s after {}", other.line(), asked.line())));
    }
    found
}

fn host(request: &Recorded) -> &str {
    request.header("host").unwrap_or_default()
}

pub(super) fn noon() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2025-11-29T12:00:00Z").unwrap().to_utc()
}

fn sales(store: u32, amount: u32) -> String {
    let mut text = "store_id,business_date,net_sales\r\n".to_owned();
    for day in 1..=9 {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{store:06},2025-11-0{day},{}.{day}0\r\n", amount + store * day);
    }
    text
}

fn metric(number: u32, amount: &str) -> Map<String, Value> {
    let row = json!({
        "sk_metricid": format!("00000000-0000-0000-0000-00000000000{number}"),
        "sk_store": format!("{number:06}"),
        "sk_amount": amount,
        "sk_seenon": format!("2025-11-0{number}"),
    });
    row.as_object().cloned().unwrap_or_default()
}

fn metrics() -> Table {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind };
    let amounts = ["79228162514264337593543.9505", "0.1000", "-3.0000", "20000.0000", "99999999.9900"];
    Table {
        logical_name: "sk_metric".to_owned(),
        entity_set: "sk_metrics".to_owned(),
        primary_id: "sk_metricid".to_owned(),
        columns: vec![
            column("sk_metricid", ColumnKind::Guid),
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
        rows: (1..).zip(amounts).map(|(number, amount)| metric(number, amount)).collect(),
    }
}

fn written(folder: &Path, brand: &str, token: &TokenService, graph: &Graph, dataverse: &Dataverse) -> PathBuf {
    let secret = folder.join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let text = format!(
        "[http]\nread_timeout_seconds = 1\nattempts = 4\nbackoff_milliseconds = 1\nthrottled_pause_seconds = 0\n\
         retry_after_limit_seconds = 2\n\
         [microsoft]\ntenant_id = {:?}\nclient_id = \"app\"\nclient_secret_file = {secret:?}\n\
         authority_url = {:?}\ngraph_url = {:?}\n\
         [sources]\ndataverse_page_size = 2\n\
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
