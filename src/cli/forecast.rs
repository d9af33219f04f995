//! `forecast`: what is to come.

use clap::Subcommand;
use serde_json::json;

use super::export::export_after;
use super::output::Output;
use super::run::{brands, exit_of, follow_up, text};
use super::{Exit, Failure};
use super::{forecast_backtest, forecast_shown};
use crate::app::App;
use crate::pipelines::{Engine, Follows, Pipeline, RunReport, Status, Trigger};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Forecasts each series of each pipeline that has a [forecast] block.
    Run {
        /// Only this brand.
        #[arg(long)]
        brand: Option<String>,
    },
    /// Shows what is to come in a store, as a table or a picture.
    Show(forecast_shown::Show),
    /// Says how level, weekday, season, holidays and promotions make up a day's forecast.
    Explain(forecast_shown::Explain),
    /// Measures forecasts on a panel of any origin: how wrong they would have been.
    Backtest(forecast_backtest::Command),
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    let brand = match command {
        Command::Run { brand } => brand,
        Command::Show(command) => return forecast_shown::show(app, command, output).await,
        Command::Explain(command) => return forecast_shown::explain(app, command, output).await,
        Command::Backtest(command) => return forecast_backtest::run(command, output),
    };
    let pipelines = app.pipelines().await?;
    let brands = brands(app, brand.as_deref())?;
    let warehouse = app.warehouse_to_load().await?;
    let engine = app.engine(&warehouse)?;
    let horizon_days = app.settings.forecast.horizon_days;
    let (mut runs, mut series, mut withheld) = (Vec::new(), 0, Vec::new());
    for pipeline in &pipelines {
        let Some(of) = &pipeline.definition.forecast else { continue };
        for brand in brands.iter().filter(|brand| pipeline.serves(brand)) {
            let forecast = engine.forecast(pipeline, of, brand, horizon_days, Trigger::Manual).await?;
            series += forecast.series;
            withheld.extend(forecast.withheld.iter().map(|reason| format!("{brand}: {reason}")));
            let fine = forecast.report.status.is_fine();
            runs.push(forecast.report);
            if fine {
                runs.extend(export_after(&engine, pipeline, brand, Follows::Forecast, Trigger::Manual).await?);
            }
        }
    }
    if runs.iter().any(|run| run.status == Status::Succeeded) {
        follow_up(app, &warehouse).await?;
    }
    let json = json!({ "runs": runs, "series": series, "horizon_days": horizon_days, "withheld": withheld });
    output.answer(&json, || {
        let mut answer = text(&runs);
        answer.push_str(&format!("\n{series} series forecast, {horizon_days} days ahead\n"));
        for reason in &withheld {
            answer.push_str(&format!("withheld: {reason}\n"));
        }
        answer
    });
    warehouse.close().await;
    Ok(exit_of(&runs))
}

/// Makes again what was made of loads that were taken back, and exports it.
pub(super) async fn make_stale_again(
    app: &App,
    engine: &Engine,
    pipelines: &[Pipeline],
) -> Result<Vec<RunReport>, Failure> {
    let stale = engine.stale().await?;
    let mut runs = Vec::new();
    for pipeline in pipelines {
        let Some(of) = &pipeline.definition.forecast else { continue };
        for (_, brand) in stale.iter().filter(|(name, _)| *name == of.pipeline()) {
            let horizon_days = app.settings.forecast.horizon_days;
            let report = engine.forecast(pipeline, of, brand, horizon_days, Trigger::Undo).await?.report;
            let fine = report.status.is_fine();
            runs.push(report);
            if fine {
                runs.extend(export_after(engine, pipeline, brand, Follows::Forecast, Trigger::Undo).await?);
            }
        }
    }
    Ok(runs)
}
