//! `export`: what goes back to Dataverse.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{Output, grouped, table};
use super::run::{brands, exit_of, text};
use super::{Exit, Failure};
use crate::app::App;
use crate::ids::BrandId;
use crate::pipelines::{Engine, Error, ExportOrder, ExportPlan, Follows, Pipeline, RunReport, Trigger, list_rejects};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Sends rows that are new or changed since they were sent last. A row is found by
    /// its alternate key, so that sending it twice does no harm. Ends with 3 where more
    /// rows were refused than the pipeline allows.
    Run {
        #[command(flatten)]
        chosen: Chosen,
        /// Send every row, also what is as it was sent last: after somebody changed or
        /// deleted rows in Dataverse by hand.
        #[arg(long)]
        full: bool,
    },
    /// Says how many rows would be created, changed and deleted, and sends nothing.
    Plan {
        #[command(flatten)]
        chosen: Chosen,
    },
    /// Lists rows that were refused, each with the reason.
    Rejects {
        /// How many.
        #[arg(long, default_value_t = 50)]
        limit: i64,
    },
}

#[derive(Debug, Args)]
pub(super) struct Chosen {
    /// Pipelines whose [export] is meant. Default: all that have one.
    #[arg(value_name = "PIPELINE")]
    names: Vec<String>,
    /// Only this brand.
    #[arg(long)]
    brand: Option<String>,
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    let warehouse = app.warehouse_to_load().await?;
    let exit = match command {
        Command::Rejects { limit } => {
            let rejects = list_rejects(&warehouse, *limit).await?;
            output.answer(&rejects, || rejects_text(&rejects));
            Exit::Done
        }
        Command::Run { chosen, full } => {
            let engine = app.engine(&warehouse)?;
            let order = ExportOrder { trigger: Trigger::Manual, full: *full };
            let mut runs = Vec::new();
            for (pipeline, brand) in pairs(app, chosen).await? {
                runs.push(engine.export(&pipeline, &brand, order).await?);
            }
            output.answer(&json!({ "runs": runs }), || text(&runs));
            exit_of(&runs)
        }
        Command::Plan { chosen } => {
            let engine = app.engine(&warehouse)?;
            let mut plans = Vec::new();
            for (pipeline, brand) in pairs(app, chosen).await? {
                plans.push(engine.plan_export(&pipeline, &brand).await?);
            }
            output.answer(&json!({ "exports": plans }), || plan_text(&plans));
            Exit::Done
        }
    };
    warehouse.close().await;
    Ok(exit)
}

/// Runs the export of a pipeline, if it has one that follows this step.
pub(super) async fn export_after(
    engine: &Engine,
    pipeline: &Pipeline,
    brand: &BrandId,
    step: Follows,
    trigger: Trigger,
) -> Result<Option<RunReport>, Error> {
    if pipeline.definition.export.as_ref().is_none_or(|export| export.follows != step) {
        return Ok(None);
    }
    engine.export(pipeline, brand, ExportOrder { trigger, full: false }).await.map(Some)
}

async fn pairs(app: &App, chosen: &Chosen) -> Result<Vec<(Pipeline, BrandId)>, Failure> {
    let mut pipelines = app.pipelines().await?;
    pipelines.retain(|pipeline| pipeline.definition.export.is_some());
    let known: Vec<&str> = pipelines.iter().map(|pipeline| pipeline.name.0.as_str()).collect();
    if let Some(name) = chosen.names.iter().find(|name| !known.contains(&name.as_str())) {
        let message = format!("no pipeline `{name}` has an [export]; these have one: {}", known.join(", "));
        return Err(Failure::usage(message, Some("docs/definitions.md says how to write one")));
    }
    pipelines.retain(|pipeline| chosen.names.is_empty() || chosen.names.contains(&pipeline.name.0));
    let brands = brands(app, chosen.brand.as_deref())?;
    let pairs = pipelines.into_iter().flat_map(|pipeline| {
        let served: Vec<BrandId> = brands.iter().filter(|brand| pipeline.serves(brand)).cloned().collect();
        served.into_iter().map(move |brand| (pipeline.clone(), brand))
    });
    Ok(pairs.collect())
}

fn plan_text(plans: &[ExportPlan]) -> String {
    let header = ["pipeline", "brand", "table", "new", "changed", "same", "deleted", "refused"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for plan in plans {
        let counts = [plan.created, plan.changed, plan.unchanged, plan.deleted, plan.refused].map(grouped);
        let names = [plan.pipeline.to_string(), plan.brand.to_string(), plan.entity_set.clone()];
        rows.push(names.into_iter().chain(counts).collect());
    }
    let mut text = table(&rows, &[3, 4, 5, 6, 7]);
    for plan in plans {
        for reason in &plan.reasons {
            text.push_str(&format!("{} ({}): {reason}\n", plan.pipeline, plan.brand));
        }
    }
    text
}

fn rejects_text(rejects: &[Value]) -> String {
    let mut rows = vec![["run", "pipeline", "brand", "table", "row", "code", "reason"].map(str::to_owned).to_vec()];
    for reject in rejects {
        let cell = |name: &str| match &reject[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let names = ["run_id", "pipeline", "brand", "entity_set", "row", "code", "reason"];
        rows.push(names.map(cell).to_vec());
    }
    if rejects.is_empty() { "no row was refused\n".to_owned() } else { table(&rows, &[0, 4]) }
}
