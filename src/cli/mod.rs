//! The commands. Each parses its arguments, calls one thing, prints the answer.
//!
//! Exit codes: 0 done; 1 something failed; 2 wrong use or configuration;
//! 3 finished, but more rows were quarantined than a pipeline allows (`explain`: the
//! row is in quarantine, not in the table);
//! 4 changes pending (`plan --exit-code`);
//! 5 applied, but the audit that follows could not be made.

mod access;
mod archive;
mod arguments;
mod audit;
mod backup;
mod check;
mod contract;
mod db;
mod explain;
mod explain_text;
mod export;
mod forecast;
mod forecast_backtest;
mod forecast_hours;
mod forecast_picture;
mod forecast_shown;
mod making;
mod metabase;
mod metabase_group;
mod output;
mod quarantine;
mod report;
mod restatements;
mod run;
mod runs;
mod schedules;
mod serve;
mod serve_audit;
mod serve_backup;
mod serve_events;
mod undo;
mod upkeep;

use std::process::ExitCode;

use clap::Parser as _;

use self::arguments::{Arguments, Command};
use self::output::{Format, Output};
use crate::app::{self, App};
use crate::clock::Clock;
use crate::http::key_vault;
use crate::settings;
use crate::telemetry::{self, chain};

/// How a command ended, when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Done = 0,
    Failed = 1,
    Mistaken = 2,
    OverThreshold = 3,
    Pending = 4,
    Unproven = 5,
}

/// A failure with what to do about it.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
    hint: Option<String>,
}

impl Failure {
    fn new(error: &(dyn std::error::Error + 'static), hint: Option<&str>) -> Self {
        Self { code: 1, message: chain(error), hint: hint.map(str::to_owned) }
    }

    fn usage(message: impl Into<String>, hint: Option<&str>) -> Self {
        Self { code: 2, message: message.into(), hint: hint.map(str::to_owned) }
    }
}

macro_rules! failures {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                let hint = error.hint();
                Self::new(&error, hint)
            }
        })*
    };
}

failures!(
    crate::access::AuditError,
    crate::access::Error,
    crate::access::RolesError,
    crate::backup::Error,
    crate::http::key_vault::Error,
    crate::metabase::CertificateError,
    crate::metabase::Error,
    crate::notify::Error,
    crate::pipelines::DraftError,
    crate::pipelines::Error,
    crate::pipelines::ExportError,
    crate::scheduler::Error,
    crate::warehouse::ArchiveError,
    crate::warehouse::EmbeddedError,
    crate::warehouse::LoadError,
    crate::warehouse::MigrateError,
    crate::warehouse::contents::Error,
    crate::warehouse::marts::Error,
);

impl From<crate::access::TablesError> for Failure {
    fn from(error: crate::access::TablesError) -> Self {
        Self::new(&error, None)
    }
}

impl From<app::Error> for Failure {
    fn from(error: app::Error) -> Self {
        let set = |error: &crate::backup::Error| {
            matches!(error, crate::backup::Error::NoTarget | crate::backup::Error::Setting { .. })
        };
        let wrong = match &error {
            app::Error::Definitions(_) => true,
            app::Error::Backups(error) => set(error),
            _ => false,
        };
        let code = if wrong { 2 } else { 1 };
        Self { code, ..Self::new(&error, error.hint()) }
    }
}

impl From<settings::Error> for Failure {
    fn from(error: settings::Error) -> Self {
        Self { code: 2, ..Self::new(&error, error.hint()) }
    }
}

/// Parses the command line, runs the command, says what went wrong.
pub async fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && arguments::want_json(std::env::args_os()) => {
            let failure = arguments::misuse(&error);
            Output::new(Format::Json).failure(&failure);
            return ExitCode::from(failure.code);
        }
        Err(error) => error.exit(),
    };
    let output = Output::new(arguments.format);
    match dispatch(arguments, &output).await {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.code)
        }
    }
}

async fn dispatch(arguments: Arguments, output: &Output) -> Result<Exit, Failure> {
    if let Command::Db(db::Command::Supervise { data_dir }) = &arguments.command {
        // Runs its own runtime, and lives longer than any command.
        let data_dir = data_dir.clone();
        let ended = tokio::task::spawn_blocking(move || crate::warehouse::supervise(&data_dir)).await;
        return match ended {
            Ok(outcome) => outcome.map(|()| Exit::Done).map_err(Failure::from),
            Err(error) => Err(Failure::new(&error, None)),
        };
    }
    let (files, variables) = (arguments.files(), app::variables());
    let mut settings = settings::read(&files, &variables)?;
    telemetry::init(&settings.log);
    if !settings.vault_secrets.is_empty() {
        let secrets = key_vault::secrets(&settings).await?;
        settings = settings::read_with_secrets(&files, &variables, &secrets)?;
    }
    let clock = arguments.now.map_or(Clock::System, Clock::Fixed);
    let app = App { settings, clock, definitions: arguments.definitions.clone() };
    match arguments.command {
        Command::Check(command) => check::run(&app, &command, output).await,
        Command::Contract(command) => contract::run(&app, &command, output).await,
        Command::Db(command) => db::run(&app, &command, output).await,
        Command::Archive(command) => archive::run(&app, &command, output).await,
        Command::Run(command) => run::run(&app, &command, output).await,
        Command::Runs(command) => runs::run(&app, &command, output).await,
        Command::Schedules(command) => schedules::run(&app, &command, output).await,
        Command::Undo(command) => undo::run(&app, &command, output).await,
        Command::Quarantine(command) => quarantine::run(&app, &command, output).await,
        Command::Explain(command) => explain::run(&app, &command, output).await,
        Command::Restatements(command) => restatements::run(&app, &command, output).await,
        Command::Forecast(command) => forecast::run(&app, &command, output).await,
        Command::Export(command) => export::run(&app, &command, output).await,
        Command::Access(command) => access::run(&app, &command, output).await,
        Command::Plan(command) => metabase::plan(&app, &command, output).await,
        Command::Apply(command) => metabase::apply(&app, &command, output).await,
        Command::Audit(command) => audit::run(&app, &command, output).await,
        Command::Metabase(command) => metabase_group::run(&app, &command, output).await,
        Command::Report(command) => report::run(&app, &command, output).await,
        Command::Backup(command) => backup::run(&app, &command, output).await,
        Command::Serve(command) => serve::run(&app, &command).await,
    }
}
