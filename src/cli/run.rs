//! `run`: load what is new.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use tracing::warn;

use super::export::export_after;
use super::output::{Output, counted, grouped, table};
use super::{Exit, Failure};
use crate::access;
use crate::app::App;
use crate::ids::BrandId;
use crate::pipelines::{Engine, Follows, Order, Pipeline, RunReport, Status, Trigger};
use crate::settings::Wall;
use crate::warehouse::{Warehouse, contents, duties, marts};

/// Refused files that are told of a run.
const REFUSED_SHOWN: usize = 10;

#[derive(Debug, Args)]
pub(super) struct Command {
    /// Pipelines to run: the names of their folders.
    #[arg(required_unless_present = "all", value_name = "NAME")]
    names: Vec<String>,
    /// All pipelines, in the order in which they need each other.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Only this brand.
    #[arg(long)]
    brand: Option<String>,
    /// Load this file instead of the source; with one pipeline and one brand.
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Read everything again, also what was loaded before.
    #[arg(long)]
    full: bool,
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    let pipelines = chosen(app, command).await?;
    let brands = brands(app, command.brand.as_deref())?;
    let pairs: Vec<(&Pipeline, &BrandId)> = pipelines
        .iter()
        .flat_map(|pipeline| brands.iter().filter(|brand| pipeline.serves(brand)).map(move |brand| (pipeline, brand)))
        .collect();
    if command.file.is_some() && pairs.len() != 1 {
        let message = format!("--file goes with one pipeline and one brand, not {}", pairs.len());
        return Err(Failure::usage(message, Some("name one pipeline, and the brand with --brand")));
    }
    let warehouse = app.warehouse_to_load().await?;
    let engine = app.engine(&warehouse)?;
    let trigger = if command.file.is_some() { Trigger::Upload } else { Trigger::Manual };
    let order = Order { trigger, file: command.file.clone(), full: command.full };
    let mut runs = Vec::new();
    let ended = load(app, &engine, &pairs, &order, &mut runs).await;
    output.answer_until(json!({ "runs": runs }), ended.as_ref().err(), || text(&runs));
    warehouse.close().await;
    Ok(if ended.is_err() { Exit::Failed } else { exit_of(&runs) })
}

/// Runs one pair after the other; `runs` holds those that ended, also when this fails.
async fn load(
    app: &App,
    engine: &Engine,
    pairs: &[(&Pipeline, &BrandId)],
    order: &Order,
    runs: &mut Vec<RunReport>,
) -> Result<(), Failure> {
    for (pipeline, brand) in pairs {
        let mut run = engine.run(pipeline, brand, order).await?;
        if run.status == Status::NothingNew {
            run.notes.extend(engine.still_known(pipeline, brand, order.file.as_deref()).await?);
        }
        let stands = run.status.is_fine() || run.status.has_loaded();
        runs.push(run);
        if stands {
            runs.extend(export_after(engine, pipeline, brand, Follows::Load, order.trigger).await?);
        }
    }
    if runs.iter().any(|run| run.status.has_loaded()) {
        follow_up(app, engine.warehouse()).await?;
    }
    Ok(())
}

/// What loads bring along: views over new tables, walls around them, old files' bytes removed.
pub(super) async fn follow_up(app: &App, warehouse: &Warehouse) -> Result<(), Failure> {
    let owns = duties::may_own(warehouse).await.map_err(|error| Failure::new(&error, None))?;
    if !owns {
        // New tables stay shut until then.
        warn!("views and walls are left to the owner: `db migrate` as the owner brings them up to date");
        return Ok(());
    }
    for brand in app.settings.brands.keys() {
        marts::apply(warehouse, brand, &app.definitions).await?;
    }
    let data_dir = &app.settings.installation.data_dir;
    access::reconcile_roles(warehouse, &app.settings.brands, data_dir, wall(app)).await?;
    let pruned = contents::prune(warehouse, app.settings.warehouse.keep_files_days, app.clock.now()).await?;
    if pruned.files > 0 {
        tracing::info!(files = pruned.files, bytes = pruned.bytes, "pruned the bytes of old files");
    }
    Ok(())
}

/// At which level of the tree rows are separated.
pub(super) fn wall(app: &App) -> Wall {
    app.settings.metabase.as_ref().map_or(Wall::Store, |metabase| metabase.wall)
}

async fn chosen(app: &App, command: &Command) -> Result<Vec<Pipeline>, Failure> {
    let pipelines = app.pipelines().await?;
    named(&pipelines, &command.names)?;
    Ok(pipelines.into_iter().filter(|pipeline| command.all || command.names.contains(&pipeline.name.0)).collect())
}

/// Refuses a name that no pipeline has.
pub(super) fn named(pipelines: &[Pipeline], names: &[String]) -> Result<(), Failure> {
    for name in names {
        if !pipelines.iter().any(|pipeline| pipeline.name.0 == *name) {
            let names: Vec<&str> = pipelines.iter().map(|pipeline| pipeline.name.0.as_str()).collect();
            let message = format!("there is no pipeline `{name}`; there are {}", names.join(", "));
            return Err(Failure::usage(message, Some("--definitions names the folder that holds pipelines/")));
        }
    }
    Ok(())
}

pub(super) fn brands(app: &App, only: Option<&str>) -> Result<Vec<BrandId>, Failure> {
    let known = &app.settings.brands;
    if known.is_empty() {
        return Err(Failure::usage("no brand is configured", Some("add a [brands.<id>] block to the settings")));
    }
    let brands: Vec<BrandId> = known.keys().filter(|brand| only.is_none_or(|only| brand.0 == only)).cloned().collect();
    if brands.is_empty() {
        let names: Vec<&str> = known.keys().map(|brand| brand.0.as_str()).collect();
        let message = format!("there is no brand `{}`; there are {}", only.unwrap_or_default(), names.join(", "));
        return Err(Failure::usage(message, None));
    }
    Ok(brands)
}

/// The exit code that a set of runs deserves.
pub(super) fn exit_of(runs: &[RunReport]) -> Exit {
    if runs.iter().any(|run| !run.status.is_fine()) {
        Exit::Failed
    } else if runs.iter().any(|run| run.over_threshold) {
        Exit::OverThreshold
    } else {
        Exit::Done
    }
}

/// The reasons of refused files that the run's own error does not give, as lines: it gives one.
fn also_refused(run: &RunReport) -> String {
    let (said, mut given) = (run.error.as_deref().unwrap_or_default(), false);
    let reasons: Vec<String> = run
        .files
        .iter()
        .filter_map(|file| file.error.as_ref().map(|error| (file, error)))
        .filter(|(_, error)| {
            let this_one = !given && said.contains(error.as_str());
            given |= this_one;
            !this_one
        })
        .map(|(file, error)| match error.contains(&file.name) {
            true => error.clone(),
            false => format!("`{}`: {error}", file.name),
        })
        .collect();
    // With the one that the error gives.
    let shown = REFUSED_SHOWN - 1;
    let mut text: String = reasons.iter().take(shown).map(|reason| format!("  also refused: {reason}\n")).collect();
    if reasons.len() > shown {
        text.push_str(&format!("  and {} more\n", reasons.len() - shown));
    }
    text
}

/// Runs for people: a line each, then what needs a look.
pub(super) fn text(runs: &[RunReport]) -> String {
    let header = ["run", "pipeline", "brand", "status", "read", "new", "changed", "same", "refused", "seconds"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for run in runs {
        let status = serde_json::to_value(run.status).ok().and_then(|word| word.as_str().map(str::to_owned));
        rows.push(vec![
            run.run_id.to_string(),
            run.pipeline.to_string(),
            run.brand.to_string(),
            status.unwrap_or_default().replace('_', " "),
            grouped(run.rows_read),
            grouped(run.rows_inserted),
            grouped(run.rows_updated),
            grouped(run.rows_unchanged),
            grouped(run.rows_quarantined),
            format!("{:.1}", run.duration_ms as f64 / 1000.0),
        ]);
    }
    let mut text = table(&rows, &[0, 4, 5, 6, 7, 8, 9]);
    for run in runs {
        let name = format!("{} ({})", run.pipeline, run.brand);
        if let Some(error) = &run.error {
            let verb = if run.status == Status::Partial { "loaded in part" } else { "failed" };
            text.push_str(&format!("\n{name} {verb}: {error}\n"));
            text.push_str(&also_refused(run));
            if let Some(hint) = &run.hint {
                text.push_str(&format!("  hint: {hint}\n"));
            }
        }
        if run.rows_quarantined > 0 {
            let over = if run.over_threshold { ", more than the pipeline allows" } else { "" };
            let rows = counted(run.rows_quarantined, "row", "rows");
            text.push_str(&format!("\n{name}: {rows} quarantined{over}\n"));
            for row in &run.quarantine {
                text.push_str(&format!(
                    "  {} row {}{}{}: {}\n",
                    row.file,
                    row.row,
                    if row.column.is_empty() { "" } else { " " },
                    row.column,
                    row.reason
                ));
            }
        }
        for note in &run.notes {
            text.push_str(&format!("\n{name}: {note}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::PipelineName;
    use crate::pipelines::FileReport;

    #[test]
    fn the_exit_code_says_the_worst() {
        let brand = BrandId::from("harbor");
        let now = chrono::DateTime::UNIX_EPOCH;
        let failed =
            RunReport::not_started(&PipelineName::from("sales"), &brand, Trigger::Manual, now, "x".to_owned(), None);
        let fine = RunReport { status: Status::Succeeded, ..failed.clone() };
        let refused = RunReport { over_threshold: true, ..fine.clone() };
        assert_eq!(exit_of(&[]), Exit::Done);
        assert_eq!(exit_of(&[fine.clone(), fine.clone()]), Exit::Done);
        assert_eq!(exit_of(&[fine.clone(), refused.clone()]), Exit::OverThreshold);
        assert_eq!(exit_of(&[refused, failed, fine]), Exit::Failed);
    }

    #[test]
    fn every_refused_file_is_named_with_its_reason_ten_at_most() {
        let (pipeline, brand) = (PipelineName::from("sales"), BrandId::from("harbor"));
        let refused = |at: usize| FileReport {
            name: format!("{at}.csv"),
            error: Some(if at == 2 { "no rows".to_owned() } else { format!("failed to read `{at}.csv`: no header") }),
            ..FileReport::default()
        };
        let error = "2 of 3 files were refused: failed to read `1.csv`: no header".to_owned();
        let now = chrono::DateTime::UNIX_EPOCH;
        let run = RunReport::not_started(&pipeline, &brand, Trigger::Manual, now, error, None);
        let two = RunReport { files: vec![FileReport::default(), refused(1), refused(2)], ..run.clone() };
        assert_eq!(also_refused(&two), "  also refused: `2.csv`: no rows\n");
        let many = RunReport { files: (1..=12).map(refused).collect(), ..run };
        let said = also_refused(&many);
        assert_eq!(said.lines().count(), 10, "{said}");
        assert!(said.ends_with("`10.csv`: no header\n  and 2 more\n"), "{said}");
    }
}
