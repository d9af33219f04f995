//! `db maintain`, and what the daemon does for the tables once a day.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::watch;
use tracing::error;

use super::output::{Output, grouped, table};
use super::{Exit, Failure};
use crate::app::App;
use crate::pipelines::Pipeline;
use crate::telemetry::chain;
use crate::warehouse::{self, Maintained, Warehouse};

const EVERY: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Keeps every table in order, and says what was done.
pub(super) async fn maintain(app: &App, output: &Output) -> Result<Exit, Failure> {
    let tables = app.kept(&app.pipelines().await?);
    let warehouse = app.warehouse_to_load().await?;
    let done = warehouse::maintain(&warehouse, &tables, &app.settings.warehouse, app.clock.now()).await;
    output.answer(&json!({ "maintained": done }), || text(&done));
    warehouse.close().await;
    Ok(if done.iter().any(|one| one.error.is_some()) { Exit::Failed } else { Exit::Done })
}

/// Keeps the tables in order and archives what is due, at once and then once a day. What
/// fails is in the log, and tried again the next day.
pub(super) async fn daily(
    app: Arc<App>,
    pipelines: Arc<Vec<Pipeline>>,
    warehouse: Warehouse,
    mut stopping: watch::Receiver<bool>,
) {
    let tables = app.kept(&pipelines);
    let settings = &app.settings.warehouse;
    loop {
        warehouse::maintain(&warehouse, &tables, settings, app.clock.now()).await;
        match warehouse::due(&warehouse, &tables, app.clock.now()).await {
            Ok(due) => {
                warehouse::archive(&warehouse, &settings.archive_dir, due, app.clock.now()).await;
            }
            Err(failure) => error!(error = %chain(&failure), "months that are due could not be listed"),
        }
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn text(done: &[Maintained]) -> String {
    if done.is_empty() {
        return "no table was made yet\n".to_owned();
    }
    let header = ["table", "partitions made", "indexes made", "versions pruned", "error"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for one in done {
        rows.push(vec![
            one.table.clone(),
            one.partitions_made.join(" "),
            one.indexes_made.iter().map(|columns| format!("({columns})")).collect::<Vec<_>>().join(" "),
            grouped(one.versions_pruned),
            one.error.clone().unwrap_or_default(),
        ]);
    }
    table(&rows, &[3])
}
