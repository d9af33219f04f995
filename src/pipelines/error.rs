//! Why a run failed. Nothing was changed then.

use crate::ids::PipelineName;
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
    /// Refused rows cannot go through a transform that makes rows of its own.
    #[error("the transform of `{pipeline}` keeps no row numbers: its refused rows cannot be loaded one by one")]
    OwnRows {
        /// The pipeline.
        pipeline: PipelineName,
    },
    /// A forecast could not be made.
    #[error("failed to forecast `{series}`")]
    Forecast {
        /// The series.
        series: String,
        /// Why.
        source: crate::forecast::Error,
    },
}

impl Error {
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
            Self::NoReference { .. } => Some("run the pipeline that loads that table first, or `run --all`"),
            Self::Transform { source, .. } => source.hint(),
            Self::Load { source, .. } => source.hint(),
            Self::Ledger { .. } => Some("check that PostgreSQL runs and that `storekeeper db migrate` was run"),
            Self::Local { .. } => Some("check the path, the disk and the rights"),
            Self::Worker { .. } => Some("this is a defect of ours: please report it with the file's layout"),
            Self::OwnRows { .. } => Some("load the files again: `storekeeper run NAME --full`"),
            Self::Forecast { source, .. } => source.hint(),
        }
    }
}
