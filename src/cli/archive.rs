//! `archive`: old months in files.

use chrono::NaiveDate;
use clap::{Args, Subcommand};
use serde_json::json;

use super::output::{Output, counted, grouped, table};
use super::{Exit, Failure};
use crate::app::App;
use crate::warehouse::{self, Archive, Archived, Kept};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Writes months that are older than `archive_after_months` to Parquet files, reads
    /// each file back, and only then drops the partition. Ends with 1 where one could not
    /// be archived; its rows are where they were.
    Run {
        #[command(flatten)]
        chosen: Chosen,
        /// Only list the months that are due.
        #[arg(long)]
        dry_run: bool,
    },
    /// Lists the archived months and their files.
    List,
    /// Reads every archived file, and holds it against the ledger: SHA-256, rows, digest.
    /// Ends with 1 where one is not what it was.
    Verify,
    /// Brings a month back, e.g. `archive restore sales_channel 2023-01`. The same rows
    /// come back, or none. `archive run` leaves the month alone for a week then.
    Restore {
        /// The table, without its schema.
        table: String,
        /// The month, as 2023-01.
        #[arg(value_parser = month)]
        month: NaiveDate,
        /// Whose; needed where several brands have archived that month.
        #[arg(long)]
        brand: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Chosen {
    /// Only this table.
    #[arg(long)]
    table: Option<String>,
    /// Only this brand.
    #[arg(long)]
    brand: Option<String>,
}

fn month(text: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d").map_err(|_| "a month is written as 2023-01".to_owned())
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    let tables = app.kept(&app.pipelines().await?);
    let warehouse = app.warehouse_to_load().await?;
    let dir = &app.settings.warehouse.archive_dir;
    let exit = match command {
        Command::Run { chosen, dry_run } => {
            let tables = chosen_of(tables, chosen.table.as_deref(), chosen.brand.as_deref())?;
            let due = warehouse::due(&warehouse, &tables, app.clock.now()).await?;
            if *dry_run {
                let due: Vec<Archived> = due.iter().map(|(table, month)| Archived::due(table, *month)).collect();
                output.answer(&json!({ "due": due }), || outcomes(&due, "due", "no month is due\n"));
                Exit::Done
            } else {
                let done = warehouse::archive(&warehouse, dir, due, app.clock.now()).await;
                output.answer(&json!({ "archived": done }), || outcomes(&done, "archived", "no month is due\n"));
                exit_of(&done)
            }
        }
        Command::List => {
            let archives = warehouse::list_archives(&warehouse).await?;
            output.answer(&json!({ "archives": archives }), || listed(&archives));
            Exit::Done
        }
        Command::Verify => {
            let checked = warehouse::verify(&warehouse, dir).await?;
            output.answer(&json!({ "verified": checked }), || outcomes(&checked, "as it was", "nothing is archived\n"));
            exit_of(&checked)
        }
        Command::Restore { table: name, month, brand } => {
            let archives = warehouse::list_archives(&warehouse).await?;
            let tables = chosen_of(tables, Some(name), brand.as_deref())?;
            let wanted = month.format("%Y-%m").to_string();
            let archived = |kept: &&Kept| {
                let brand = kept.brand.0.as_str();
                archives.iter().any(|one| {
                    one.brand == brand && one.table == *name && one.month == wanted && one.restored_at.is_none()
                })
            };
            let found: Vec<&Kept> = tables.iter().filter(archived).collect();
            let kept = match found.as_slice() {
                [one] => one,
                [] => &tables[0],
                _ => {
                    let message = format!("several brands have archived {wanted} of `{name}`");
                    return Err(Failure::usage(message, Some("name one with `--brand`")));
                }
            };
            let archive = warehouse::restore(&warehouse, dir, &kept.table, *month, app.clock.now()).await?;
            output.answer(&json!({ "restored": archive }), || {
                format!(
                    "{} and {} are back",
                    counted(archive.rows, "row", "rows"),
                    counted(archive.versions, "earlier version", "earlier versions")
                )
            });
            Exit::Done
        }
    };
    warehouse.close().await;
    Ok(exit)
}

fn chosen_of(tables: Vec<Kept>, table: Option<&str>, brand: Option<&str>) -> Result<Vec<Kept>, Failure> {
    let mut names: Vec<&str> = tables.iter().map(|kept| kept.table.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    if let Some(table) = table.filter(|table| !names.contains(table)) {
        let message = format!("no pipeline loads into a table `{table}`; there are {}", names.join(", "));
        return Err(Failure::usage(message, None));
    }
    if let Some(brand) = brand.filter(|brand| !tables.iter().any(|kept| kept.brand.0 == *brand)) {
        return Err(Failure::usage(format!("brand `{brand}` is not in the settings"), None));
    }
    let wanted = |kept: &Kept| {
        table.is_none_or(|table| kept.table.name == table) && brand.is_none_or(|brand| kept.brand.0 == brand)
    };
    let chosen: Vec<Kept> = tables.into_iter().filter(wanted).collect();
    if chosen.is_empty() && table.is_some() {
        return Err(Failure::usage("no pipeline of this brand loads into that table", None));
    }
    Ok(chosen)
}

fn exit_of(done: &[Archived]) -> Exit {
    if done.iter().any(|one| one.error.is_some()) { Exit::Failed } else { Exit::Done }
}

fn grouped_of(number: i64) -> String {
    grouped(number.unsigned_abs())
}

fn outcomes(done: &[Archived], fine: &str, none: &str) -> String {
    if done.is_empty() {
        return none.to_owned();
    }
    let mut rows = vec![["brand", "table", "month", "rows", "versions", "state"].map(str::to_owned).to_vec()];
    for one in done {
        let count =
            |of: fn(&Archive) -> i64| one.archive.as_ref().map_or(String::new(), |archive| grouped_of(of(archive)));
        let state = one.error.clone().unwrap_or_else(|| fine.to_owned());
        let names = [one.brand.clone(), one.table.clone(), one.month.clone()];
        rows.push(names.into_iter().chain([count(|a| a.rows), count(|a| a.versions), state]).collect());
    }
    let mut text = table(&rows, &[3, 4]);
    let mut hints: Vec<&String> = done.iter().filter_map(|one| one.hint.as_ref()).collect();
    hints.dedup();
    for hint in hints {
        text.push_str(&format!("hint: {hint}\n"));
    }
    text
}

fn listed(archives: &[Archive]) -> String {
    if archives.is_empty() {
        return "nothing is archived\n".to_owned();
    }
    let header = ["brand", "table", "month", "rows", "versions", "bytes", "archived", "brought back", "file"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for one in archives {
        let back = one.restored_at.map_or_else(String::new, |at| at.format("%Y-%m-%d %H:%M").to_string());
        rows.push(vec![
            one.brand.clone(),
            one.table.clone(),
            one.month.clone(),
            grouped_of(one.rows),
            grouped_of(one.versions),
            grouped_of(one.size_bytes),
            one.archived_at.format("%Y-%m-%d %H:%M").to_string(),
            back,
            one.file.clone(),
        ]);
    }
    table(&rows, &[3, 4, 5])
}
