//! `metabase …`: what concerns dashboards and the instance beside `plan`, `apply` and `audit`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::metabase::{Opened, titles};
use super::output::Output;
use super::{Exit, Failure};
use crate::access::Scope;
use crate::app::App;
use crate::metabase::{self, Exported};
use crate::notify::{Delivery, Invitation};

/// `metabase`
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Draws dashboards as static pages from the warehouse, without Metabase.
    ///
    /// One page for each dashboard and scope, from the same queries and display settings that
    /// Metabase gets, read as the scope's own database role. Ends with 1 when a question cannot
    /// be asked or drawn.
    ///
    /// storekeeper metabase preview --scope store:harbor/000101 --dashboard store_morning
    Preview(Preview),
    /// Writes a question or dashboard that was made in the browser as files of ours.
    ///
    /// The scope's literal becomes in_scope() again, so that the file serves every scope of its
    /// level. A question of the query builder must be converted to SQL in Metabase first.
    Export(Export),
    /// Mails everybody who has an account and was not invited yet a link to set a password.
    ///
    /// From v0.60 on the link comes from Metabase and the mail from us, by [mail]; Metabase
    /// itself mails nobody. Before, Metabase mails a link of its own: see docs/metabase.md.
    Invite(Invite),
    /// Puts each load that changed something as an event onto the charts of its brand's collection,
    /// and the days whose figures it told anew as another.
    ///
    /// Idempotent: what is there already is left alone. `serve` does it after each run.
    Events,
    /// Makes a new API key in place of the kept one, and removes the older ones.
    RotateKey,
    /// Takes everything of ours out of Metabase, and nothing else; says what, unless confirmed.
    ///
    /// Accounts that storekeeper made are shut, groups and connections removed, collections,
    /// questions and dashboards put into the trash, and our API keys deleted.
    Destroy(Destroy),
}

/// `metabase export`
#[derive(Debug, Args)]
pub(super) struct Export {
    /// What it is.
    #[arg(value_parser = ["question", "dashboard"])]
    kind: String,
    /// Its number in Metabase, as in the address of its page.
    id: i64,
    /// Name of the file to write, without its end.
    #[arg(long)]
    name: String,
    /// Write it below metabase/ of the definitions; otherwise it is printed.
    #[arg(long)]
    write: bool,
}

/// `metabase invite`
#[derive(Debug, Args)]
pub(super) struct Invite {
    /// Only this person, also where she was invited before.
    #[arg(long, value_name = "ADDRESS")]
    person: Option<String>,
}

/// `metabase destroy`
#[derive(Debug, Args)]
pub(super) struct Destroy {
    /// Do it: the address of the instance, as `metabase.url` says it.
    #[arg(long, value_name = "URL")]
    confirm: Option<String>,
}

/// `metabase preview`
#[derive(Debug, Args)]
pub(super) struct Preview {
    /// Folder for the pages; made where it is missing, readable by you alone.
    #[arg(long, value_name = "DIR", default_value = "var/preview")]
    out: PathBuf,
    /// Draw this scope only, e.g. region:harbor/North.
    #[arg(long)]
    scope: Option<Scope>,
    /// Draw this dashboard only: the name of its file without `.toml`.
    #[arg(long, value_name = "NAME")]
    dashboard: Option<String>,
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    match command {
        Command::Preview(command) => preview(app, command, output).await,
        Command::Export(command) => export(app, command, output).await,
        Command::Invite(command) => invite(app, command, output).await,
        Command::Events => {
            let titles = titles(&app.pipelines().await?);
            let opened = Opened::over(app, app.warehouse().await?)?;
            let made = metabase::events(&opened.context(), &titles).await?;
            output.answer(&made, || made.to_string());
            opened.close().await;
            Ok(Exit::Done)
        }
        Command::RotateKey => rotate_key(app, output).await,
        Command::Destroy(command) => destroy(app, command, output).await,
    }
}

async fn preview(app: &App, command: &Preview, output: &Output) -> Result<Exit, Failure> {
    let opened = Opened::new(app).await?;
    let drawn =
        metabase::preview(&opened.context(), &command.out, command.scope.as_ref(), command.dashboard.as_deref())
            .await?;
    output.answer(&drawn, || drawn.to_string());
    let exit = if drawn.failed() { Exit::Failed } else { Exit::Done };
    opened.close().await;
    Ok(exit)
}

async fn export(app: &App, command: &Export, output: &Output) -> Result<Exit, Failure> {
    let opened = Opened::new(app).await?;
    let kind = if command.kind == "dashboard" { Exported::Dashboard } else { Exported::Question };
    let files = metabase::export(&opened.context(), kind, command.id, &command.name).await?;
    if command.write {
        files.write(&app.definitions)?;
    }
    output.answer(&files, || if command.write { files.names() } else { files.to_string() });
    opened.close().await;
    Ok(Exit::Done)
}

async fn rotate_key(app: &App, output: &Output) -> Result<Exit, Failure> {
    let opened = Opened::new(app).await?;
    metabase::rotate_key(&opened.context()).await?;
    output.answer(&json!({"rotated": true}), || "a new API key is kept, the older ones are gone".to_owned());
    opened.close().await;
    Ok(Exit::Done)
}

async fn destroy(app: &App, command: &Destroy, output: &Output) -> Result<Exit, Failure> {
    let opened = Opened::new(app).await?;
    let context = opened.context();
    let plan = metabase::destruction(&context).await?;
    let url = context.settings.url.trim_end_matches('/');
    let Some(confirmed) = &command.confirm else {
        output.answer(&plan.steps, || format!("{plan}\nnothing was changed: `--confirm {url}` does it"));
        opened.close().await;
        return Ok(Exit::Pending);
    };
    if confirmed.trim_end_matches('/') != url {
        return Err(Failure::usage(
            format!("`{confirmed}` is not the Metabase of the settings, `{url}`"),
            Some("give the address of the instance that everything of ours is to be taken out of"),
        ));
    }
    let done = metabase::destroy(&context, &plan).await?;
    output.answer(&json!({"removed": done.steps_done, "seconds": done.seconds}), || {
        format!("{done}; nothing of ours is left")
    });
    opened.close().await;
    Ok(Exit::Done)
}

/// One mail a person: the link is asked for right before it leaves.
async fn invite(app: &App, command: &Invite, output: &Output) -> Result<Exit, Failure> {
    let opened = Opened::new(app).await?;
    let mailer = app.mailer()?;
    let context = opened.context();
    let (mut sent, mut failed) = (0_usize, 0_usize);
    for person in metabase::to_invite(&context, command.person.as_deref()).await? {
        let outcome = match metabase::invitation(&context, &person).await? {
            // Metabase sends its own.
            None => Delivery::Sent,
            Some(link) => {
                let invitation = Invitation {
                    address: &person.email,
                    name: &person.name,
                    site_name: &context.settings.site_name,
                    link: &link,
                };
                invitation.send(&mailer, context.now).await?
            }
        };
        match outcome {
            Delivery::Sent => sent += 1,
            Delivery::Failed { reason } => {
                failed += 1;
                metabase::uninvite(&context, &person).await?;
                tracing::warn!(person = person.key, reason, "failed to send an invitation");
            }
        }
    }
    output.answer(&json!({"invited": sent, "failed": failed}), || format!("{sent} invited, {failed} failed"));
    opened.close().await;
    Ok(if failed == 0 { Exit::Done } else { Exit::Failed })
}
