//! The one path a row takes, whatever started the run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use chrono::NaiveDate;
use futures::FutureExt as _;
use sqlx::PgConnection;
use tracing::{Instrument as _, error, info, info_span, warn};

use super::acquire::{Acquired, Doors, Wish};
use super::definition::Pipeline;
use super::error::Error;
use super::item_tables::{self, Holder};
use super::judging::{blank, sample};
use super::report::{FileReport, RunReport, Status, Trigger};
use super::tables;
use super::tracking::Tracked;
use super::turn_tables::Turn;
use super::{columns, crash};
use crate::clock::Clock;
use crate::contracts::Reference;
use crate::ids::{BrandId, PipelineName};
use crate::settings;
use crate::telemetry::chain;
use crate::warehouse::{ARCHIVED_RULE, Load, LoadError, Table, Warehouse, WriteDisposition};
use crate::words::counted;

/// Runs pipelines. Clones share the doors and the warehouse.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) warehouse: Warehouse,
    pub(super) doors: Doors,
    pub(super) clock: Clock,
    pub(super) keeping: settings::Warehouse,
}

/// What is asked of a run.
#[derive(Debug, Clone)]
pub struct Order {
    /// Why it starts.
    pub trigger: Trigger,
    /// A file handed over instead of the source.
    pub file: Option<PathBuf>,
    /// Whether to read again what was loaded before.
    pub full: bool,
}

impl Engine {
    /// Puts the engine together.
    pub fn new(warehouse: Warehouse, doors: Doors, clock: Clock, keeping: settings::Warehouse) -> Self {
        Self { warehouse, doors, clock, keeping }
    }

    /// The warehouse it loads into.
    pub fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    /// Runs one pipeline for one brand. A failure is an answer: the report says
    /// what went wrong and what to do.
    ///
    /// # Errors
    /// When the run could not even be noted.
    pub async fn run(&self, pipeline: &Pipeline, brand: &BrandId, order: &Order) -> Result<RunReport, Error> {
        let turn = Turn::take(&self.warehouse, &pipeline.name, brand).await?;
        let (mut report, started) = self.open(&pipeline.name, brand, order.trigger).await?;
        report.notes.extend(turn.note());
        crash::point("run_opened");
        let span = info_span!("run", run.id = %report.run_id, pipeline = %pipeline.name, %brand);
        let outcome =
            self.load(&turn, pipeline, brand, order, &mut report, started).boxed().instrument(span.clone()).await;
        let report = span.in_scope(|| self.settle(report, started, outcome));
        if !report.status.has_loaded() {
            tables::close_run_alone(&self.warehouse, &report, self.clock.now()).await?;
        }
        turn.give_back().await;
        Ok(report)
    }

    /// Opens a run and its report.
    pub(super) async fn open(
        &self,
        pipeline: &PipelineName,
        brand: &BrandId,
        trigger: Trigger,
    ) -> Result<(RunReport, Instant), Error> {
        let started_at = self.clock.now();
        let run_id = tables::open_run(&self.warehouse, pipeline, brand, trigger, started_at).await?;
        let report = RunReport::blank(run_id, pipeline, brand, trigger, started_at);
        Ok((report, Instant::now()))
    }

    /// Opens a run's load, in its brand's schema.
    pub(super) async fn begin(&self, turn: &Turn, report: &mut RunReport, table: Table) -> Result<Load, Error> {
        let path = format!("{}.{}", table.schema, table.name);
        let (today, now) = (self.today(&report.brand), self.clock.now());
        let begun = Load::begin(&self.warehouse, report.run_id, &report.pipeline, &report.brand, table, today, now);
        let mut load = begun.await.map_err(|source| Error::Load { table: path, source })?;
        turn.guard(load.connection()).await?;
        tables::ensure_schema(load.connection(), &report.brand).await?;
        report.load_id = Some(load.id());
        Ok(load)
    }

    /// Turns an outcome into the report's last words.
    pub(super) fn settle(&self, mut report: RunReport, started: Instant, outcome: Result<(), Error>) -> RunReport {
        report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match outcome {
            Ok(()) if report.status == Status::NothingNew => info!("nothing new"),
            Ok(()) => info!(
                rows_loaded = report.rows_loaded,
                rows_quarantined = report.rows_quarantined,
                duration_ms = report.duration_ms,
                "loaded"
            ),
            Err(failure) => {
                let (run_id, pipeline, brand) = (report.run_id, report.pipeline.clone(), report.brand.clone());
                let (files, notes) = (std::mem::take(&mut report.files), std::mem::take(&mut report.notes));
                let duration_ms = report.duration_ms;
                report = RunReport::blank(run_id, &pipeline, &brand, report.trigger, report.started_at);
                report.duration_ms = duration_ms;
                (report.files, report.notes) = (files, notes);
                report.status = Status::Failed;
                report.error = Some(chain(&failure));
                report.hint = failure.hint().map(str::to_owned);
                error!(error = %chain(&failure), "run failed");
            }
        }
        report
    }

    /// The day it is for a brand.
    pub(super) fn today(&self, brand: &BrandId) -> NaiveDate {
        let zone = self.doors.brand(brand).map_or(chrono_tz::UTC, |brand| brand.time_zone);
        self.clock.today(zone)
    }

    async fn load(
        &self,
        turn: &Turn,
        pipeline: &Pipeline,
        brand: &BrandId,
        order: &Order,
        report: &mut RunReport,
        started: Instant,
    ) -> Result<(), Error> {
        let scratch = tempfile::tempdir()
            .map_err(|source| Error::Local { action: "make a folder for fetched files".to_owned(), source })?;
        let wish = Wish {
            warehouse: &self.warehouse,
            pipeline,
            brand,
            handed_over: order.file.as_deref(),
            full: order.full,
            into: scratch.path(),
            now: self.clock.now(),
        };
        let mut acquired = self.doors.acquire(&wish).await?;
        crash::point("files_fetched");
        report.notes.extend(acquired.notes.iter().cloned());
        if acquired.files.is_empty() && acquired.tracked.as_ref().is_none_or(Tracked::is_empty) {
            self.keep_progress_alone(pipeline, brand, &acquired).await?;
            report.notes.extend(self.put_aside(pipeline, brand, &acquired).await);
            return Ok(());
        }
        let mut pipeline = columns::recall(&self.warehouse, pipeline, brand).await?;
        let pipeline = &mut pipeline;
        let reference = self.reference(pipeline, brand).await?;
        let table = pipeline.table(brand);
        let path = format!("{}.{}", table.schema, table.name);
        let failed = |source: LoadError| Error::Load { table: path.clone(), source };
        let mut load = self.begin(turn, report, table.clone()).await?;
        crash::point("load_begun");
        let (names, refused) = self.stage_all(pipeline, &reference, &acquired, &mut load, report).await?;
        if !order.full && order.file.is_none() {
            self.yield_to_newer(&pipeline.name, &names, &mut load, report).await?;
        }
        if let Some(tracked) = &acquired.tracked {
            tracked.note(load.connection(), &pipeline.name, brand, &table).await?;
        }
        for (file_id, row, kept) in load.settle_duplicates().await.map_err(failed)? {
            report.rows_quarantined += 1;
            let file = names.get(&file_id).map_or("", |staged| &staged.shown);
            let key = pipeline.definition.contract.key.join(", ");
            report.add_samples([sample(file, row, &key, "unique", &format!("row {kept} has the same key"))]);
        }
        for (name, sql) in &pipeline.checks {
            load.check(name, sql).await.map_err(failed)?;
        }
        if let Some(looked) = &mut acquired.looked {
            looked.refuse(&refused);
        }
        crash::point("before_merge");
        let mut counts = load.merge().await.map_err(failed)?;
        for aside in load.set_aside() {
            report.rows_quarantined += 1;
            let file = names.get(&aside.file_id).map_or("", |staged| &staged.shown);
            report.add_samples([sample(file, aside.source_row, load.month_column(), ARCHIVED_RULE, &aside.reason)]);
        }
        if let Some(tracked) = &acquired.tracked {
            counts.deleted += tracked.sweep(&mut load, &pipeline.name, brand, &table).await?;
        }
        report.count(counts);
        if counts.deleted > 0 {
            report.notes.push(format!(
                "{} disappeared at the source and from the table",
                counted(counts.deleted, "row", "rows")
            ));
        }
        let contract = &pipeline.definition.contract;
        let allowed = contract.quarantine_threshold * report.rows_read as f64;
        report.over_threshold = report.rows_quarantined as f64 > allowed
            || contract.quarantine_limit_rows.is_some_and(|limit| report.rows_quarantined > limit);
        report.status = if refused.is_empty() { Status::Succeeded } else { Status::Partial };
        report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.keep_progress(load.connection(), pipeline, brand, &acquired).await?;
        tables::close_run(load.connection(), report, self.clock.now()).await?;
        crash::point("before_commit");
        load.commit(self.clock.now()).await.map_err(failed)?;
        crash::point("after_commit");
        let late = self.put_aside(pipeline, brand, &acquired).await;
        if !late.is_empty() {
            report.notes.extend(late);
            if let Err(error) = tables::close_run_alone(&self.warehouse, report, self.clock.now()).await {
                // The load stands; only its last notes are in no ledger.
                warn!(error = %chain(&error), "failed to add notes to the run");
            }
        }
        Ok(())
    }

    /// Keeps how far the source was read when there was nothing to load.
    async fn keep_progress_alone(
        &self,
        pipeline: &Pipeline,
        brand: &BrandId,
        acquired: &Acquired,
    ) -> Result<(), Error> {
        let query = |source| Error::Ledger { action: "keep how far the source was read", source };
        let mut transaction = self.warehouse.pool().begin().await.map_err(query)?;
        self.keep_progress(&mut transaction, pipeline, brand, acquired).await?;
        transaction.commit().await.map_err(query)
    }

    /// Keeps how far the source was read, together with what was read.
    async fn keep_progress(
        &self,
        connection: &mut PgConnection,
        pipeline: &Pipeline,
        brand: &BrandId,
        acquired: &Acquired,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        for (place, value) in &acquired.cursors {
            tables::keep_cursor(connection, &pipeline.name, brand, place, value, now).await?;
        }
        if let Some(looked) = &acquired.looked {
            let of = Holder { pipeline: &pipeline.name, brand, drive_id: &looked.drive_id };
            item_tables::keep(connection, of, &looked.updates, now).await?;
        }
        Ok(())
    }

    /// Moves files aside: a courtesy, whose failure is a note.
    async fn put_aside(&self, pipeline: &Pipeline, brand: &BrandId, acquired: &Acquired) -> Vec<String> {
        match &acquired.looked {
            None => Vec::new(),
            Some(looked) => {
                self.doors.put_aside(&self.warehouse, &pipeline.name, brand, looked, self.clock.now()).await
            }
        }
    }

    /// A file that was refused, and is good now that the contract was mended, comes late:
    /// what files changed later have said since stays.
    async fn yield_to_newer(
        &self,
        pipeline: &PipelineName,
        names: &BTreeMap<i64, Known>,
        load: &mut Load,
        report: &mut RunReport,
    ) -> Result<(), Error> {
        let hashes: Vec<String> = names.values().map(|known| known.content_hash.clone()).collect();
        let refused = tables::refused_before(&self.warehouse, pipeline, &report.brand, &hashes).await?;
        let late: Vec<i64> =
            names.iter().filter(|(_, known)| refused.contains(&known.content_hash)).map(|(id, _)| *id).collect();
        if late.is_empty() {
            return Ok(());
        }
        let gone = load.yield_to_newer(&late).await;
        let gone = gone.map_err(|source| Error::Load { table: pipeline.to_string(), source })?;
        if gone > 0 {
            let verb = if gone == 1 { "is" } else { "are" };
            report.notes.push(format!(
                "{} of files that were refused before {verb} older than what is there",
                counted(gone, "row", "rows")
            ));
        }
        Ok(())
    }

    /// Brings each file into staging on its own, oldest first. A file that is no good
    /// keeps no other from being loaded; it is not entered into the ledger, so that the
    /// next run reads it again. Answers with the names of those in staging, by id, and
    /// with the hashes of the others.
    async fn stage_all(
        &self,
        pipeline: &mut Pipeline,
        reference: &Reference,
        acquired: &Acquired,
        load: &mut Load,
        report: &mut RunReport,
    ) -> Result<(BTreeMap<i64, Known>, BTreeSet<String>), Error> {
        let mut before = tables::last_header(&self.warehouse, &pipeline.name, &report.brand).await?;
        let (mut names, mut refused) = (BTreeMap::new(), BTreeSet::new());
        let mut first_failure = None;
        for file in &acquired.files {
            let failure = match self.stage(pipeline, reference, file, &mut before, load).await {
                Ok(sheets) => {
                    self.keep_bytes(file, load).await?;
                    let mut rows_read = 0;
                    let mut first: Option<FileReport> = None;
                    for staged in sheets {
                        let known = Known { shown: staged.shown, content_hash: file.content_hash.clone() };
                        names.insert(staged.file_id, known);
                        rows_read += staged.report.rows_read;
                        report.rows_quarantined += staged.rows_quarantined;
                        report.add_samples(staged.samples);
                        report.notes.extend(staged.notes);
                        first.get_or_insert(staged.report);
                    }
                    report.rows_read += rows_read;
                    report.files.extend(first.map(|first| FileReport { rows_read, ..first }));
                    crash::point("file_copied");
                    continue;
                }
                Err(failure) => failure,
            };
            let drift = self.drift_of_refused(pipeline, file, &failure, before.as_deref()).await;
            let lines = drift.iter().flat_map(|drift| drift.lines(&pipeline.definition.contract));
            report.notes.extend(lines.map(|line| format!("{}: {line}", file.name)));
            let (error, hint) = (Some(chain(&failure)), failure.hint().map(str::to_owned));
            report.files.push(FileReport { error, hint, drift, ..blank(file) });
            // A table that the load replaces would lose the rows of a file that is left out.
            let replaces = pipeline.definition.destination.write_disposition == WriteDisposition::Replace;
            if failure.ends_the_run() || replaces {
                return Err(failure);
            }
            warn!(file = file.name, error = %chain(&failure), "file refused");
            refused.insert(file.content_hash.clone());
            first_failure.get_or_insert(failure);
        }
        match first_failure {
            Some(failure) if names.is_empty() => Err(failure),
            Some(failure) => {
                let (count, all) = (refused.len(), counted(acquired.files.len(), "file", "files"));
                let verb = if count == 1 { "was" } else { "were" };
                report.error = Some(format!("{count} of {all} {verb} refused: {}", chain(&failure)));
                report.hint = failure.hint().map(str::to_owned);
                Ok((names, refused))
            }
            None => Ok((names, refused)),
        }
    }

    pub(super) async fn reference(&self, pipeline: &Pipeline, brand: &BrandId) -> Result<Reference, Error> {
        let mut reference = Reference::default();
        for (table, column) in pipeline.lookups() {
            let values = tables::known_values(&self.warehouse, brand, &table, &column).await?;
            if values.is_empty() && table != pipeline.definition.destination.table {
                // Refusing every row of a file would bury the one mistake there is.
                return Err(Error::NoReference { table });
            }
            reference.insert(&table, &column, values);
        }
        Ok(reference)
    }
}

/// A file in staging.
struct Known {
    shown: String,
    content_hash: String,
}
