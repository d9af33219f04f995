//! `backup`: copies of the databases, the proof that they come back, and the way back.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::output::{Output, counted, grouped, table};
use super::{Exit, Failure};
use crate::app::App;
use crate::backup::{self, Identity, Listed, Manifest, Order, State, Verified, What};
use crate::settings;
use crate::telemetry::chain;
use crate::warehouse::{Endpoint, Warehouse, migrate};

const AFTER_CREATE: &str = "\
Rows are counted in the same snapshot that is dumped, so loads may go on. What
need not be kept any more (backup.keep_last, keep_daily, keep_weekly) is removed
after a success, never before.";

const AFTER_RESTORE: &str = "\
  storekeeper backup restore                     the newest, into the empty database of the settings
  storekeeper backup restore ID --replace        in place of what is there, which stays as <name>_before_<time>
  STOREKEEPER_RESTORE_INTO=postgres://… storekeeper backup restore ID     elsewhere

Stop `serve` and Metabase first. Everything is compared with the manifest before
anything is exchanged. Afterwards missing migrations are applied, and views, roles
and row policies are reconciled. docs/backup.md walks through a new machine.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Makes a backup of each database, encrypted where `backup.recipients` are set.
    #[command(after_help = AFTER_CREATE)]
    Create(Which),
    /// Lists what lies in the target, broken-off and damaged backups too.
    List(Which),
    /// Restores a backup into a cluster of its own and compares every table. Ends
    /// with 1 where anything differs.
    Verify(VerifyCommand),
    /// Brings a backup back: into an empty or missing database, or with --replace.
    #[command(after_help = AFTER_RESTORE)]
    Restore(RestoreCommand),
}

#[derive(Debug, Args)]
pub(super) struct Which {
    /// Which database; all: Metabase's too, where backup.metabase_database_url is set.
    #[arg(long, value_enum, default_value_t = Choice::All)]
    what: Choice,
}

#[derive(Debug, Args)]
pub(super) struct VerifyCommand {
    /// The backup; the newest complete one by default.
    id: Option<String>,
    #[command(flatten)]
    which: Which,
    /// File with the age identity, instead of backup.identity_file.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RestoreCommand {
    /// The backup; the newest complete one by default.
    id: Option<String>,
    /// Which database.
    #[arg(long, value_enum, default_value_t = Choice::Warehouse)]
    what: Choice,
    /// Restore into this database instead of the settings'. It holds a password: the
    /// variable keeps it out of the list of processes.
    #[arg(long, value_name = "URL", env = "STOREKEEPER_RESTORE_INTO", hide_env_values = true)]
    into: Option<SecretUrl>,
    /// Replace a database that is not empty. It stays, under another name.
    #[arg(long)]
    replace: bool,
    /// File with the age identity, instead of backup.identity_file.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

/// A URL that no debug output shows.
#[derive(Debug, Clone)]
struct SecretUrl(SecretString);

impl std::str::FromStr for SecretUrl {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned().into()))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Choice {
    Warehouse,
    Metabase,
    All,
}

impl Choice {
    fn databases(self, settings: &settings::Backup) -> Vec<What> {
        match self {
            Self::Warehouse => vec![What::Warehouse],
            Self::Metabase => vec![What::Metabase],
            Self::All if settings.metabase_database_url.is_some() => What::ALL.to_vec(),
            Self::All => vec![What::Warehouse],
        }
    }
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    match command {
        Command::Create(which) => create(app, which, output).await,
        Command::List(which) => list(app, which, output).await,
        Command::Verify(command) => verify(app, command, output).await,
        Command::Restore(command) => restore(app, command, output).await,
    }
}

async fn create(app: &App, which: &Which, output: &Output) -> Result<Exit, Failure> {
    let target = app.backup_target()?;
    let mut answers: Vec<Value> = Vec::new();
    let mut lines = Vec::new();
    let mut failures = Vec::new();
    for what in which.what.databases(&app.settings.backup) {
        let made = async {
            let located = app.located(what).await?;
            let made = backup::create(&target, &app.settings.backup, what, &located.endpoint, app.clock.now()).await?;
            Ok::<_, Failure>(made)
        };
        match made.await {
            Ok(made) => {
                lines.push(line_of(&made.manifest));
                lines.extend(made.removed.iter().map(|id| format!("removed {what} {id}")));
                answers.push(json!({
                    "what": what, "id": made.manifest.id, "bytes": made.manifest.bytes,
                    "rows": made.manifest.rows(), "tables": made.manifest.contents.tables.len(),
                    "seconds": made.manifest.seconds, "encrypted": !made.manifest.recipients.is_empty(),
                    "removed": made.removed,
                }));
            }
            // The other database is backed up all the same.
            Err(failure) => failures.push(failure),
        }
    }
    let mut failures = failures.into_iter();
    match failures.next() {
        None => {
            output.answer(&json!({ "target": target.shown(), "backups": answers }), || lines.join("\n"));
            Ok(Exit::Done)
        }
        Some(first) => {
            let more = failures.map(|failure| format!("\n{}", failure.message)).collect::<String>();
            Err(Failure { message: first.message + &more, ..first })
        }
    }
}

fn line_of(manifest: &Manifest) -> String {
    let encrypted = if manifest.recipients.is_empty() { "not encrypted" } else { "encrypted" };
    format!(
        "{} {}: {}, {}, {} bytes, {encrypted}, {:.1} s",
        manifest.what,
        manifest.id,
        counted(manifest.contents.tables.len(), "table", "tables"),
        counted(manifest.rows(), "row", "rows"),
        grouped(manifest.bytes),
        manifest.seconds
    )
}

async fn list(app: &App, which: &Which, output: &Output) -> Result<Exit, Failure> {
    let target = app.backup_target()?;
    let mut listed: Vec<Listed> = Vec::new();
    for what in which.what.databases(&app.settings.backup) {
        listed.extend(target.list(what).await?);
    }
    let answers: Vec<Value> = listed
        .iter()
        .map(|one| {
            let manifest = one.manifest.as_ref();
            json!({
                "id": one.id, "what": one.what, "state": one.state, "made_at": one.made_at, "bytes": one.bytes,
                "rows": manifest.map(Manifest::rows), "storekeeper": manifest.map(|one| &one.storekeeper),
                "postgres": manifest.map(|one| &one.contents.postgres),
                "migration": manifest.and_then(|one| one.contents.migration),
                "recipients": manifest.map(|one| &one.recipients),
            })
        })
        .collect();
    output.answer(&json!({ "target": target.shown(), "backups": answers }), || {
        if listed.is_empty() {
            return format!("no backups in {}", target.shown());
        }
        let head = ["what", "backup", "state", "rows", "bytes", "encrypted", "PostgreSQL", "storekeeper", "migration"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(listed.iter().map(row_of));
        table(&rows, &[3, 4])
    });
    Ok(Exit::Done)
}

fn row_of(one: &Listed) -> Vec<String> {
    let state = match one.state {
        State::Complete => "complete",
        State::Damaged => "damaged",
        State::Incomplete => "incomplete",
        State::Unreadable => "unreadable",
    };
    let mut row = vec![one.what.to_string(), one.id.clone(), state.to_owned()];
    match &one.manifest {
        None => row.extend([String::new(), grouped(one.bytes)]),
        Some(manifest) => row.extend([
            grouped(manifest.rows().unsigned_abs()),
            grouped(manifest.bytes),
            if manifest.recipients.is_empty() { "no" } else { "yes" }.to_owned(),
            manifest.contents.postgres.clone(),
            manifest.storekeeper.clone(),
            manifest.contents.migration.map_or_else(String::new, |number| number.to_string()),
        ]),
    }
    row
}

async fn verify(app: &App, command: &VerifyCommand, output: &Output) -> Result<Exit, Failure> {
    let target = app.backup_target()?;
    let parent = app.settings.installation.data_dir.join("scratch");
    let program = app.program()?;
    let databases = match &command.id {
        // One name is of one database.
        Some(id) => vec![found_in(&target, command.which.what.databases(&app.settings.backup), id).await?],
        None => command.which.what.databases(&app.settings.backup),
    };
    let mut proofs: Vec<Verified> = Vec::new();
    for what in databases {
        let manifest = target.find(what, command.id.as_deref()).await?;
        let order = order(app, manifest, command.identity.as_ref())?;
        proofs.push(backup::verify(&target, &order, &parent, &program).await?);
    }
    let whole = proofs.iter().all(|proof| proof.differences.is_empty());
    output.answer(&json!({ "target": target.shown(), "verified": whole, "backups": proofs }), || {
        proofs.iter().map(text_of).collect::<Vec<_>>().join("\n")
    });
    Ok(if whole { Exit::Done } else { Exit::Failed })
}

async fn found_in(target: &backup::Target, databases: Vec<What>, id: &str) -> Result<What, Failure> {
    for what in &databases {
        if target.list(*what).await?.iter().any(|one| one.id == id) {
            return Ok(*what);
        }
    }
    Ok(databases[0])
}

fn text_of(proof: &Verified) -> String {
    let (tables, rows) = (counted(proof.tables, "table", "tables"), counted(proof.rows, "row", "rows"));
    let of = format!("{} {}: {tables}, {rows}", proof.what, proof.id);
    if proof.differences.is_empty() {
        return format!("{of} came back as they were, {:.1} s", proof.seconds);
    }
    let mut rows = vec![["object", "expected", "found"].map(str::to_owned).to_vec()];
    rows.extend(proof.differences.iter().map(|one| vec![one.object.clone(), one.expected.clone(), one.found.clone()]));
    format!("{of}; what differs:\n{}", table(&rows, &[]))
}

fn order(app: &App, manifest: Manifest, file: Option<&PathBuf>) -> Result<Order, Failure> {
    let settings = &app.settings.backup;
    let text = match file {
        Some(file) => Some(SecretString::from(
            std::fs::read_to_string(file)
                .map_err(|error| Failure::usage(format!("failed to read `{}`: {error}", file.display()), None))?,
        )),
        None => settings.identity.clone(),
    };
    // A key for backups that are not encrypted is no mistake, and none for those that are is told later.
    let identities = match text {
        Some(text) => Identity::read_all(text.expose_secret()).map_err(|error| {
            let hint = "a file as age-keygen writes it: lines AGE-SECRET-KEY-1…";
            Failure::usage(format!("failed to read the age identity: {error}"), Some(hint))
        })?,
        None => Vec::new(),
    };
    Ok(Order { manifest, identities, programs_dir: settings.programs_dir.clone() })
}

async fn restore(app: &App, command: &RestoreCommand, output: &Output) -> Result<Exit, Failure> {
    let what = match command.what {
        Choice::Warehouse => What::Warehouse,
        Choice::Metabase => What::Metabase,
        Choice::All => {
            let hint = "restore them one after the other: --what warehouse, then --what metabase";
            return Err(Failure::usage("a restore is of one database", Some(hint)));
        }
    };
    let target = app.backup_target()?;
    let manifest = target.find(what, command.id.as_deref()).await?;
    let order = order(app, manifest, command.identity.as_ref())?;
    // Held to the end: a private server runs for as long as somebody holds it.
    let located = match &command.into {
        Some(_) => None,
        None => Some(app.located(what).await?),
    };
    let endpoint = match (&command.into, &located) {
        (Some(SecretUrl(url)), _) => Endpoint::from_url(url).ok_or_else(|| {
            Failure::usage("failed to read --into", Some("it must be postgres://user:password@host:port/database"))
        })?,
        (None, Some(located)) => located.endpoint.clone(),
        (None, None) => return Err(Failure::usage("no database is named", None)),
    };
    if what == What::Warehouse {
        refuse_newer(app, &order.manifest).await?;
    }
    let restored = backup::restore(&target, &order, &endpoint, command.replace, app.clock.now()).await?;
    let mut after = Vec::new();
    let beside_ours = command.into.is_some() && shares_our_server(app, &endpoint).await;
    let walls = match what {
        What::Metabase => {
            after.push("start Metabase, then `storekeeper plan`");
            "none"
        }
        // Roles belong to the server: what an older tree wants would lock those that are at work.
        What::Warehouse if beside_ours => {
            after.push("this server's roles are left as they are; to work there, change database.url and `apply`");
            "left"
        }
        What::Warehouse => {
            let url = command.into.as_ref().map(|SecretUrl(url)| url.clone());
            if let Err(failure) = raise_walls(app, url).await {
                let message =
                    format!("the rows are back in `{}`, its walls are not yet: {}", restored.database, failure.message);
                return Err(Failure { message, ..failure });
            }
            after.push("views, roles and row policies are reconciled");
            after.push("start `serve`; `audit` proves the walls");
            "reconciled"
        }
    };
    let answer = json!({
        "id": restored.id, "database": restored.database, "kept": restored.kept,
        "roles_created": restored.roles_created, "tables": restored.tables, "rows": restored.rows, "walls": walls,
    });
    output.answer(&answer, || {
        let (tables, rows) = (counted(restored.tables, "table", "tables"), counted(restored.rows, "row", "rows"));
        let mut lines = vec![format!("restored {} into {}: {tables}, {rows}", restored.id, restored.database)];
        lines.extend(
            restored
                .kept
                .iter()
                .map(|name| format!("what was there is now the database {name}; drop it when nobody misses it")),
        );
        lines.extend(after.into_iter().map(str::to_owned));
        lines.join("\n")
    });
    Ok(Exit::Done)
}

/// Whether a database lies beside the one that this installation works with.
async fn shares_our_server(app: &App, endpoint: &Endpoint) -> bool {
    // One that cannot be found works with nothing.
    app.located(What::Warehouse)
        .await
        .is_ok_and(|ours| ours.endpoint.same_server(endpoint) && ours.endpoint.database() != endpoint.database())
}

/// A database of a newer storekeeper would be migrated by nobody.
async fn refuse_newer(app: &App, manifest: &Manifest) -> Result<(), Failure> {
    let Some(migration) = manifest.contents.migration else { return Ok(()) };
    let known = crate::warehouse::newest_migration(&app.definitions).await?;
    if migration > known {
        return Err(backup::Error::Newer { id: manifest.id.clone(), migration, known }.into());
    }
    Ok(())
}

/// What a dump cannot hold: roles belong to the server.
async fn raise_walls(app: &App, url: Option<SecretString>) -> Result<(), Failure> {
    let warehouse = match url {
        None => app.warehouse().await?,
        Some(url) => {
            let database = settings::Database { url: Some(url), ..app.settings.database.clone() };
            let opened = Warehouse::connect(&database, &app.settings.installation, &app.program()?).await;
            opened.map_err(|error| Failure {
                code: 1,
                message: chain(&error),
                hint: error.hint().map(str::to_owned),
            })?
        }
    };
    let done = async {
        migrate(&warehouse, &app.definitions).await?;
        super::run::follow_up(app, &warehouse).await
    };
    let done = done.await;
    warehouse.close().await;
    done
}
