//! Refused rows once more, after the contract or what it looks up was mended.
//!
//! A replay is a run like any other, with a load of its own: the refused rows go
//! through the present contract and transform, and rows that pass keep the file
//! and row they came from. Their lines in the quarantine are settled in the very
//! transaction that loads them, so that a row is loaded once, whatever happens in
//! between, and by however many processes at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, AsArray as _, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use futures::FutureExt as _;
use futures::{StreamExt as _, stream};
use tracing::{Instrument as _, info_span};

use super::columns;
use super::crash;
use super::definition::Pipeline;
use super::error::Error;
use super::judging::{sample, warning};
use super::quarantine::{QuarantineFilter, QuarantineState, Refusal, Refused, Verdict};
use super::quarantine::{refused_files, refused_rows, settle_refused};
use super::report::{FileReport, RunReport, Status, Trigger};
use super::runner::Engine;
use super::tables;
use super::turn_tables::Turn;
use crate::contracts::{self, Reference, RuleKind, SHAPE_RULE, Severity};
use crate::ids::{BrandId, ROW};
use crate::transforms::{self, Transform};
use crate::warehouse::{ARCHIVED_RULE, Load, LoadError, WriteDisposition};
use crate::words::counted;

/// The rule of rows that cannot be replayed at all.
const RULE: &str = "replay";
/// The rule of rows that a later one of the same file outdid.
const UNIQUE: &str = "unique";

impl Engine {
    /// Tries a pipeline's open refused rows of a brand again. `filter` narrows
    /// which; its pipeline, brand and state are set here. Rows that fail again stay
    /// open with the new reason; rows that newer data stands in the way of are
    /// superseded. Nothing that is in the table disappears.
    ///
    /// # Errors
    /// When the run could not even be noted.
    pub async fn replay(
        &self,
        pipeline: &Pipeline,
        brand: &BrandId,
        filter: &QuarantineFilter,
    ) -> Result<RunReport, Error> {
        let filter = QuarantineFilter {
            pipeline: Some(pipeline.name.clone()),
            brand: Some(brand.clone()),
            state: Some(QuarantineState::Open),
            ..filter.clone()
        };
        let turn = Turn::take(&self.warehouse, &pipeline.name, brand).await?;
        let (mut report, started) = self.open(&pipeline.name, brand, Trigger::Replay).await?;
        let span = info_span!("replay", run.id = %report.run_id, pipeline = %pipeline.name, %brand);
        let outcome =
            self.reload(&turn, pipeline, brand, &filter, &mut report, started).boxed().instrument(span.clone()).await;
        let report = span.in_scope(|| self.settle(report, started, outcome));
        if report.status != Status::Succeeded {
            tables::close_run_alone(&self.warehouse, &report, self.clock.now()).await?;
        }
        turn.give_back().await;
        Ok(report)
    }

    async fn reload(
        &self,
        turn: &Turn,
        pipeline: &Pipeline,
        brand: &BrandId,
        filter: &QuarantineFilter,
        report: &mut RunReport,
        started: Instant,
    ) -> Result<(), Error> {
        if let Some(sql) = &pipeline.transform {
            let failed = |source| Error::Transform { name: pipeline.name.to_string(), source };
            let schema = transforms::output_schema(sql, pipeline.definition.contract.schema()).await.map_err(failed)?;
            if schema.index_of(ROW).is_err() {
                return Err(Error::OwnRows { pipeline: pipeline.name.clone() });
            }
        }
        let pipeline = &columns::recall(&self.warehouse, pipeline, brand).await?;
        let reference = self.reference(pipeline, brand).await?;
        let mut table = pipeline.table(brand);
        let own = table.disposition;
        // A replay knows a few rows and no file: it only adds and updates.
        table.disposition = if table.key.is_empty() { WriteDisposition::Append } else { WriteDisposition::Merge };
        let path = format!("{}.{}", table.schema, table.name);
        let failed = |source: LoadError| Error::Load { table: path.clone(), source };
        let mut load = self.begin(turn, report, table).await?;
        let files = refused_files(load.connection(), filter).await?;
        if files.is_empty() {
            // Dropping the load takes it back, its line in the ledger too.
            report.load_id = None;
            return Ok(());
        }
        let mut verdicts = Vec::new();
        let mut staged: BTreeMap<(i64, i64), Refused> = BTreeMap::new();
        for file_id in files {
            let rows = refused_rows(load.connection(), filter, file_id).await?;
            report.rows_read += rows.len() as u64;
            if let Some(first) = rows.first() {
                let rows_read = rows.len() as u64;
                report.files.push(FileReport { name: first.file.clone(), rows_read, ..FileReport::default() });
            }
            let (rows, lost): (Vec<Refused>, Vec<Refused>) =
                rows.into_iter().partition(|row| missing(pipeline, row).is_none());
            for row in lost {
                let (column, reason) = missing(pipeline, &row).unwrap_or_default();
                // The rule says what the row is, for the next replay too.
                let rule = if [UNIQUE, SHAPE_RULE, ARCHIVED_RULE].contains(&row.rule.as_str()) {
                    row.rule.clone()
                } else {
                    RULE.to_owned()
                };
                verdicts.push(stays(report, &row, column, &rule, reason, None));
            }
            let passed =
                self.stage_refused(pipeline, &reference, file_id, rows, &mut load, report, &mut verdicts).await?;
            staged.extend(passed.into_iter().map(|row| ((file_id, row.row), row)));
        }
        crash::point("replay_staged");
        let mut superseded = 0_u64;
        for gone in load.give_way(own).await.map_err(failed)? {
            let Some(row) = staged.remove(&(gone.file_id, gone.source_row)) else { continue };
            if gone.newer {
                superseded += 1;
                let refusal = Some(Refusal {
                    column: row.column.clone(),
                    rule: row.rule.clone(),
                    reason: gone.reason,
                    value: None,
                });
                verdicts.push(Verdict { id: row.id, state: QuarantineState::Superseded, refusal });
            } else {
                let reason = format!("{}: load its file again", gone.reason);
                verdicts.push(stays(report, &row, pipeline.definition.contract.key.join(", "), RULE, reason, None));
            }
        }
        for (name, sql) in &pipeline.checks {
            load.check(name, sql).await.map_err(failed)?;
        }
        let counts = load.merge().await.map_err(failed)?;
        for aside in load.set_aside() {
            let Some(row) = staged.remove(&(aside.file_id, aside.source_row)) else { continue };
            let (column, reason) = (load.month_column().to_owned(), aside.reason.clone());
            verdicts.push(stays(report, &row, column, ARCHIVED_RULE, reason, None));
        }
        report.count(counts);
        let replayed = |row: &Refused| Verdict { id: row.id, state: QuarantineState::Replayed, refusal: None };
        verdicts.extend(staged.values().map(replayed));
        if superseded > 0 {
            report.notes.push(format!(
                "{} settled",
                counted(superseded, "row gave way to newer data and is", "rows gave way to newer data and are")
            ));
        }
        let inputs: Vec<i64> = staged.keys().map(|(file_id, _)| *file_id).collect();
        tables::note_inputs(&mut load, &tables::loads_of(&self.warehouse, &inputs).await?).await?;
        settle_refused(load.connection(), report.run_id, &verdicts, self.clock.now()).await?;
        report.status = Status::Succeeded;
        report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tables::close_run(load.connection(), report, self.clock.now()).await?;
        crash::point("replay_settled");
        load.commit(self.clock.now()).await.map_err(failed)?;
        crash::point("replay_committed");
        Ok(())
    }

    /// Puts a file's refused rows through contract and transform into staging;
    /// answers with those that passed.
    #[allow(clippy::too_many_arguments, reason = "the parts of one step, of which each has its own owner")]
    async fn stage_refused(
        &self,
        pipeline: &Pipeline,
        reference: &Reference,
        file_id: i64,
        rows: Vec<Refused>,
        load: &mut Load,
        report: &mut RunReport,
        verdicts: &mut Vec<Verdict>,
    ) -> Result<Vec<Refused>, Error> {
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let name = first.file.clone();
        let contract = &pipeline.definition.contract;
        let mut raw = raw_batch(pipeline, &rows);
        let mut rows = rows;
        if contracts::undecided(contract, &raw) {
            // All values of the file could have said how these are written; these few cannot.
            let open = |at: &usize| contracts::undecided(contract, &raw.slice(*at, 1));
            let open: BTreeSet<i64> = (0..rows.len()).filter(open).map(|at| rows[at].row).collect();
            let (left, kept): (Vec<Refused>, Vec<Refused>) = rows.into_iter().partition(|row| open.contains(&row.row));
            for row in left {
                let reason = "a date or number can be read in two ways: set `date_order` or `decimal_mark`".to_owned();
                verdicts.push(stays(report, &row, row.column.clone(), RULE, reason, None));
            }
            rows = kept;
            raw = raw_batch(pipeline, &rows);
        }
        let checked = contracts::check(contract, &raw, reference);
        let mut by_row: BTreeMap<i64, Refused> = rows.into_iter().map(|row| (row.row, row)).collect();
        for rejection in checked.rejected {
            if rejection.severity == Severity::Fail {
                let (row, rule) = (rejection.row, rejection.rule);
                return Err(Error::Row { name, row, column: rejection.column, rule, reason: rejection.reason });
            }
            if let Some(row) = by_row.remove(&rejection.row) {
                verdicts.push(stays(report, &row, rejection.column, rejection.rule, rejection.reason, rejection.value));
            }
        }
        for ((column, rule), count) in checked.warned {
            report.notes.push(warning(&name, count, &column, rule));
        }
        if checked.accepted.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let failed = |source: LoadError| Error::Load { table: pipeline.definition.destination.table.clone(), source };
        let passed = checked.accepted.column_by_name(ROW).map(|rows| rows.as_primitive::<Int64Type>().len());
        debug_assert_eq!(passed, Some(by_row.len()));
        match &pipeline.transform {
            None => {
                let batches = stream::iter([Ok::<_, Error>(checked.accepted)]);
                load.copy(file_id, &contract.schema(), batches, failed).await?;
            }
            Some(sql) => {
                let transform_failed = |source| Error::Transform { name: name.clone(), source };
                let input = stream::iter([checked.accepted]);
                let transform = Transform::new(sql, contract.schema(), input).await.map_err(transform_failed)?;
                let schema = transform.schema().clone();
                let batches = transform.run().await.map_err(transform_failed)?;
                let batches = batches.map(|batch| batch.map_err(transform_failed));
                load.copy(file_id, &schema, batches, failed).await?;
            }
        }
        Ok(by_row.into_values().collect())
    }
}

/// Why a row cannot go through the contract, where it cannot: the column and the reason.
fn missing(pipeline: &Pipeline, row: &Refused) -> Option<(String, String)> {
    if row.rule == SHAPE_RULE {
        // Which of its cells is missing only the file's author can tell.
        return Some((row.column.clone(), row.reason.clone()));
    }
    if [UNIQUE, ARCHIVED_RULE].contains(&row.rule.as_str()) && pipeline.transform.is_some() {
        return Some((row.column.clone(), "it was kept as the transform made it: load its file again".to_owned()));
    }
    let contract = &pipeline.definition.contract;
    if row.rule == UNIQUE && contract.rules_of(RuleKind::Unique).any(|(column, _)| column.name == row.column) {
        return Some((row.column.clone(), "a later row of its file has the same value".to_owned()));
    }
    let columns = &contract.columns;
    let lost = columns.iter().find(|column| !column.optional && row.value(&column.name).is_none())?;
    Some((lost.name.clone(), format!("`{}` was not kept when the row was refused: load its file again", lost.name)))
}

fn stays(
    report: &mut RunReport,
    row: &Refused,
    column: String,
    rule: &str,
    reason: String,
    value: Option<String>,
) -> Verdict {
    report.rows_quarantined += 1;
    let shown = match &row.sheet {
        Some(sheet) => format!("{} [{sheet}]", row.file),
        None => row.file.clone(),
    };
    report.add_samples([sample(&shown, row.row, &column, rule, &reason)]);
    Verdict {
        id: row.id,
        state: QuarantineState::Open,
        refusal: Some(Refusal { column, rule: rule.to_owned(), reason, value }),
    }
}

/// The rows as the file gave them, under the contract's present columns.
fn raw_batch(pipeline: &Pipeline, rows: &[Refused]) -> RecordBatch {
    let contract = &pipeline.definition.contract;
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for column in &contract.columns {
        let texts: StringArray = rows.iter().map(|row| row.value(&column.name).flatten()).collect();
        arrays.push(Arc::new(texts));
    }
    arrays.push(Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.row))));
    RecordBatch::try_new(contract.raw_schema(), arrays).expect("an array was made for each column of the contract")
}
