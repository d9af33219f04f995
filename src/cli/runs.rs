//! `runs`: what happened.

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{Output, table};
use super::{Exit, Failure};
use crate::app::App;
use crate::ids::RunId;
use crate::pipelines::{RunReport, list_runs, show_run};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lists the latest runs, newest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 30)]
        limit: i64,
    },
    /// Shows one run's whole report.
    Show {
        /// The run's number, as `runs list` gives it.
        id: i64,
    },
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    let warehouse = app.warehouse_to_load().await?;
    match command {
        Command::List { limit } => {
            let runs = list_runs(&warehouse, *limit).await?;
            let keys = [
                "run_id",
                "pipeline",
                "brand",
                "trigger",
                "status",
                "started_at",
                "rows_loaded",
                "rows_quarantined",
                "undone_by",
                "error",
            ];
            output.answer(&json!({ "runs": runs }), || columns(&runs, &keys, &[0, 6, 7, 8]));
        }
        Command::Show { id } => {
            let Some(run) = show_run(&warehouse, RunId(*id)).await? else {
                return Err(Failure::usage(
                    format!("there is no run {id}"),
                    Some("`storekeeper runs list` shows them"),
                ));
            };
            output.answer(&run, || match serde_json::from_value::<RunReport>(run.clone()) {
                Ok(report) => super::run::text(&[report]),
                Err(_) => serde_json::to_string_pretty(&run).unwrap_or_default(),
            });
        }
    }
    warehouse.close().await;
    Ok(Exit::Done)
}

/// Objects as a table of the members that are named.
pub(super) fn columns(objects: &[Value], keys: &[&str], right: &[usize]) -> String {
    if objects.is_empty() {
        return "nothing".to_owned();
    }
    let mut rows = vec![keys.iter().map(|key| (*key).replace('_', " ")).collect::<Vec<_>>()];
    rows.extend(objects.iter().map(|object| {
        let cell = |key: &&str| match &object[*key] {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        keys.iter().map(cell).collect()
    }));
    table(&rows, right)
}
