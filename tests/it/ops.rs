//! The daemon's HTTP face over a real socket.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use chrono::{DateTime, TimeDelta, Utc};
use storekeeper::clock::Clock;
use storekeeper::ops::{Error, State, serve};
use storekeeper::warehouse::Warehouse;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::postgres::Database;

/// A face that serves, with the hands that move it.
struct Face {
    address: SocketAddr,
    ticked: watch::Sender<Option<DateTime<Utc>>>,
    stop: watch::Sender<bool>,
    server: JoinHandle<Result<(), Error>>,
    warehouse: Warehouse,
}

fn now() -> DateTime<Utc> {
    "2026-03-02T06:05:12Z".parse().expect("a moment")
}

impl Face {
    async fn start() -> Self {
        let warehouse = Database::migrated().await.warehouse().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (ticked, ticks) = watch::channel(None);
        let (stop, shutdown) = watch::channel(false);
        let state = State {
            warehouse: warehouse.clone(),
            clock: Clock::Fixed(now()),
            ticked: Some(ticks),
            backups: watch::channel(BTreeMap::new()).1,
        };
        let server = tokio::spawn(serve(listener, state, shutdown));
        Self { address, ticked, stop, server, warehouse }
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.address)).await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("its body"))
    }

    async fn ready(&self) -> (u16, String) {
        let (status, body) = self.get("/health/ready").await;
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        (status, format!("{} {}", body["database"], body["scheduler"]).replace('"', ""))
    }
}

#[tokio::test]
async fn a_daemon_is_ready_while_its_scheduler_ticks_and_its_database_answers() {
    let face = Face::start().await;
    assert_eq!(face.get("/health").await, (200, "{\"status\":\"ok\"}".to_owned()));
    assert_eq!(face.ready().await, (503, "ok starting".to_owned()));
    face.ticked.send_replace(Some(now() - TimeDelta::seconds(12)));
    assert_eq!(face.ready().await, (200, "ok ok".to_owned()));
    face.ticked.send_replace(Some(now() - TimeDelta::minutes(5)));
    assert_eq!(face.ready().await, (503, "ok stuck".to_owned()));
    face.warehouse.close().await;
    assert_eq!(face.ready().await, (503, "failed stuck".to_owned()));
    assert_eq!(face.get("/health").await.0, 200, "it lives without a database");
    assert_eq!(face.get("/metrics").await.0, 503);
}

#[tokio::test]
async fn a_scrape_tells_of_the_runs_in_the_ledger() {
    let face = Face::start().await;
    sqlx::query(
        "INSERT INTO ops.runs (pipeline, brand, trigger, status, started_at, finished_at, rows_loaded, rows_quarantined)
         VALUES ('sales', 'harbor', 'manual', 'succeeded', $1, $1, 40, 2),
                ('sales', 'harbor', 'manual', 'succeeded', $1, $1, 2, 0),
                ('sales', 'harbor', 'manual', 'failed', $1, $1, 0, 0),
                ('stores', 'harbor', 'manual', 'running', $1, NULL, 0, 0)",
    )
    .bind(now())
    .execute(face.warehouse.pool())
    .await
    .unwrap();
    let (status, text) = face.get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "storekeeper_runs_total{pipeline=\"sales\",brand=\"harbor\",status=\"succeeded\"} 2",
        "storekeeper_runs_total{pipeline=\"sales\",brand=\"harbor\",status=\"failed\"} 1",
        "storekeeper_rows_loaded_total{pipeline=\"sales\",brand=\"harbor\",status=\"succeeded\"} 42",
        "storekeeper_runs_going{pipeline=\"stores\",brand=\"harbor\"} 1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
    }
    let success = format!(
        "storekeeper_last_success_timestamp_seconds{{pipeline=\"sales\",brand=\"harbor\"}} {}",
        now().timestamp()
    );
    assert!(text.contains(&success), "{text}");
}

#[tokio::test]
async fn a_stop_ends_the_server_and_frees_its_port() {
    let face = Face::start().await;
    assert_eq!(face.get("/health").await.0, 200);
    face.stop.send(true).unwrap();
    face.server.await.unwrap().unwrap();
    assert!(TcpListener::bind(face.address).await.is_ok());
}
