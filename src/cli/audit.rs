//! `audit`: the proof of isolation, its certificate, and who is told.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tracing::warn;

use super::metabase::Opened;
use super::output::Output;
use super::{Exit, Failure};
use crate::access::Credentials;
use crate::app::App;
use crate::metabase::{self, Audit, Certificate, Extent, Instance, Kept, Verifier};
use crate::notify::{self, AuditFacts, Summary};
use crate::telemetry::chain;
use crate::warehouse::Warehouse;

/// `audit`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Command {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// Try every foreign thing for every group, however large the chain. Small chains are
    /// tried whole anyway.
    #[arg(long)]
    full: bool,
    /// What is drawn by, where not everything is tried. Default: the day, so that each day
    /// tries others.
    #[arg(long, value_name = "TEXT")]
    seed: Option<String>,
    /// Folder for the certificate. Default: `audit.dir`.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Mail nobody, whatever the outcome.
    #[arg(long)]
    no_mail: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Says whether a certificate is as this installation wrote it. Ends with 1 if not.
    ///
    /// Takes the JSON document or the HTML page. Elsewhere, or for another installation's
    /// certificate, give its public key: `certificate.pub` in its data folder.
    Verify {
        /// The document or the page.
        file: PathBuf,
        /// The public key of the installation that made it. Default: this one's.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
}

/// Why an audit is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    Command,
    Apply,
    Schedule,
}

impl Occasion {
    fn text(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Apply => "apply",
            Self::Schedule => "schedule",
        }
    }
}

/// An audit with its certificate.
pub(super) struct Proven {
    pub(super) audit: Audit,
    pub(super) kept: Kept,
    mail: Option<notify::Sent>,
}

impl Proven {
    pub(super) fn json(&self) -> Value {
        let mut json = serde_json::to_value(&self.audit).unwrap_or_default();
        json["certificate"] = json!(self.kept);
        json["mail"] = json!(self.mail);
        json
    }

    pub(super) fn text(&self) -> String {
        let mail = self.mail.as_ref().map(|mail| format!("\n{mail}")).unwrap_or_default();
        format!("{}\ncertificate: {}{mail}", self.audit, self.kept.html.display())
    }

    pub(super) fn exit(&self) -> Exit {
        if self.audit.is_clean() { Exit::Done } else { Exit::Failed }
    }
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    if let Some(Verb::Verify { file, key }) = &command.verb {
        return verify(app, file, key.as_deref(), output);
    }
    let opened = Opened::new(app).await?;
    let mut extent = extent(app);
    extent.full = command.full;
    if let Some(seed) = &command.seed {
        extent.seed.clone_from(seed);
    }
    let proven = prove(&opened, &extent, Occasion::Command, command.out.clone(), !command.no_mail).await?;
    output.answer(&proven.json(), || proven.text());
    opened.close().await;
    Ok(proven.exit())
}

fn verify(app: &App, file: &std::path::Path, key: Option<&std::path::Path>, output: &Output) -> Result<Exit, Failure> {
    let verifier = match key {
        Some(key) => Verifier::from_file(key)?,
        None => {
            let credentials = Credentials::open(&app.settings.installation.data_dir);
            let credentials = credentials.map_err(|error| Failure::new(&error, error.hint()))?;
            Verifier::own(&credentials)?
        }
    };
    let verified = metabase::verify_certificate(file, &verifier)?;
    let json = json!({
        "file": verified.file,
        "key": verified.key,
        "outcome": verified.certificate.as_ref().map(|certificate| &certificate.outcome),
        "made_at": verified.made_at(),
        "checks": verified.certificate.as_ref().map(|certificate| certificate.checks),
    });
    output.answer(&json, || {
        let says = verified.certificate.as_ref().map(|certificate| {
            let (made, outcome) = (certificate.made_at.format("%Y-%m-%d %H:%M:%S UTC"), &certificate.outcome);
            format!(": {outcome}, made {made} of {}", certificate.instance.name)
        });
        format!("`{}` is as it was signed with the key {}{}", file.display(), verified.key, says.unwrap_or_default())
    });
    Ok(Exit::Done)
}

/// What is tried unasked.
pub(super) fn extent(app: &App) -> Extent {
    Extent { sample: app.settings.audit.sample as usize, ..Extent::of_day(app.clock.now()) }
}

/// Where certificates are kept.
fn folder(app: &App) -> PathBuf {
    let settings = &app.settings;
    settings.audit.dir.clone().unwrap_or_else(|| settings.installation.data_dir.join("certificates"))
}

/// Audits, keeps the signed certificate, and mails an outcome that was not mailed before.
pub(super) async fn prove(
    opened: &Opened<'_>,
    extent: &Extent,
    occasion: Occasion,
    out: Option<PathBuf>,
    mails: bool,
) -> Result<Proven, Failure> {
    let (app, context) = (opened.app, opened.context());
    let audit = metabase::audit_with(&context, extent).await?;
    let url = context.settings.site_url.as_ref().unwrap_or(&context.settings.url);
    let instance =
        Instance { name: context.settings.site_name.clone(), url: url.clone(), release: audit.metabase.clone() };
    let wall = format!("{:?}", context.settings.wall).to_lowercase();
    let now = app.clock.now();
    let certificate = Certificate::of(audit.clone(), &context.installation.name, instance, &wall, now);
    let data_dir = &app.settings.installation.data_dir;
    let credentials = Credentials::open(data_dir).map_err(|error| Failure::new(&error, error.hint()))?;
    let folder = out.unwrap_or_else(|| folder(app));
    let keep_last = app.settings.audit.keep_last as usize;
    let kept = metabase::keep_certificate(&certificate, &credentials, data_dir, &folder, keep_last)?;
    let name = context.settings.url.trim_end_matches('/');
    let listed = |error: sqlx::Error| Failure::new(&error, Some("run `storekeeper db migrate`"));
    let before = metabase::previous_certificate(context.warehouse, name).await.map_err(listed)?;
    let issue = metabase::note_certificate(context.warehouse, name, occasion.text(), &certificate, &kept);
    let issue = issue.await.map_err(listed)?;
    let mut mail = None;
    let told = before.mailed.as_ref().is_some_and(|(_, hash)| *hash == certificate.outcome_hash);
    if mails && !told {
        // The outcome and what was told before it make the mail: asked twice, it is sent once.
        let after = before.mailed.map_or(0, |(id, _)| id);
        let key = format!("certificate:{name}:{after}:{}", certificate.outcome_hash);
        match tell(opened, &certificate, &key).await {
            Ok(sent) => {
                if sent.state != notify::State::Off {
                    issue.mailed(context.warehouse, now).await.map_err(listed)?;
                }
                mail = Some(sent);
            }
            Err(error) => warn!(error = %chain(&error), "outcome of the audit was not mailed"),
        }
    }
    Ok(Proven { audit, kept, mail })
}

async fn tell(opened: &Opened<'_>, certificate: &Certificate, key: &str) -> Result<notify::Sent, crate::app::Error> {
    let found = certificate.leaks.iter().map(|leak| format!("{}: {} ({})", leak.who, leak.what, leak.how));
    let facts = AuditFacts {
        people: certificate.people.len() as u64,
        checks: certificate.checks,
        leaks: certificate.leaks.len() as u64,
        found: found.take(12).collect(),
        lacking: certificate.failures.len() as u64,
        error: None,
    };
    let summary = Summary { audit: Some(facts), ..Summary::default() };
    let mailer = opened.app.mailer_of_audits()?;
    let now = opened.app.clock.now();
    notify::send_summary_once(&opened.warehouse, &mailer, &summary, key, now).await.map_err(crate::app::Error::Mail)
}

/// Tells whoever hears of audits that one that was due could not be made: once a day.
pub(super) async fn tell_unmade(app: &App, warehouse: &Warehouse, failure: &Failure) -> Result<(), crate::app::Error> {
    let facts = AuditFacts { error: Some(failure.message.clone()), ..AuditFacts::default() };
    let summary = Summary { audit: Some(facts), ..Summary::default() };
    let now = app.clock.now();
    let instance = app.settings.metabase.as_ref().map_or("", |metabase| metabase.url.trim_end_matches('/'));
    let key = format!("certificate:{instance}:unmade:{}", now.date_naive());
    let mailer = app.mailer_of_audits()?;
    notify::send_summary_once(warehouse, &mailer, &summary, &key, now).await.map_err(crate::app::Error::Mail).map(drop)
}

/// What follows an apply; that it could not be made says so in the apply's own answer.
pub(super) async fn after_apply(opened: &Opened<'_>) -> Result<Proven, Failure> {
    prove(opened, &extent(opened.app), Occasion::Apply, None, true).await.map_err(|failure| {
        let hint = "what was applied stands, and nothing proves yet who sees what: run `storekeeper audit`";
        let hint = failure.hint.map_or_else(|| hint.to_owned(), |own| format!("{own}; {hint}"));
        Failure {
            message: format!("failed to audit after the apply: {}", failure.message),
            hint: Some(hint),
            ..failure
        }
    })
}
