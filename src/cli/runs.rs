//! `runs`: what happened.

use clap::Subcommand;
use serde_json::{Value, json};

use super::output::{Output, grouped, table};
use super::{Exit, Failure};
use crate::app::App;
use crate::ids::RunId;
use crate::pipelines::{FileReport, RunReport, list_runs, show_run, word};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lists the latest runs, newest first.
    List {
        /// How many.
        #[arg(long, default_value_t = 30)]
        limit: i64,
    },
    /// Shows one run's whole report: why it started, what became of each file, and whether its load was taken back.
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
            let Some(mut run) = show_run(&warehouse, RunId(*id)).await? else {
                return Err(Failure::usage(
                    format!("there is no run {id}"),
                    Some("`storekeeper runs list` shows them"),
                ));
            };
            let report = serde_json::from_value::<RunReport>(run.clone()).ok();
            let undone_by = run["undone_by"].as_i64();
            if let (Some(report), Some(files)) = (&report, run["files"].as_array_mut()) {
                for (file, json) in report.files.iter().zip(files) {
                    json["state"] = state(report, file, undone_by).into();
                }
            }
            output.answer(&run, || match &report {
                Some(report) => shown(report, undone_by),
                None => serde_json::to_string_pretty(&run).unwrap_or_default(),
            });
        }
    }
    warehouse.close().await;
    Ok(Exit::Done)
}

/// What became of a file that a run read.
fn state(run: &RunReport, file: &FileReport, undone_by: Option<i64>) -> &'static str {
    match (&file.error, undone_by) {
        (Some(_), _) => "refused",
        _ if !run.status.has_loaded() => "not_loaded",
        (None, Some(_)) => "taken_back",
        (None, None) => "loaded",
    }
}

fn shown(run: &RunReport, undone_by: Option<i64>) -> String {
    let (trigger, started) = (word(run.trigger).replace('_', " "), run.started_at.format("%Y-%m-%d %H:%M"));
    let mut text = format!("run {}, trigger {trigger}, started {started} UTC", run.run_id);
    if let Some(by) = undone_by {
        text.push_str(&format!("; its load was taken back by run {by}"));
    }
    text.push_str(&format!("\n\n{}", super::run::text(std::slice::from_ref(run))));
    if !run.files.is_empty() {
        let mut rows = vec![["file", "state", "rows"].map(str::to_owned).to_vec()];
        rows.extend(run.files.iter().map(|file| {
            let state = state(run, file, undone_by).replace('_', " ");
            vec![file.name.clone(), state, grouped(file.rows_read)]
        }));
        text.push_str(&format!("\n{}", table(&rows, &[2])));
    }
    text
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

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::ids::{BrandId, PipelineName};
    use crate::pipelines::{Status, Trigger};

    #[test]
    fn a_run_is_shown_with_its_trigger_its_files_and_what_took_it_back() {
        let (pipeline, brand) = (PipelineName::from("sales"), BrandId::from("harbor"));
        let now = DateTime::UNIX_EPOCH;
        let blank =
            RunReport::not_started(&pipeline, &brand, Trigger::CatchUp, now, "one was refused".to_owned(), None);
        let file = |name: &str, error: Option<&str>| FileReport {
            name: name.to_owned(),
            rows_read: if error.is_none() { 1200 } else { 0 },
            error: error.map(str::to_owned),
            ..FileReport::default()
        };
        let files = vec![file("one.csv", None), file("two.csv", Some("no header"))];
        let run = RunReport { run_id: RunId(17), status: Status::Partial, files, ..blank };
        insta::assert_snapshot!(shown(&run, Some(19)), @r"
        run 17, trigger catch up, started 1970-01-01 00:00 UTC; its load was taken back by run 19

        run  pipeline  brand   status   read  new  changed  same  refused  seconds
         17  sales     harbor  partial     0    0        0     0        0      0.0

        sales (harbor) loaded in part: one was refused
          also refused: `two.csv`: no header

        file     state        rows
        one.csv  taken back  1,200
        two.csv  refused         0
        ");
        assert_eq!(state(&run, &run.files[0], None), "loaded");
        let failed = RunReport { status: Status::Failed, ..run.clone() };
        assert_eq!(state(&failed, &run.files[0], None), "not_loaded");
    }
}
