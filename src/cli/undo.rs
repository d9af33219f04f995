//! `undo`: takes a load back.

use clap::Args;
use serde_json::json;

use super::export::export_after;
use super::making::make_stale_again;
use super::output::{Output, grouped, table};
use super::run::{exit_of, follow_up, text};
use super::{Exit, Failure};
use crate::app::App;
use crate::ids::{LoadId, RunId};
use crate::pipelines::{Engine, Follows, Pipeline, RunReport, Trigger, UndoOrder, UndoWhat, Undone};
use crate::warehouse::Because;

const HELP: &str = "\
The table is as if the load had never been: rows it brought leave, rows it replaced or removed
return with the values and the file they had. Its file stays known, so that the next run does not
load it again while its content is the same; `run NAME --full` loads it all the same.

Where later loads spoke of the same rows, the undo is refused and they are listed. `--cascade`
takes them back too; the next run loads them again, if the source still has their files.
Forecasts that were made of the load go with it and are made again. Refused rows of the load
are settled as `undone`.

A table of Dataverse is read as a whole by the next run: mend the rows there first.

  storekeeper runs list
  storekeeper undo 17 --dry-run
  storekeeper undo 17 --why \"the file was of another week\"

Exit codes: 0 done, or taken back before; 1 refused or failed; 2 wrong use;
4 (--dry-run) there is something to take back.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Command {
    /// The run whose load is meant.
    #[arg(value_name = "RUN", required_unless_present = "load")]
    run: Option<i64>,
    /// The load, where its run is not at hand: every row carries its `load_id`.
    #[arg(long, value_name = "ID", conflicts_with = "run")]
    load: Option<i64>,
    /// Take back what was built on it, too.
    #[arg(long)]
    cascade: bool,
    /// Say what would be taken back, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Why; kept with the run.
    #[arg(long)]
    why: Option<String>,
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    let what = match (command.run, command.load) {
        (Some(run), _) => UndoWhat::Run(RunId(run)),
        (None, Some(load)) => UndoWhat::Load(LoadId(load)),
        (None, None) => return Err(Failure::usage("name a run, or a load with --load", None)),
    };
    let pipelines = app.pipelines().await?;
    let warehouse = app.warehouse_to_load().await?;
    let engine = app.engine(&warehouse)?;
    if command.dry_run {
        let plan = engine.plan_undo(what).await?;
        output.answer(&json!({ "what": what.to_string(), "loads": plan.loads }), || plan_text(what, &plan));
        warehouse.close().await;
        return Ok(if plan.loads.is_empty() { Exit::Done } else { Exit::Pending });
    }
    let order = UndoOrder { what, cascade: command.cascade, why: command.why.clone() };
    let undone = engine.undo(&order).await?;
    let notes = still_known(&engine, &pipelines, &undone).await?;
    let mut again = Vec::new();
    let ended = make_again(app, &engine, &pipelines, &undone, &mut again).await;
    let json =
        json!({ "what": what.to_string(), "loads": undone.loads, "run": undone.run, "runs": again, "notes": notes });
    output.answer_until(json, ended.as_ref().err(), || {
        let mut answer = undone_text(what, &undone);
        answer.extend(notes.iter().map(|note| format!("\n{note}\n")));
        if !again.is_empty() {
            answer.push_str("\nmade again, or sent again, because of what left\n");
            answer.push_str(&text(&again));
        }
        answer
    });
    warehouse.close().await;
    let runs: Vec<_> = undone.run.into_iter().chain(again).collect();
    Ok(if ended.is_err() { Exit::Failed } else { exit_of(&runs) })
}

/// Makes and sends again what was made of what left; `again` holds the runs that ended.
async fn make_again(
    app: &App,
    engine: &Engine,
    pipelines: &[Pipeline],
    undone: &Undone,
    again: &mut Vec<RunReport>,
) -> Result<(), Failure> {
    // Also where it was taken back before: that process may have ended here.
    again.extend(make_stale_again(app, engine, pipelines).await?);
    for load in undone.run.iter().filter(|run| run.status.has_loaded()) {
        if let Some(pipeline) = pipelines.iter().find(|pipeline| pipeline.name == load.pipeline) {
            again.extend(export_after(engine, pipeline, &load.brand, Follows::Load, Trigger::Undo).await?);
        }
    }
    follow_up(app, engine.warehouse()).await
}

/// Says which files the next run does not load again.
async fn still_known(engine: &Engine, pipelines: &[Pipeline], undone: &Undone) -> Result<Vec<String>, Failure> {
    let mut notes = Vec::new();
    if !undone.run.as_ref().is_some_and(|run| run.status.has_loaded()) {
        return Ok(notes);
    }
    for load in undone.loads.iter().map(|load| &load.step).filter(|step| step.because == Because::Asked) {
        if let Some(pipeline) = pipelines.iter().find(|pipeline| pipeline.name == load.load.pipeline) {
            notes.extend(engine.still_known(pipeline, &load.load.brand, None).await?);
        }
    }
    Ok(notes)
}

fn plan_text(what: UndoWhat, plan: &Undone) -> String {
    if plan.loads.is_empty() {
        return format!("{what} was taken back before: there is nothing to do\n");
    }
    let mut text = format!("to undo {what}, in this order:\n{}", loads(plan));
    if plan.cascades() {
        text.push_str("\nlater loads build on it: `--cascade` takes them back too\n");
    }
    text
}

fn undone_text(what: UndoWhat, undone: &Undone) -> String {
    let Some(run) = &undone.run else {
        return format!("{what} was taken back before: there is nothing to do\n");
    };
    if let Some(error) = &run.error {
        let hint = run.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        return format!("{what} was not taken back: {error}{hint}\n");
    }
    format!("{what} was taken back by run {}\n{}", run.run_id, loads(undone))
}

fn loads(undone: &Undone) -> String {
    let header = ["load", "run", "pipeline", "brand", "table", "loaded", "left", "returned", "why"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for load in &undone.loads {
        let (step, entry) = (&load.step, &load.step.load);
        let count = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), grouped);
        rows.push(vec![
            entry.load_id.to_string(),
            entry.run_id.to_string(),
            entry.pipeline.to_string(),
            entry.brand.to_string(),
            entry.table.clone(),
            entry.committed_at.format("%Y-%m-%d %H:%M").to_string(),
            count(load.rows.map(|rows| rows.removed)),
            count(load.rows.map(|rows| rows.restored)),
            match step.because {
                Because::Asked => "you asked for it".to_owned(),
                Because::MadeOfIt | Because::BuiltOnIt => step.detail.clone(),
            },
        ]);
    }
    table(&rows, &[0, 1, 6, 7])
}
