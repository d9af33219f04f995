//! `access`: who may see what.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::output::{Output, table};
use super::{Exit, Failure};
use crate::access;
use crate::app::App;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Puts a list of people in place of the one imported before. Grants made by
    /// hand stay. Columns: email,first_name,last_name,language,scope,level.
    Import {
        /// The CSV file.
        file: PathBuf,
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
    },
    /// Takes back a grant that was given by hand.
    Revoke {
        /// The person's mail address.
        person: String,
        /// The scope.
        scope: String,
    },
    /// Shows a person's grants.
    Show {
        /// The person's mail address.
        person: String,
    },
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    let warehouse = app.warehouse().await?;
    let tree = access::tree(&warehouse, &app.settings.brands).await?;
    let now = app.clock.now();
    match command {
        Command::Import { file } => {
            let text = std::fs::read_to_string(file)
                .map_err(|error| Failure::usage(format!("failed to read `{}`: {error}", file.display()), None))?;
            let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let imported = access::import(&warehouse, &tree, &text, &name, now).await?;
            output.answer(&imported, || imported.to_string());
        }
        Command::Grant { person, scope, level } => {
            let level = level.parse().map_err(|error: access::UnknownLevel| Failure::usage(error.to_string(), None))?;
            let changed = access::grant(&warehouse, &tree, person, scope, level, now).await?;
            let text = if changed { "granted; `plan` shows what follows" } else { "was granted before" };
            output.answer(&json!({ "changed": changed }), || text.to_owned());
        }
        Command::Revoke { person, scope } => {
            access::revoke(&warehouse, &tree, person, scope, now).await?;
            output.answer(&json!({ "changed": true }), || "taken back; `plan` shows what follows".to_owned());
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
    }
    warehouse.close().await;
    Ok(Exit::Done)
}
