//! A small world over all sources: two folders of a drive, a Dataverse table and
//! a mailbox. Its brand has a schema of its own, so that many share a database.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use sandbox::clock::Clock;
use sandbox::dataverse::{Dataverse, DataverseOptions};
use sandbox::faults::{Faults, Recorded};
use sandbox::graph::{Graph, GraphOptions, Paging};
use sandbox::token::{TokenOptions, TokenService};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use storekeeper::app::App;
use storekeeper::ids::BrandId;
use storekeeper::notify::{Summary, send_summary_through};
use storekeeper::pipelines::{Engine, ExportOrder, Order, Pipeline, RunReport, Status, Trigger};
use storekeeper::telemetry::chain;
use storekeeper::warehouse::Warehouse;

use super::plans::{Plans, SECRET, SITE, row, tables, written};

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
            tables: tables(),
            clock: clock.clone(),
            faults: faults.clone(),
            ..DataverseOptions::default()
        })
        .unwrap();
        dataverse.set_bulk("sk_log", false);
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
        self.graph.put_folder(SITE, "Plan/Archive");
        for number in 1..=3 {
            self.put("Feed", &format!("Feed {number}.csv"), &sales(number, 400));
        }
        self.put("Plan", "Plan.csv", "store_id,hours\n000001,8.00\n000002,7.50\n");
    }

    /// What people do between two turns. Every row of before is still somewhere
    /// after it, so that who missed a turn misses no row.
    pub(super) fn change(&self) {
        self.put("BI Import", "Sales 2.csv", &sales(2, 250));
        self.put("BI Import", "Sales 4.csv", &sales(4, 100));
        self.put("BI Import", "Sales 9.csv", &sales(9, 100));
        self.put("Plan", "Plan.csv", "store_id,hours\n000001,9.00\n000002,7.50\n000003,6.00\n");
        self.put("Feed", "Feed 2.csv", &sales(2, 450));
        self.put("Feed", "Feed 4.csv", &sales(4, 400));
        for table in ["sk_metric", "sk_punch"] {
            self.dataverse.upsert(table, &row(table, 6, "6.0000"));
            self.dataverse.upsert(table, &row(table, 2, "-2.5000"));
        }
        // Whoever never saw it has nothing to delete; whoever did must.
        self.dataverse.delete("sk_punch", "00000000-0000-0000-0000-000000000001");
    }

    /// Runs every pipeline once, and the export behind it.
    pub(super) async fn turn(&self) -> Vec<RunReport> {
        let order = Order { trigger: Trigger::Manual, file: None, full: false };
        let mut reports = Vec::new();
        for pipeline in &self.pipelines {
            reports.push(self.engine.run(pipeline, &self.brand, &order).await.unwrap());
            if pipeline.definition.export.is_some() {
                let order = ExportOrder { trigger: Trigger::Manual, full: false };
                reports.push(self.engine.export(pipeline, &self.brand, order).await.unwrap());
            }
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

    /// Files that were put away after they were read.
    pub(super) fn archived(&self) -> usize {
        self.graph.files(SITE).iter().filter(|path| path.contains("Archive/")).count()
    }

    pub(super) fn mails(&self) -> usize {
        self.graph.mails().len()
    }

    /// A program that starts anew knows no gate and no token.
    pub(super) fn restart(&mut self) {
        self.engine = self.app.engine(&self.warehouse).unwrap();
    }

    /// What stands in a table that is written to, whichever ids its rows were given.
    fn sent(&self, table: &str) -> String {
        let cells = ["sk_store", "sk_amount", "sk_seenon"];
        let line = |row: serde_json::Map<String, Value>| cells.map(|cell| row[cell].to_string()).join(" ");
        let mut lines: Vec<String> = self.dataverse.rows(table).into_iter().map(line).collect();
        lines.sort();
        lines.join(", ")
    }

    /// A digest of each table, whatever load brought its rows.
    pub(super) async fn rows(&self) -> Vec<String> {
        let mut digests = Vec::new();
        for table in ["feed", "metrics", "plan", "punches", "sales"] {
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
        digests.extend(["sk_total", "sk_log"].map(|table| format!("{table}: {}", self.sent(table))));
        digests
    }
}

/// What a turn refused, each once, in words.
pub(super) fn refusals(reports: &[RunReport]) -> Vec<String> {
    let failed = reports.iter().filter(|report| report.status == Status::Failed);
    let said = failed.map(|report| {
        report.error.clone().unwrap_or_else(|| format!("{} rows over the threshold", report.rows_quarantined))
    });
    let mut said: Vec<String> = said.collect();
    // An export that could not write a row has not failed, but says so.
    let exports = reports.iter().filter(|report| report.pipeline.0.starts_with("export_"));
    let rows = exports.flat_map(|report| &report.quarantine);
    said.extend(rows.map(|row| format!("a row of `{}` was refused: {}", row.file, row.reason)));
    said.dedup();
    said
}

/// Requests that a service got inside a time it had asked for. As many as run side by
/// side may have been on their way already, in the first half of it, before the answer
/// was read.
pub(super) fn inside_a_wait(log: &[Recorded]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, asked) in log.iter().enumerate() {
        let seconds = asked.retry_after.as_ref().and_then(|text| text.parse::<f64>().ok());
        let Some(seconds) = seconds.filter(|_| matches!(asked.status, Some(429 | 503))) else { continue };
        let until = asked.received_at + chrono::TimeDelta::milliseconds((seconds * 1000.0) as i64);
        let later = log[index + 1..].iter().filter(|other| other.origin == asked.origin && host(other) == host(asked));
        let inside: Vec<&Recorded> =
            later.filter(|other| other.received_at > asked.received_at && other.received_at < until).collect();
        let half = asked.received_at + (until - asked.received_at) / 2;
        let on_their_way = inside.iter().take_while(|other| other.received_at < half).count().min(SIDE_BY_SIDE - 1);
        found.extend(
            inside[on_their_way..]
                .iter()
                .map(|other| format!("{} inside {seconds} s after {}", other.line(), asked.line())),
        );
    }
    found
}

/// Files that are fetched at once: the default of `sources.concurrent_downloads`.
const SIDE_BY_SIDE: usize = 4;

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
