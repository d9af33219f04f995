//! `access`: who may see what.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::output::{Output, counted, grouped, table};
use super::run::wall;
use super::{Exit, Failure};
use crate::access;
use crate::app::App;
use crate::warehouse::Duty;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Puts a list of people in place of the one imported before. Grants made by
    /// hand stay. Columns: email,first_name,last_name,language,scope,level.
    Import {
        /// The CSV file.
        file: PathBuf,
        /// In the name of this owner: every line must be within her scopes, and the list
        /// takes the place of what she gave before, not of the imported list.
        #[arg(long, value_name = "ADDRESS")]
        r#as: Option<String>,
        /// Take the list also where it names nobody: every grant that it gave is taken back.
        #[arg(long)]
        empty: bool,
    },
    /// Gives a person a scope: chain, brand:<id>, region:<brand>/<name>, store:<brand>/<number>.
    Grant {
        /// The person's mail address.
        person: String,
        /// The scope.
        scope: String,
        /// viewer reads dashboards; analyst also builds questions; owner also manages grants.
        #[arg(long, default_value = "viewer")]
        level: String,
        /// In the name of this owner: refused outside of her scopes.
        #[arg(long, value_name = "ADDRESS")]
        r#as: Option<String>,
    },
    /// Takes back a grant that was given by hand.
    Revoke {
        /// The person's mail address.
        person: String,
        /// The scope.
        scope: String,
        /// In the name of this owner: refused outside of her scopes.
        #[arg(long, value_name = "ADDRESS")]
        r#as: Option<String>,
    },
    /// Changes a person's address; her grants and her account in Metabase stay hers.
    ///
    /// Do it before a list with the new address is imported: the list knows people by theirs.
    Address {
        /// The address she is known by.
        from: String,
        /// The new one.
        to: String,
    },
    /// Prints the database URL, password included, with which a role that works signs in.
    ///
    /// `loader` is for a `run` or `serve` that is to own nothing but what it loads: give it
    /// as `database.url`. `ops` reads the schema `ops` for monitoring: no rows of stores,
    /// nothing about people.
    SignIn {
        /// Which one.
        #[arg(value_enum)]
        duty: SignIn,
    },
    /// Proves the walls of the database. Ends with 1 at any leak.
    ///
    /// Signs in as the role of every scope, counts the rows of every table, view, partition,
    /// sequence and function there is, and compares with what the owner counts for the
    /// stores of that scope. Reads rights and policies too, so that what is open is found
    /// before anybody goes through. A table or view without a `store_id` must be named in
    /// `sql/marts/shared.toml`. Changes nothing; `db migrate` mends rights and policies.
    Audit,
    /// Shows a person's grants.
    Show {
        /// The person's mail address.
        person: String,
    },
}

/// Roles that work and sign in.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum SignIn {
    /// Loads.
    Loader,
    /// Watches.
    Ops,
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    let warehouse = app.warehouse().await?;
    let tree = access::tree(&warehouse, &app.settings.brands).await?;
    let now = app.clock.now();
    match command {
        Command::Import { file, r#as, empty } => {
            let text = read_list(file)?;
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let list = access::List { text: &text, name: &name, may_be_empty: *empty };
            let imported = match r#as {
                Some(owner) => access::import_as(&warehouse, &tree, owner, list, now).await?,
                None => access::import(&warehouse, &tree, list, now).await?,
            };
            output.answer(&imported, || imported.to_string());
        }
        Command::Grant { person, scope, level, r#as } => {
            let level = level.parse().map_err(|error: access::UnknownLevel| Failure::usage(error.to_string(), None))?;
            let changed = match r#as {
                Some(owner) => access::grant_as(&warehouse, &tree, owner, person, scope, level, now).await?,
                None => access::grant(&warehouse, &tree, person, scope, level, now).await?,
            };
            let text = if changed { "granted; `plan` shows what follows" } else { "was granted before" };
            output.answer(&json!({ "changed": changed }), || text.to_owned());
        }
        Command::Revoke { person, scope, r#as } => {
            match r#as {
                Some(owner) => access::revoke_as(&warehouse, &tree, owner, person, scope, now).await?,
                None => access::revoke(&warehouse, &tree, person, scope, now).await?,
            }
            output.answer(&json!({ "changed": true }), || "taken back; `plan` shows what follows".to_owned());
        }
        Command::Address { from, to } => {
            access::change_address(&warehouse, from, to, now).await?;
            output.answer(&json!({ "changed": true }), || "changed; `plan` shows what follows".to_owned());
        }
        Command::Show { person } => {
            let person = access::show(&warehouse, person).await?;
            output.answer(&person, || {
                let mut rows = vec![["scope", "level", "by"].map(str::to_owned).to_vec()];
                rows.extend(person.grants.iter().map(|grant| {
                    let origin = serde_json::to_value(grant.origin).ok();
                    let origin = origin.and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default();
                    vec![grant.scope.to_string(), grant.level.to_string(), origin]
                }));
                let state = if person.active { "active" } else { "not active: holds no grant" };
                format!("{} {} ({state})\n{}", person.first_name, person.last_name, table(&rows, &[]))
            });
        }
        Command::SignIn { duty } => {
            let duty = match duty {
                SignIn::Loader => Duty::Loader,
                SignIn::Ops => Duty::Ops,
            };
            let url = access::sign_in(&warehouse, &app.settings.installation.data_dir, duty)?;
            let url = url.as_ref().map(|url| url.expose_secret()).unwrap_or_default();
            output.answer(&json!({ "url": url }), || url.to_owned());
        }
        Command::Audit => {
            let audit = access::audit(
                &warehouse,
                &app.settings.brands,
                &app.settings.installation.data_dir,
                wall(app),
                &app.definitions,
            )
            .await?;
            output.answer(&audit, || matrix(&audit));
            warehouse.close().await;
            return Ok(if audit.is_clean() { Exit::Done } else { Exit::Failed });
        }
    }
    warehouse.close().await;
    Ok(Exit::Done)
}

/// Reads a list as text; says on which line it is none.
fn read_list(file: &Path) -> Result<String, Failure> {
    let failed = |error: &dyn std::fmt::Display| format!("failed to read `{}`: {error}", file.display());
    let bytes = std::fs::read(file).map_err(|error| Failure::usage(failed(&error), None))?;
    String::from_utf8(bytes).map_err(|error| {
        let right = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + right.iter().filter(|byte| **byte == b'\n').count();
        let message = failed(&format!("line {line} is not UTF-8 text"));
        let hint = "it may be Windows-1252, as a spreadsheet's plain CSV is; save it as \"CSV UTF-8\"";
        Failure::usage(message, Some(hint))
    })
}

/// A line a thing: who may see it, and how many roles did; then what is wrong.
fn matrix(audit: &access::Audit) -> String {
    let header = ["what", "kind", "who may see it", "rows", "roles that see it", "refused"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for thing in &audit.things {
        let cells = || audit.cells.iter().filter(|cell| cell.name == thing.name);
        rows.push(vec![
            thing.name.clone(),
            thing.kind.to_string(),
            thing.rule.to_string(),
            thing.rows.map_or_else(|| "-".to_owned(), |rows| grouped(rows.unsigned_abs())),
            cells().filter(|cell| cell.seen.is_some()).count().to_string(),
            cells().filter(|cell| cell.seen.is_none()).count().to_string(),
        ]);
    }
    let mut text = table(&rows, &[3, 4, 5]);
    let unclassified = audit.unclassified.iter().map(|name| {
        format!("{name}: has no store_id, and sql/marts/shared.toml does not say why every reader may see it")
    });
    let lists = [
        ("leak", audit.leaks.iter().map(ToString::to_string).collect::<Vec<_>>()),
        ("lack", audit.lacks.iter().map(ToString::to_string).collect()),
        ("unclassified", unclassified.collect()),
        ("not covered", audit.not_covered.iter().map(ToString::to_string).collect()),
    ];
    for (word, lines) in &lists {
        for line in lines {
            text.push_str(&format!("{word}: {line}\n"));
        }
    }
    let counts: Vec<String> = lists.iter().map(|(word, lines)| format!("{} {word}", lines.len())).collect();
    text.push_str(&format!(
        "{} looked at {}, {}: {}",
        counted(audit.roles, "role", "roles"),
        counted(audit.things.len(), "thing", "things"),
        counted(audit.cells.len(), "look", "looks"),
        counts.join(", ")
    ));
    text
}
