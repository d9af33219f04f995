//! `report`: the runs summed up, printed and mailed.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::output::Output;
use super::{Exit, Failure};
use crate::app::App;
use crate::ids::RunId;
use crate::notify::{AuditFacts, ForecastFacts, PlanFacts, Summary, send_summary_through};
use crate::pipelines::reports_since;

#[derive(Debug, Args)]
pub(super) struct Command {
    /// Sum up this run and all later ones.
    #[arg(long, value_name = "ID", default_value_t = 1)]
    since: i64,
    /// Mail it to `mail.to`, and keep it in `mail.keep_dir`.
    #[arg(long)]
    mail: bool,
    /// What `forecast run --format json` printed.
    #[arg(long, value_name = "FILE")]
    forecast: Option<PathBuf>,
    /// What `apply --format json` printed.
    #[arg(long, value_name = "FILE")]
    apply: Option<PathBuf>,
    /// What `audit --format json` printed.
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    let warehouse = app.warehouse_to_load().await?;
    let runs = reports_since(&warehouse, RunId(command.since)).await?;
    let mut summary = Summary::new(runs);
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap_or(0);
    if let Some(facts) = read(command.forecast.as_deref())? {
        let horizon_days = u32::try_from(number(&facts, "horizon_days")).unwrap_or(0);
        summary.forecast =
            Some(ForecastFacts { series: number(&facts, "series"), horizon_days, error: error_of(&facts) });
    }
    if let Some(facts) = read(command.apply.as_deref())? {
        let (applied, remaining) = (number(&facts, "applied"), number(&facts, "remaining"));
        summary.plan = Some(PlanFacts { applied, remaining, error: error_of(&facts) });
    }
    if let Some(facts) = read(command.audit.as_deref())? {
        let leaks = facts["leaks"].as_array().map_or_else(|| number(&facts, "leaks"), |leaks| leaks.len() as u64);
        let (people, checks) = (number(&facts, "people"), number(&facts, "checks"));
        let lacking = facts["failures"].as_array().map_or(0, |failures| failures.len() as u64);
        let error = error_of(&facts);
        summary.audit = Some(AuditFacts { people, checks, leaks, lacking, error, ..AuditFacts::default() });
    }
    let sent = if command.mail {
        Some(send_summary_through(&warehouse, &app.mailer()?, &summary, app.clock.now()).await?)
    } else {
        None
    };
    let json = json!({ "subject": summary.subject(), "headline": summary.headline(), "mail": sent });
    output.answer(&json, || {
        let mail = sent.as_ref().map(|sent| format!("\n{sent}")).unwrap_or_default();
        format!("{}\n{}{mail}", summary.subject(), summary.headline())
    });
    warehouse.close().await;
    Ok(Exit::Done)
}

fn read(file: Option<&Path>) -> Result<Option<Value>, Failure> {
    let Some(file) = file else { return Ok(None) };
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("failed to read `{}`: {error}", file.display()), None))?;
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| Failure::usage(format!("`{}` is not JSON: {error}", file.display()), None))
}

fn error_of(facts: &Value) -> Option<String> {
    facts["error"].as_str().map(str::to_owned)
}
