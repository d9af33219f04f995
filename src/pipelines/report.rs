//! What a run has to say for itself: the JSON of `run`, the rows of the mail.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::judging::SAMPLES;
use crate::contracts::Drift;
use crate::ids::{BrandId, LoadId, PipelineName, RunId};
use crate::warehouse::Counts;

/// Why a run started. The only thing in which triggers differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// A person typed it.
    Manual,
    /// Its schedule was due.
    Schedule,
    /// A schedule that was missed while nothing ran.
    CatchUp,
    /// A file was handed over.
    Upload,
    /// A source said that something changed.
    Webhook,
    /// Refused rows were tried again.
    Replay,
    /// A load was taken back.
    Undo,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Rows were loaded.
    Succeeded,
    /// Rows of some files were loaded, other files were refused; the next run reads those again.
    Partial,
    /// The source holds nothing that was not loaded before.
    NothingNew,
    /// Nothing was changed; `error` says why.
    Failed,
    /// The process ended in the middle; nothing was changed.
    Interrupted,
}

impl Status {
    /// Whether rows were loaded.
    pub fn has_loaded(self) -> bool {
        matches!(self, Self::Succeeded | Self::Partial)
    }

    /// Whether nothing needs doing.
    pub fn is_fine(self) -> bool {
        matches!(self, Self::Succeeded | Self::NothingNew)
    }
}

/// One file (or table page set) that a run read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Its name at the source.
    pub name: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub content_hash: String,
    /// Rows below its header; none where it was refused.
    pub rows_read: u64,
    /// Why it was refused; nothing of it is loaded then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How its columns differ from those of the file before, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// One refused row. Values are left out: they may be personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineSample {
    /// File and sheet, e.g. `Sales.xlsx [Sheet1]`.
    pub file: String,
    /// Row as the file counts them, from 1.
    pub row: u64,
    /// Column of the contract, empty where the whole row is meant.
    pub column: String,
    /// The rule it broke, e.g. `type`, `required`, `known_store`.
    pub rule: String,
    /// Why, in words.
    pub reason: String,
}

/// One run of one pipeline for one brand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunReport {
    /// The run.
    pub run_id: RunId,
    /// The load, where one was made.
    pub load_id: Option<LoadId>,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The brand.
    pub brand: BrandId,
    /// Why it started.
    pub trigger: Trigger,
    /// How it ended.
    pub status: Status,
    /// What was read.
    pub files: Vec<FileReport>,
    /// Rows below the headers, refused ones included.
    pub rows_read: u64,
    /// Rows that reached the destination: inserted, updated and unchanged.
    pub rows_loaded: u64,
    /// Rows that were new.
    pub rows_inserted: u64,
    /// Rows whose values changed.
    pub rows_updated: u64,
    /// Rows that were there already, the same.
    pub rows_unchanged: u64,
    /// Rows refused and kept with their reason.
    pub rows_quarantined: u64,
    /// At most 20 of them.
    pub quarantine: Vec<QuarantineSample>,
    /// Whether more was refused than the pipeline's threshold allows.
    pub over_threshold: bool,
    /// What a reader should know: rows left out as totals, columns dropped.
    pub notes: Vec<String>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// How long it took.
    pub duration_ms: u64,
    /// Why it failed.
    pub error: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl RunReport {
    /// A report of a run that has done nothing yet.
    pub(super) fn blank(
        run_id: RunId,
        pipeline: &PipelineName,
        brand: &BrandId,
        trigger: Trigger,
        started_at: DateTime<Utc>,
    ) -> Self {
        Self {
            run_id,
            load_id: None,
            pipeline: pipeline.clone(),
            brand: brand.clone(),
            trigger,
            status: Status::NothingNew,
            files: Vec::new(),
            rows_read: 0,
            rows_loaded: 0,
            rows_inserted: 0,
            rows_updated: 0,
            rows_unchanged: 0,
            rows_quarantined: 0,
            quarantine: Vec::new(),
            over_threshold: false,
            notes: Vec::new(),
            started_at,
            duration_ms: 0,
            error: None,
            hint: None,
        }
    }

    /// Shows more refused rows, up to what a report holds.
    pub(super) fn add_samples(&mut self, samples: impl IntoIterator<Item = QuarantineSample>) {
        let room = SAMPLES.saturating_sub(self.quarantine.len());
        self.quarantine.extend(samples.into_iter().take(room));
    }

    /// Takes over how the rows met those that were there.
    pub(super) fn count(&mut self, counts: Counts) {
        self.rows_inserted = counts.inserted;
        self.rows_updated = counts.updated;
        self.rows_unchanged = counts.unchanged;
        self.rows_loaded = counts.inserted + counts.updated + counts.unchanged;
    }

    /// A report of a run that could not even be noted, as when PostgreSQL is away.
    pub fn not_started(
        pipeline: &PipelineName,
        brand: &BrandId,
        trigger: Trigger,
        at: DateTime<Utc>,
        error: String,
        hint: Option<&str>,
    ) -> Self {
        let blank = Self::blank(RunId(0), pipeline, brand, trigger, at);
        Self { status: Status::Failed, error: Some(error), hint: hint.map(str::to_owned), ..blank }
    }
}
