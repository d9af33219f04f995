//! Why a run failed. Nothing was changed then.

use crate::contracts::Undecidable;
use crate::ids::PipelineName;
use crate::warehouse::lineage;
use crate::words::counted;
use crate::{formats, sources, transforms, warehouse};

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The brand's settings lack what the source needs.
    #[error("brand `{brand}` has no {what} in the settings")]
    NotConfigured {
        /// The brand.
        brand: String,
        /// What is missing, e.g. `drive`.
        what: &'static str,
    },
    /// Files come by hand only, and none was given.
    #[error("this pipeline reads only files that are handed over")]
    NoFile,
    /// The settings name no application that may sign in.
    #[error("there is no `[microsoft]` block in the settings")]
    NoMicrosoft,
    /// The source could not be reached, or refused.
    #[error("failed to read the source")]
    Source(#[source] sources::Error),
    /// A file as a whole could not be read.
    #[error("failed to read `{name}`")]
    File {
        /// The file.
        name: String,
        /// Why.
        source: formats::Error,
    },
    /// A row broke a rule whose severity is `fail`.
    #[error("row {row} of `{name}` breaks rule `{rule}` on `{column}`: {reason}")]
    Row {
        /// The file.
        name: String,
        /// Row from 1.
        row: i64,
        /// Column.
        column: String,
        /// Rule.
        rule: &'static str,
        /// In words.
        reason: String,
    },
    /// Columns of a file can be read in two ways.
    #[error("`{name}`: {}", columns.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Undecidable {
        /// The file.
        name: String,
        /// Which, and why.
        columns: Vec<Undecidable>,
    },
    /// A file's own total does not fit its rows.
    #[error("`{name}` breaks rule `control_total` on `{column}`{}: {reason}", row.map(|row| format!(" in row {row}")).unwrap_or_default())]
    Control {
        /// The file.
        name: String,
        /// Column.
        column: String,
        /// The total row.
        row: Option<u64>,
        /// In words.
        reason: String,
    },
    /// More rows of a file are refused than the contract stands.
    #[error("{refused} of {} of `{name}` {} refused, more than the contract allows; {first}", counted(*read, "row", "rows"), if *refused == 1 { "is" } else { "are" })]
    TooManyRefused {
        /// The file.
        name: String,
        /// Refused rows.
        refused: u64,
        /// All rows.
        read: u64,
        /// The first of them.
        first: String,
    },
    /// A table that rules look values up in holds nothing yet.
    #[error("rules look values up in `{table}`, which is empty")]
    NoReference {
        /// The table.
        table: String,
    },
    /// The transform failed.
    #[error("failed to transform `{name}`")]
    Transform {
        /// The file.
        name: String,
        /// Why.
        source: transforms::Error,
    },
    /// The load failed.
    #[error("failed to load into `{table}`")]
    Load {
        /// The table.
        table: String,
        /// Why.
        source: warehouse::LoadError,
    },
    /// The bytes of a file could not be kept with its rows, or read back.
    #[error("failed to keep the bytes of `{name}`")]
    Contents {
        /// The file.
        name: String,
        /// Why.
        source: warehouse::contents::Error,
    },
    /// The run could not be noted.
    #[error("failed to {action}")]
    Ledger {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: sqlx::Error,
    },
    /// A file or folder of this machine.
    #[error("failed to {action}")]
    Local {
        /// What was tried, on what.
        action: String,
        /// Why.
        source: std::io::Error,
    },
    /// A worker ended in a way that should not happen.
    #[error("the worker that read `{name}` ended early")]
    Worker {
        /// The file.
        name: String,
        /// How.
        source: tokio::task::JoinError,
    },
    /// There is nothing that says where rows should go.
    #[error("pipeline `{pipeline}` has no `[export]`")]
    NoExport {
        /// The pipeline.
        pipeline: crate::ids::PipelineName,
    },
    /// The query of an export failed.
    #[error("failed to run `export.sql` of `{pipeline}`")]
    ExportQuery {
        /// The pipeline.
        pipeline: crate::ids::PipelineName,
        /// Why.
        source: sqlx::Error,
    },
    /// The query of an export lacks columns.
    #[error("`export.sql` of `{pipeline}` does not select `{columns}`")]
    ExportColumns {
        /// The pipeline.
        pipeline: crate::ids::PipelineName,
        /// Which.
        columns: String,
    },
    /// Rows could not be written to Dataverse.
    #[error("failed to export")]
    Export(#[source] sources::Error),
    /// Too many rows of a table are gone at once.
    #[error("table `{entity_set}` came without {gone} of the {known} rows that are known of it")]
    Shrunk {
        /// The table.
        entity_set: String,
        /// Rows known so far.
        known: i64,
        /// Those of them that did not come.
        gone: i64,
    },
    /// Rows without their numbers cannot be told apart by the source's ids.
    #[error("the transform keeps no `_row`, without which deleted rows cannot be found")]
    Untraceable,
    /// Refused rows cannot go through a transform that makes rows of its own.
    #[error("the transform of `{pipeline}` keeps no row numbers: its refused rows cannot be loaded one by one")]
    OwnRows {
        /// The pipeline.
        pipeline: PipelineName,
    },
    /// The connection that held the pipeline's turn is gone.
    #[error("the connection that kept other processes from running this pipeline was lost")]
    TurnLost,
    /// A load could not be taken back.
    #[error("failed to undo the load")]
    Undo {
        /// Why.
        source: warehouse::LoadError,
    },
    /// There is nothing to take back.
    #[error("{what} loaded nothing")]
    NoLoad {
        /// Which, in words.
        what: String,
    },
    /// An undo itself is not undone.
    #[error("load {load_id} is itself an undo")]
    UndoOfUndo {
        /// Which.
        load_id: crate::ids::LoadId,
    },
    /// The rows that a load replaced were not kept.
    #[error("load {load_id} was made by a version that kept no history: what it replaced is not known")]
    NoHistory {
        /// Which.
        load_id: crate::ids::LoadId,
    },
    /// Later loads spoke of the same rows.
    #[error("later loads build on {what}: {}", loads.iter().map(|step| format!("load {} of {} ({}) {}", step.load.load_id, step.load.committed_at.format("%Y-%m-%d"), step.load.pipeline, step.detail)).collect::<Vec<_>>().join("; "))]
    BuiltOn {
        /// Which, in words.
        what: String,
        /// They.
        loads: Vec<warehouse::UndoStep>,
    },
    /// The worker that forecasts ended in a way that should not happen.
    #[error("the worker that forecast `{series}` ended early")]
    Forecast {
        /// The series.
        series: String,
    },
    /// The holidays that a definition names could not be read.
    #[error("failed to read the holidays")]
    Holidays(#[source] forecast::calendar::Error),
    /// What a view rests on could not be read.
    #[error("failed to read what a forecast is made of")]
    Basis(#[source] lineage::Error),
}

impl Error {
    /// Whether it is more than one file's: the load cannot go on then.
    pub(super) fn ends_the_run(&self) -> bool {
        !matches!(
            self,
            Self::File { .. }
                | Self::Row { .. }
                | Self::Transform { .. }
                | Self::Worker { .. }
                | Self::Undecidable { .. }
                | Self::Control { .. }
                | Self::TooManyRefused { .. }
        )
    }

    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotConfigured { .. } => Some("add it to the brand's block; config/default.toml shows how"),
            Self::NoFile => Some("give one with `--file`"),
            Self::NoMicrosoft => {
                Some("add the application that reads drives and Dataverse; config/default.toml shows how")
            }
            Self::Source(source) => source.hint(),
            Self::File { source, .. } => source.hint(),
            Self::Row { .. } => Some("mend the file at its source, or lower the rule's severity"),
            Self::Undecidable { columns, .. } => Some(match columns.first().map(|column| column.option) {
                Some("decimal_mark") => "set the column's `decimal_mark` in the contract to point or comma",
                _ => "set the column's `date_order` in the contract to mdy, dmy or ymd",
            }),
            Self::Control { .. } => {
                Some("compare the file with its source: rows may be missing. `tolerance` and `severity` ease the rule")
            }
            Self::TooManyRefused { .. } => {
                Some("mend the file, or the contract; `fail_threshold` and `fail_limit_rows` say how many are too many")
            }
            Self::NoReference { .. } => Some("run the pipeline that loads that table first, or `run --all`"),
            Self::Transform { source, .. } => source.hint(),
            Self::Load { source, .. } => source.hint(),
            Self::Contents { source, .. } => source.hint(),
            Self::Ledger { .. } => Some("check that PostgreSQL runs and that `storekeeper db migrate` was run"),
            Self::Local { .. } => Some("check the path, the disk and the rights"),
            Self::Worker { .. } => Some("this is a defect of ours: please report it with the file's layout"),
            Self::NoExport { .. } => Some("name a pipeline whose pipeline.toml has that block"),
            Self::ExportQuery { .. } => {
                Some("correct the query; it reads the tables of its brand's schema, and may not write")
            }
            Self::ExportColumns { .. } => Some("select each column of `key` and of `lookups` under its name"),
            Self::Export(source) => source.hint(),
            Self::Shrunk { .. } => Some(
                "check what the application user may read; if the rows are gone, raise `shrink_threshold` in the pipeline's `[source]`",
            ),
            Self::Untraceable => Some("select `_row` in transform.sql, or leave `changes` out"),
            Self::OwnRows { .. } => Some("load the files again: `storekeeper run NAME --full`"),
            Self::TurnLost => {
                Some("nothing was loaded; run it again, and look into PostgreSQL's log if it happens often")
            }
            Self::Undo { source } => source.hint(),
            Self::NoLoad { .. } => Some("`storekeeper runs list` shows which runs loaded rows"),
            Self::UndoOfUndo { .. } => Some("to have the rows again, load their files: `storekeeper run NAME --full`"),
            Self::NoHistory { .. } => Some("load a corrected file: its rows replace the wrong ones"),
            Self::BuiltOn { .. } => {
                Some("`--cascade` takes them back too; the next run loads again what of them the source still has")
            }
            Self::Forecast { .. } => Some("the forecast of before stands; the log says where the worker stopped"),
            Self::Holidays(source) => source.hint(),
            Self::Basis(source) => source.hint(),
        }
    }
}
