//! `plan`, `apply`: Metabase as desired state. Each apply ends with a proof.

use std::io::{IsTerminal as _, Write as _};

use clap::Args;
use serde_json::json;

use super::audit::after_apply;
use super::output::{Output, counted};
use super::run::follow_up;
use super::{Exit, Failure};
use crate::access::Scope;
use crate::app::App;
use crate::http::Client;
use crate::metabase::{self, Context, Plan, Selection, Titles};
use crate::pipelines::Pipeline;
use crate::settings;
use crate::warehouse::Warehouse;

/// `plan`
#[derive(Debug, Args)]
pub(super) struct PlanCommand {
    /// End with 4 when anything would change, 0 when not.
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    selection: Selected,
    /// Write what was edited in the browser into our files, in place of putting it back:
    /// questions and dashboards of ours that somebody changed in Metabase.
    #[arg(long)]
    adopt: bool,
}

/// The part of a plan that is wanted.
#[derive(Debug, Args)]
struct Selected {
    /// Only what concerns this scope and those below it, e.g. brand:harbor.
    #[arg(long)]
    scope: Option<Scope>,
    /// Only people, access (the lock-down, connections, groups, rights), or content
    /// (collections, questions, dashboards). Steps that need others wait, and a note counts them.
    #[arg(long, value_name = "PART", value_parser = ["people", "access", "content"])]
    only: Option<String>,
}

impl Selected {
    fn selection(&self) -> Selection {
        // The parser knows no other words.
        Selection { scope: self.scope.clone(), only: self.only.as_deref().and_then(|part| part.parse().ok()) }
    }
}

/// `apply`
#[derive(Debug, Args)]
pub(super) struct ApplyCommand {
    /// Don't ask.
    #[arg(long)]
    yes: bool,
    /// Don't audit afterwards: for whoever calls `audit` next anyway.
    #[arg(long)]
    no_audit: bool,
    /// Take over a Metabase that was in use before: without it, only an instance is changed
    /// that storekeeper set up, or that was taken over once.
    #[arg(long)]
    own: bool,
    #[command(flatten)]
    selection: Selected,
}

/// What the three commands work with.
pub(super) struct Opened<'a> {
    pub(super) app: &'a App,
    settings: &'a settings::Metabase,
    pub(super) warehouse: Warehouse,
    http: Client,
}

impl<'a> Opened<'a> {
    pub(super) async fn new(app: &'a App) -> Result<Self, Failure> {
        let settings = settings_of(app)?;
        let warehouse = app.warehouse().await?;
        // Questions stand on views, connections on roles: both follow the tree first.
        follow_up(app, &warehouse).await?;
        Ok(Self { app, settings, warehouse, http: app.client()? })
    }

    /// Works on a warehouse that is open, with the tree as it is.
    pub(super) fn over(app: &'a App, warehouse: Warehouse) -> Result<Self, Failure> {
        Ok(Self { app, settings: settings_of(app)?, warehouse, http: app.client()? })
    }

    pub(super) fn context(&self) -> Context<'_> {
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

    pub(super) async fn close(self) {
        self.warehouse.close().await;
    }
}

fn settings_of(app: &App) -> Result<&settings::Metabase, Failure> {
    let hint = "add a [metabase] block to the settings";
    app.settings.metabase.as_ref().ok_or_else(|| Failure::usage("no Metabase is configured", Some(hint)))
}

/// What people call the pipelines.
pub(super) fn titles(pipelines: &[Pipeline]) -> Titles {
    pipelines.iter().map(|pipeline| (pipeline.name.clone(), pipeline.definition.title.clone())).collect()
}

pub(super) async fn plan(app: &App, command: &PlanCommand, output: &Output) -> Result<Exit, Failure> {
    let opened = Opened::new(app).await?;
    if command.adopt {
        let adopted = metabase::adopt(&opened.context(), &app.definitions).await?;
        output.answer(&adopted, || adopted.to_string());
        opened.warehouse.close().await;
        return Ok(if adopted.refused.is_empty() { Exit::Done } else { Exit::Failed });
    }
    let plan = metabase::plan_part(&opened.context(), &command.selection.selection()).await?;
    output.answer(&plan.steps, || plan.to_string());
    opened.warehouse.close().await;
    Ok(if command.exit_code && !plan.is_empty() { Exit::Pending } else { Exit::Done })
}

pub(super) async fn apply(app: &App, command: &ApplyCommand, output: &Output) -> Result<Exit, Failure> {
    let opened = Opened::new(app).await?;
    let selection = command.selection.selection();
    let plan = metabase::plan_part(&opened.context(), &selection).await?;
    if !command.yes && !plan.is_empty() && !agreed(&plan)? {
        return Err(Failure::usage("nothing was applied", None));
    }
    if command.own {
        metabase::own(&opened.context()).await?;
    }
    let applied = metabase::apply(&opened.context(), &plan).await?;
    let remaining = metabase::plan_part(&opened.context(), &selection).await?;
    let proven = if command.no_audit { None } else { Some(after_apply(&opened).await) };
    let json = json!({
        "applied": applied.steps_done,
        "remaining": remaining.steps.len(),
        "seconds": applied.seconds,
        "audit": proven.as_ref().map(|proven| match proven {
            Ok(proven) => proven.json(),
            Err(failure) => json!({"error": failure.message, "hint": failure.hint}),
        }),
    });
    output.answer(&json, || {
        let left =
            if remaining.is_empty() { "nothing is left to do".to_owned() } else { format!("left to do:\n{remaining}") };
        let proven = match &proven {
            None => String::new(),
            Some(Ok(proven)) => format!("\n{}", proven.text()),
            Some(Err(Failure { message, hint, .. })) => {
                format!("\nUNPROVEN  {message}\n  hint: {}", hint.as_deref().unwrap_or_default())
            }
        };
        format!("{applied}\n{left}{proven}")
    });
    opened.close().await;
    // A leak outweighs what is left to do, and so does an audit that could not be made.
    Ok(match proven {
        Some(Err(_)) => Exit::Unproven,
        Some(Ok(proven)) if proven.exit() != Exit::Done => proven.exit(),
        _ if remaining.is_empty() => Exit::Done,
        _ => Exit::Pending,
    })
}

/// Shows the plan and asks, where somebody is there to answer.
pub(super) fn agreed(plan: &Plan) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody is there to agree", Some("look at `storekeeper plan`, then give --yes")));
    }
    let mut out = std::io::stderr();
    let asked =
        write!(out, "{plan}\nApply {}? Only `yes` is yes: ", counted(plan.steps.len(), "this step", "these steps"))
            .and_then(|()| out.flush());
    let mut answer = String::new();
    asked.and_then(|()| std::io::stdin().read_line(&mut answer)).map_err(|error| Failure::new(&error, None))?;
    Ok(answer.trim() == "yes")
}
