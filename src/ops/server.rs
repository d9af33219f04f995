//! The routes, and starting and stopping them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{metrics, tables};
use crate::backup::What;
use crate::clock::Clock;
use crate::telemetry::chain;
use crate::warehouse::Warehouse;

/// The scheduler ticks every ten seconds; a minute without one is a fault.
const TICK_LIMIT: TimeDelta = TimeDelta::minutes(1);
/// How long an open request may hold up the end.
const STOP_LIMIT: Duration = Duration::from_secs(10);
/// How long a health question may take: who asks it gives up soon.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// Why the HTTP face ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed.
    #[error("failed to serve HTTP")]
    Serve(#[source] std::io::Error),
}

/// What the answers are made from.
#[derive(Debug, Clone)]
pub struct State {
    /// The database.
    pub warehouse: Warehouse,
    /// Tells how old the last tick is.
    pub clock: Clock,
    /// When the scheduler last ticked; none where it is switched off.
    pub ticked: Option<watch::Receiver<Option<DateTime<Utc>>>>,
    /// When the newest complete backups were begun, as far as the target was looked at.
    pub backups: watch::Receiver<BTreeMap<What, DateTime<Utc>>>,
}

impl State {
    fn last_tick(&self) -> Option<DateTime<Utc>> {
        self.ticked.as_ref().and_then(|ticked| *ticked.borrow())
    }
}

/// Answers until `shutdown` says true, then lets open requests end.
///
/// # Errors
/// When the socket fails.
pub async fn serve(listener: TcpListener, state: State, shutdown: watch::Receiver<bool>) -> Result<(), Error> {
    let stop = |mut shutdown: watch::Receiver<bool>| async move {
        // A sender that is gone means the same as one that says stop.
        let _either = shutdown.wait_for(|stop| *stop).await.map(drop);
    };
    if let Ok(address) = listener.local_addr() {
        info!(%address, "serving HTTP");
    }
    let server = axum::serve(listener, routes(state)).with_graceful_shutdown(stop(shutdown.clone()));
    let overdue = async {
        stop(shutdown).await;
        tokio::time::sleep(STOP_LIMIT).await;
    };
    tokio::select! {
        ended = async { server.await } => ended.map_err(Error::Serve),
        () = overdue => {
            warn!("requests were cut off");
            Ok(())
        }
    }
}

fn routes(state: State) -> Router {
    Router::new()
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .route("/health/ready", get(ready))
        .route("/metrics", get(scrape))
        .with_state(state)
}

async fn ready(Extract(state): Extract<State>) -> Response {
    let database = match tokio::time::timeout(ANSWER_LIMIT, tables::answers(state.warehouse.pool())).await {
        Ok(Ok(())) => "ok",
        Ok(Err(error)) => {
            warn!(error = %chain(&error), "database did not answer");
            "failed"
        }
        Err(_) => "silent",
    };
    let last_tick = state.last_tick();
    let scheduler = scheduler_word(state.ticked.is_some(), last_tick, state.clock.now());
    let ready = database == "ok" && matches!(scheduler, "ok" | "off");
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "status": if ready { "ready" } else { "not ready" },
        "database": database,
        "scheduler": scheduler,
        "last_tick_at": last_tick,
    });
    (status, Json(body)).into_response()
}

fn scheduler_word(enabled: bool, last_tick: Option<DateTime<Utc>>, now: DateTime<Utc>) -> &'static str {
    match last_tick {
        _ if !enabled => "off",
        None => "starting",
        Some(at) if now - at <= TICK_LIMIT => "ok",
        Some(_) => "stuck",
    }
}

async fn scrape(Extract(state): Extract<State>) -> Response {
    let pool = state.warehouse.pool();
    let figures = async {
        let runs = tables::run_figures(pool).await?;
        let mails = tables::mail_figures(pool).await?;
        Ok::<_, sqlx::Error>(metrics::text(&runs, &mails, state.last_tick(), &state.backups.borrow()))
    };
    match figures.await {
        Ok(text) => {
            let content_type = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
            (content_type, text).into_response()
        }
        Err(error) => {
            warn!(error = %chain(&error), "metrics were not read");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_that_stopped_ticking_is_stuck() {
        let now: DateTime<Utc> = "2026-03-02T06:00:00Z".parse().unwrap();
        assert_eq!(scheduler_word(false, None, now), "off");
        assert_eq!(scheduler_word(true, None, now), "starting");
        assert_eq!(scheduler_word(true, Some(now - TimeDelta::seconds(30)), now), "ok");
        assert_eq!(scheduler_word(true, Some(now - TimeDelta::seconds(61)), now), "stuck");
    }
}
