//! What can be typed.

use std::ffi::OsString;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use super::{
    Failure, Format, access, archive, audit, backup, check, contract, db, explain, export, forecast, metabase,
    metabase_group, quarantine, report, restatements, run, runs, schedules, serve, undo,
};

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  something failed; the message says what and what to do
  2  wrong use, settings or definitions
  3  finished, but more rows were quarantined than a pipeline allows
  4  changes are pending (plan --exit-code, undo --dry-run), or left (apply, metabase destroy)
  5  applied, but the audit that follows could not be made (apply)

A first look:
  storekeeper check                 are settings and definitions right?
  storekeeper db migrate            make the database's schemas
  storekeeper run --all             load everything that is new
  storekeeper plan                  what would change in Metabase?";

/// Keeps the stores' data, and hands each manager the key to their own store.
#[derive(Debug, Parser)]
#[command(name = "storekeeper", version, after_help = AFTER_HELP, max_term_width = 100)]
pub(super) struct Arguments {
    /// Settings file; may be given several times, later ones win. Default:
    /// config/<environment>.toml, the environment being $STOREKEEPER_ENVIRONMENT
    /// (production).
    #[arg(long, global = true, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Folder that holds pipelines/, sql/ and metabase/.
    #[arg(long, global = true, value_name = "DIR", default_value = ".")]
    pub(super) definitions: PathBuf,
    /// How answers are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    /// Act as if it were this moment, e.g. 2025-11-29T11:00:00Z: for demos and tests.
    #[arg(long, global = true, value_name = "MOMENT")]
    pub(super) now: Option<DateTime<Utc>>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Validates settings, definitions, SQL and dashboards: all mistakes in one answer.
    Check(check::Command),
    /// Drafts a pipeline from a file, and tests pipelines by their examples.
    #[command(subcommand)]
    Contract(contract::Command),
    /// Makes the database's schemas, shows their state, and keeps the tables in order.
    #[command(subcommand)]
    Db(db::Command),
    /// Moves old months to Parquet files, checks those, and brings months back.
    #[command(subcommand)]
    Archive(archive::Command),
    /// Loads what is new, by one pipeline, several, or all.
    Run(run::Command),
    /// Lists runs, or shows one.
    #[command(subcommand)]
    Runs(runs::Command),
    /// Lists the pipelines' schedules, each with its next occurrences.
    Schedules(schedules::Command),
    /// Takes a load back, and what was made of it.
    Undo(undo::Command),
    /// Lists refused rows with their reasons, exports, replays or dismisses them.
    Quarantine(quarantine::Group),
    /// Follows a value back to its cell: load, run, file, sheet, row, and what it was before.
    Explain(explain::Command),
    /// Lists what sources said differently of business dates that were over.
    Restatements(restatements::Command),
    /// Forecasts what the pipelines' tables hold.
    #[command(subcommand)]
    Forecast(forecast::Command),
    /// Writes back to Dataverse what pipelines with an [export] block select.
    #[command(subcommand)]
    Export(export::Command),
    /// Says who may see what.
    #[command(subcommand)]
    Access(access::Command),
    /// Says what would change in Metabase, and changes nothing.
    Plan(metabase::PlanCommand),
    /// Makes Metabase what it should be: exactly the plan's steps.
    Apply(metabase::ApplyCommand),
    /// Proves that everybody sees the stores granted and no other. Ends with 1 at any leak.
    ///
    /// Acts with the rights of each group, through Metabase, with keys that live as long as
    /// the audit; signs in to PostgreSQL as each role; compares what comes back with the
    /// tables. Nobody's password is touched, nobody is mailed by Metabase, nothing changes.
    /// Writes a signed certificate, as JSON and as a page, and mails `audit.mail_to` when the
    /// outcome is another than the one mailed before. Every `apply` ends with one, and
    /// `serve` makes one by `audit.cron`.
    Audit(audit::Command),
    /// Draws dashboards, and keeps what is ours in Metabase.
    #[command(subcommand)]
    Metabase(metabase_group::Command),
    /// Sums up the latest runs, and mails that.
    Report(report::Command),
    /// Backs the databases up, proves that a backup comes back, brings it back.
    #[command(subcommand)]
    Backup(backup::Command),
    /// Runs the daemon: schedules, health, metrics. SIGTERM ends it cleanly.
    Serve(serve::Command),
}

/// Whether answers are to be JSON, also where the words are no right command.
pub(super) fn want_json(words: impl Iterator<Item = OsString>) -> bool {
    let words: Vec<OsString> = words.take_while(|word| word != "--").collect();
    words.iter().any(|word| word == "--format=json")
        || words.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json")
}

/// What clap says of words that are no right command: what is wrong, then tips and usage.
pub(super) fn misuse(error: &clap::Error) -> Failure {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::usage("a command is missing", Some("`--help` lists them"));
    }
    let text = error.render().to_string();
    let text = text.trim().strip_prefix("error: ").unwrap_or_else(|| text.trim());
    match text.split_once("\n\n") {
        Some((wrong, rest)) => Failure::usage(wrong, Some(rest.trim())),
        None => Failure::usage(text, None),
    }
}

impl Arguments {
    /// The settings files to read.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        if !self.config.is_empty() {
            return self.config.clone();
        }
        let named = std::env::var("STOREKEEPER_ENVIRONMENT").ok().filter(|name| !name.is_empty());
        let file = PathBuf::from(format!("config/{}.toml", named.as_deref().unwrap_or("production")));
        // One that was named and is not there is a mistake, and is told as such.
        if named.is_some() || file.exists() { vec![file] } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_are_no_command_are_told_in_json_too() {
        let json = |words: &[&str]| want_json(words.iter().map(OsString::from));
        assert!(json(&["storekeeper", "--format", "json", "rum"]) && json(&["storekeeper", "rum", "--format=json"]));
        assert!(!json(&["storekeeper", "--format", "text"]) && !json(&["storekeeper", "--", "--format=json"]));
        let said = |words: &[&str]| misuse(&Arguments::try_parse_from(words).unwrap_err());
        let wrong = said(&["storekeeper", "run", "--brnd", "x"]);
        assert_eq!((wrong.code, wrong.message.as_str()), (2, "unexpected argument '--brnd' found"));
        assert!(wrong.hint.unwrap().contains("'--brand'"));
        assert_eq!(said(&["storekeeper"]).message, "a command is missing");
    }
}
