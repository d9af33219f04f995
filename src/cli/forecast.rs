//! `forecast`: what is to come.

use clap::Subcommand;
use serde_json::json;

use super::making::{MadeSoFar, Making};
use super::output::{Output, counted};
use super::run::{brands, exit_of, follow_up, text};
use super::{Exit, Failure};
use super::{forecast_backtest, forecast_hours, forecast_shown};
use crate::app::App;
use crate::pipelines::{Status, Trigger};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Forecasts each series that a pipeline names in [forecast], then makes the hours of work that
    /// a [staffing] asks for.
    Run {
        /// Only this brand.
        #[arg(long)]
        brand: Option<String>,
    },
    /// Shows what is to come in a store, as a table or a picture.
    Show(forecast_shown::Show),
    /// Says how level, weekday, season, holidays and promotions make up a day's forecast.
    Explain(forecast_shown::Explain),
    /// Shows the hours of work that a store's expected demand asks for.
    Hours(forecast_hours::Hours),
    /// Measures forecasts on a panel of any origin: how wrong they would have been.
    Backtest(forecast_backtest::Command),
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    let brand = match command {
        Command::Run { brand } => brand,
        Command::Show(command) => return forecast_shown::show(app, command, output).await,
        Command::Explain(command) => return forecast_shown::explain(app, command, output).await,
        Command::Hours(command) => return forecast_hours::hours(app, command, output).await,
        Command::Backtest(command) => return forecast_backtest::run(command, output),
    };
    let pipelines = app.pipelines().await?;
    let brands = brands(app, brand.as_deref())?;
    let warehouse = app.warehouse_to_load().await?;
    let engine = app.engine(&warehouse)?;
    let making = Making { app, engine: &engine, pipelines: &pipelines, trigger: Trigger::Manual };
    let mut made = MadeSoFar::default();
    for brand in &brands {
        for pipeline in pipelines.iter().filter(|pipeline| pipeline.serves(brand)) {
            making.forecasts(pipeline, brand, &mut made, |_| true).await?;
        }
        making.hours(brand, &mut made, |_, _| true).await?;
    }
    let MadeSoFar { runs, series, staffed, withheld } = made;
    let horizon_days = app.settings.forecast.horizon_days;
    if runs.iter().any(|run| run.status == Status::Succeeded) {
        follow_up(app, &warehouse).await?;
    }
    let json = json!({ "runs": runs, "series": series, "staffed": staffed, "horizon_days": horizon_days, "withheld": withheld });
    output.answer(&json, || {
        let mut answer = text(&runs);
        answer.push_str(&format!("\n{series} series forecast, {} ahead\n", counted(horizon_days, "day", "days")));
        if staffed > 0 {
            answer.push_str(&format!("hours of work for {}\n", counted(staffed, "store", "stores")));
        }
        for reason in &withheld {
            answer.push_str(&format!("withheld: {reason}\n"));
        }
        answer
    });
    warehouse.close().await;
    Ok(exit_of(&runs))
}
