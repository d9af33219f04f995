//! `plan`, `apply`, `audit`: Metabase as desired state, and the proof.

use std::io::{IsTerminal as _, Write as _};

use clap::Args;
use serde_json::json;

use super::output::Output;
use super::run::follow_up;
use super::{Exit, Failure};
use crate::app::App;
use crate::http::Client;
use crate::metabase::{self, Context, Plan};
use crate::settings;
use crate::warehouse::Warehouse;

/// `plan`
#[derive(Debug, Args)]
pub(super) struct PlanCommand {
    /// End with 4 when anything would change, 0 when not.
    #[arg(long)]
    exit_code: bool,
}

/// `apply`
#[derive(Debug, Args)]
pub(super) struct ApplyCommand {
    /// Don't ask.
    #[arg(long)]
    yes: bool,
}

/// `audit`
#[derive(Debug, Args)]
pub(super) struct AuditCommand {}

/// What the three commands work with.
struct Opened<'a> {
    app: &'a App,
    settings: &'a settings::Metabase,
    warehouse: Warehouse,
    http: Client,
}

impl<'a> Opened<'a> {
    async fn new(app: &'a App) -> Result<Self, Failure> {
        let Some(settings) = &app.settings.metabase else {
            return Err(Failure::usage("no Metabase is configured", Some("add a [metabase] block to the settings")));
        };
        let warehouse = app.warehouse().await?;
        // Questions stand on views, connections on roles: both follow the tree first.
        follow_up(app, &warehouse).await?;
        Ok(Self { app, settings, warehouse, http: app.client()? })
    }

    fn context(&self) -> Context<'_> {
        Context {
            settings: self.settings,
            installation: &self.app.settings.installation,
            brands: &self.app.settings.brands,
            http: &self.http,
            warehouse: &self.warehouse,
            definitions: &self.app.definitions,
            now: self.app.clock.now(),
        }
    }
}

pub(super) async fn plan(app: &App, command: &PlanCommand, output: &Output) -> Result<Exit, Failure> {
    let opened = Opened::new(app).await?;
    let plan = metabase::plan(&opened.context()).await?;
    output.answer(&plan.steps, || plan.to_string());
    opened.warehouse.close().await;
    Ok(if command.exit_code && !plan.is_empty() { Exit::Pending } else { Exit::Done })
}

pub(super) async fn apply(app: &App, command: &ApplyCommand, output: &Output) -> Result<Exit, Failure> {
    let opened = Opened::new(app).await?;
    let plan = metabase::plan(&opened.context()).await?;
    if !command.yes && !plan.is_empty() && !agreed(&plan)? {
        return Err(Failure::usage("nothing was applied", None));
    }
    let applied = metabase::apply(&opened.context(), &plan).await?;
    let remaining = metabase::plan(&opened.context()).await?;
    let json = json!({
        "applied": applied.steps_done,
        "remaining": remaining.steps.len(),
        "seconds": applied.seconds,
    });
    output.answer(&json, || {
        let left =
            if remaining.is_empty() { "nothing is left to do".to_owned() } else { format!("left to do:\n{remaining}") };
        format!("{applied}\n{left}")
    });
    opened.warehouse.close().await;
    Ok(if remaining.is_empty() { Exit::Done } else { Exit::Pending })
}

/// Shows the plan and asks, where somebody is there to answer.
fn agreed(plan: &Plan) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody is there to agree", Some("look at `storekeeper plan`, then give --yes")));
    }
    let mut out = std::io::stderr();
    let asked =
        write!(out, "{plan}\nApply these {} steps? Only `yes` is yes: ", plan.steps.len()).and_then(|()| out.flush());
    let mut answer = String::new();
    asked.and_then(|()| std::io::stdin().read_line(&mut answer)).map_err(|error| Failure::new(&error, None))?;
    Ok(answer.trim() == "yes")
}

pub(super) async fn audit(app: &App, _command: &AuditCommand, output: &Output) -> Result<Exit, Failure> {
    let opened = Opened::new(app).await?;
    let audit = metabase::audit(&opened.context()).await?;
    output.answer(&audit, || audit.to_string());
    opened.warehouse.close().await;
    Ok(if audit.leaks.is_empty() && audit.failures.is_empty() { Exit::Done } else { Exit::Failed })
}
