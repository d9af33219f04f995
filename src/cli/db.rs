//! `db`: the database's schemas.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::output::{Output, table};
use super::run::follow_up;
use super::{Exit, Failure};
use crate::app::App;
use crate::warehouse::{Duty, duties, migrate, migration_status, prepare};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Brings the schemas up to date, then roles, owners, tables of every brand, views and
    /// walls. Running it twice changes nothing. The user in `database.url` needs CREATEROLE, and CREATE on
    /// the database; it becomes a member of the role that owns everything.
    Migrate,
    /// Lists the migrations, and says which this database has.
    Status,
    /// Makes partitions of the months to come and indexes that lack, and prunes the
    /// history by `warehouse.history_days`. Loads and readers go on; running it twice
    /// changes nothing. Ends with 1 where a table could not be kept in order.
    Maintain,
    /// Keeps the private PostgreSQL until its last user is gone. Nobody types this.
    #[command(hide = true)]
    Supervise {
        #[arg(long)]
        data_dir: PathBuf,
    },
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    if matches!(command, Command::Maintain) {
        return super::upkeep::maintain(app, output).await;
    }
    let warehouse = app.warehouse().await?;
    let mut made = Vec::new();
    if matches!(command, Command::Migrate) {
        if !duties::may_own(&warehouse).await.map_err(|error| Failure::new(&error, None))? {
            let owner = Duty::Owner.role(warehouse.installation());
            let message = format!("the user in `database.url` is no member of `{owner}`, which owns the schemas");
            let hint = format!("name the user who made them, or have it run GRANT {owner} TO the new one");
            return Err(Failure::usage(message, Some(&hint)));
        }
        migrate(&warehouse, &app.definitions).await?;
        follow_up(app, &warehouse).await?;
        // Whoever loads owns the tables. They get their walls behind that.
        let loader = app.warehouse_to_load().await?;
        made = prepare(&loader, &app.kept(&app.pipelines().await?)).await?;
        loader.close().await;
        if !made.is_empty() {
            follow_up(app, &warehouse).await?;
        }
    }
    let migrations = migration_status(&warehouse, &app.definitions).await?;
    let address = warehouse.address();
    let place = format!("{}:{}/{}", address.host, address.port, address.database);
    output.answer(&json!({ "database": place, "migrations": migrations, "tables_made": made }), || {
        let mut rows = vec![vec!["migration".to_owned(), "for".to_owned(), "state".to_owned()]];
        rows.extend(migrations.iter().map(|migration| {
            let state = if migration.applied { "applied" } else { "pending" };
            vec![migration.version.to_string(), migration.description.clone(), state.to_owned()]
        }));
        let tables = if made.is_empty() { String::new() } else { format!("\ntables made: {}\n", made.join(", ")) };
        format!("{}{tables}\n{place}", table(&rows, &[]))
    });
    warehouse.close().await;
    Ok(Exit::Done)
}
