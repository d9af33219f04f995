//! Whether a file that was read is good enough, and what the report says of it.

use super::definition::Pipeline;
use super::error::Error;
use super::reading::Read;
use super::report::{FileReport, QuarantineSample};
use super::runner::Engine;
use crate::contracts::{RuleKind, SeenColumn, Severity};
use crate::formats::Facts;
use crate::sources::Fetched;
use crate::warehouse::{Load, LoadError};
use crate::words::counted;

/// Quarantined rows that a report shows.
pub(super) const SAMPLES: usize = 20;

/// A file that is in staging, and good.
pub(super) struct Staged {
    pub(super) file_id: i64,
    /// File and sheet, as people know them.
    pub(super) shown: String,
    pub(super) report: FileReport,
    pub(super) rows_quarantined: u64,
    pub(super) samples: Vec<QuarantineSample>,
    pub(super) notes: Vec<String>,
}

impl Engine {
    /// Judges a file that was read into staging, and enters what was read of it.
    ///
    /// # Errors
    /// When a rule of severity `fail` is broken, or too many rows are.
    #[expect(clippy::too_many_arguments, reason = "what was read, what it is held against, where it goes")]
    pub(super) async fn judge(
        &self,
        pipeline: &Pipeline,
        file: &Fetched,
        file_id: i64,
        read: Read,
        facts: Facts,
        before: &mut Option<Vec<SeenColumn>>,
        load: &mut Load,
    ) -> Result<Staged, Error> {
        let failed = |source: LoadError| Error::Load { table: pipeline.definition.destination.table.clone(), source };
        let contract = &pipeline.definition.contract;
        let shown = match &facts.sheet {
            Some(sheet) => format!("{} [{sheet}]", file.name),
            None => file.name.clone(),
        };
        let mut notes = notes_of(&shown, &facts, &read.warned);
        if let Some((rejection, _)) = read.rejected.iter().find(|(rejection, _)| rejection.severity == Severity::Fail) {
            return Err(row_error(file, rejection.row, &rejection.column, rejection.rule, &rejection.reason));
        }
        for control in &read.control {
            if control.severity == Severity::Fail {
                let (name, column) = (file.name.clone(), control.column.clone());
                return Err(Error::Control { name, column, row: control.row, reason: control.reason.clone() });
            }
            notes.push(format!("{shown}: `{}`: {}", control.column, control.reason));
        }
        let names: Vec<String> = contract.columns.iter().map(|column| column.name.clone()).collect();
        load.quarantine(file_id, &names, &read.rejected).await.map_err(failed)?;
        let sample = |row: i64, column: &str, rule: &str, reason: &str| sample(&shown, row, column, rule, reason);
        let mut samples: Vec<QuarantineSample> = read
            .rejected
            .iter()
            .take(SAMPLES)
            .map(|(refused, _)| sample(refused.row, &refused.column, refused.rule, &refused.reason))
            .collect();
        let mut rows_quarantined = read.rejected.len() as u64;
        for (column, rule) in contract.rules_of(RuleKind::Unique) {
            let take_out = rule.severity == Severity::Quarantine;
            let repeated = load.repeated(file_id, &column.name, take_out).await.map_err(failed)?;
            let Some((row, kept)) = repeated.first() else { continue };
            let reason = |kept: &i64| format!("row {kept} has the same value");
            let (count, word) = (repeated.len(), rule.kind.name());
            match rule.severity {
                Severity::Fail => return Err(row_error(file, *row, &column.name, word, &reason(kept))),
                Severity::Warn => notes.push(warning(&shown, count as u64, &column.name, word)),
                Severity::Quarantine => {
                    rows_quarantined += count as u64;
                    let more = repeated.iter().take(SAMPLES);
                    samples.extend(more.map(|(row, kept)| sample(*row, &column.name, word, &reason(kept))));
                }
            }
        }
        let too_many = contract.fail_limit_rows.is_some_and(|limit| rows_quarantined > limit)
            || contract.fail_threshold.is_some_and(|share| rows_quarantined as f64 > share * facts.rows_read as f64);
        if too_many {
            let first = samples.first().map(|first| format!("row {} `{}`: {}", first.row, first.column, first.reason));
            return Err(Error::TooManyRefused {
                name: file.name.clone(),
                refused: rows_quarantined,
                read: facts.rows_read,
                first: first.unwrap_or_default(),
            });
        }
        load.close_file(file_id, facts.sheet.as_deref(), facts.rows_read).await.map_err(failed)?;
        let drift = self.drift(pipeline, file, file_id, &facts, before, load).await?;
        notes.extend(drift.iter().flat_map(|drift| drift.lines(contract)).map(|line| format!("{shown}: {line}")));
        let report = FileReport { rows_read: facts.rows_read, drift, ..blank(file) };
        Ok(Staged { file_id, shown, report, rows_quarantined, samples, notes })
    }
}

/// A file's report before anything is known of it.
pub(super) fn blank(file: &Fetched) -> FileReport {
    FileReport { name: file.name.clone(), content_hash: file.content_hash.clone(), ..FileReport::default() }
}

/// A refused row for the report.
pub(super) fn sample(file: &str, row: i64, column: &str, rule: &str, reason: &str) -> QuarantineSample {
    QuarantineSample {
        file: file.to_owned(),
        row: u64::try_from(row).unwrap_or(0),
        column: column.to_owned(),
        rule: rule.to_owned(),
        reason: reason.to_owned(),
    }
}

fn row_error(file: &Fetched, row: i64, column: &str, rule: &'static str, reason: &str) -> Error {
    let (name, column, reason) = (file.name.clone(), column.to_owned(), reason.to_owned());
    Error::Row { name, row, column, rule, reason }
}

fn notes_of(file: &str, facts: &Facts, warned: &[(String, &'static str, u64)]) -> Vec<String> {
    let mut notes = Vec::new();
    for (reason, count) in &facts.left_out {
        let named: Vec<String> = facts.left_out_rows.get(reason).into_iter().flatten().map(u64::to_string).collect();
        let more = if named.len() as u64 == *count { "" } else { ", …" };
        notes.push(format!(
            "{file}: {} left out as {reason}: {}{more}",
            counted(*count, "row", "rows"),
            named.join(", ")
        ));
    }
    notes.extend(facts.notes.iter().map(|note| format!("{file}: {note}")));
    if !facts.ignored_columns.is_empty() {
        notes.push(format!("{file}: columns not in the contract: {}", facts.ignored_columns.join(", ")));
    }
    notes.extend(warned.iter().map(|(column, rule, count)| warning(file, *count, column, rule)));
    notes
}

pub(super) fn warning(file: &str, count: u64, column: &str, rule: &str) -> String {
    let (rows, were) = (counted(count, "row breaks", "rows break"), if count == 1 { "was" } else { "were" });
    format!("{file}: {rows} rule `{rule}` on `{column}` and {were} loaded all the same")
}
