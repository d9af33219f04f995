//! The one path a row takes, whatever started the run.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Instant;

use arrow::array::RecordBatch;
use chrono::{DateTime, NaiveDate, Utc};
use futures::{FutureExt as _, Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{Instrument as _, error, info, info_span, warn};

use super::acquire::{Acquired, Doors};
use super::crash;
use super::definition::{Pipeline, SourceKind};
use super::error::Error;
use super::report::{FileReport, QuarantineSample, RunReport, Status, Trigger};
use super::tables::{self, Turn};
use crate::clock::Clock;
use crate::contracts::{self, Reference, Rejection, Severity};
use crate::formats::{self, Facts, Format, Kind};
use crate::ids::{BrandId, PipelineName};
use crate::sources::Fetched;
use crate::telemetry::chain;
use crate::transforms::Transform;
use crate::warehouse::{FileEntry, Load, LoadError, Table, Warehouse};

/// Batches that wait between the reader and the database.
const BATCHES_AHEAD: usize = 4;
/// Quarantined rows that a report shows.
const SAMPLES: usize = 20;

/// Runs pipelines. Clones share the doors and the warehouse.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) warehouse: Warehouse,
    pub(super) doors: Doors,
    pub(super) clock: Clock,
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
    pub fn new(warehouse: Warehouse, doors: Doors, clock: Clock) -> Self {
        Self { warehouse, doors, clock }
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
        crash::point("run_opened");
        let span = info_span!("run", run.id = %report.run_id, pipeline = %pipeline.name, %brand);
        let outcome = self.load(pipeline, brand, order, &mut report, started).boxed().instrument(span.clone()).await;
        let report = span.in_scope(|| self.settle(report, started, outcome));
        if report.status != Status::Succeeded {
            tables::close_run_alone(&self.warehouse, &report, self.clock.now()).await?;
        }
        turn.give_back().await?;
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
    pub(super) async fn begin(&self, report: &mut RunReport, table: Table) -> Result<Load, Error> {
        let path = format!("{}.{}", table.schema, table.name);
        let (today, now) = (self.today(&report.brand), self.clock.now());
        let begun = Load::begin(&self.warehouse, report.run_id, &report.pipeline, &report.brand, table, today, now);
        let mut load = begun.await.map_err(|source| Error::Load { table: path, source })?;
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
                let files = std::mem::take(&mut report.files);
                let duration_ms = report.duration_ms;
                report = RunReport::blank(run_id, &pipeline, &brand, report.trigger, report.started_at);
                report.duration_ms = duration_ms;
                report.files = files;
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
        pipeline: &Pipeline,
        brand: &BrandId,
        order: &Order,
        report: &mut RunReport,
        started: Instant,
    ) -> Result<(), Error> {
        let scratch = tempfile::tempdir()
            .map_err(|source| Error::Local { action: "make a folder for fetched files".to_owned(), source })?;
        let acquired = self
            .doors
            .acquire(&self.warehouse, pipeline, brand, order.file.as_deref(), order.full, scratch.path())
            .await?;
        crash::point("files_fetched");
        report.notes.extend(acquired.notes.iter().cloned());
        if acquired.files.is_empty() {
            return Ok(());
        }
        let reference = self.reference(pipeline, brand).await?;
        let table = pipeline.table(brand);
        let path = format!("{}.{}", table.schema, table.name);
        let failed = |source: LoadError| Error::Load { table: path.clone(), source };
        let mut load = self.begin(report, table).await?;
        crash::point("load_begun");
        let mut names = std::collections::BTreeMap::new();
        for file in &acquired.files {
            let read = self.read_file(pipeline, &reference, file, &mut load, report).await?;
            names.insert(read.0, read.1);
            crash::point("file_copied");
        }
        for (file_id, row, kept) in load.settle_duplicates().await.map_err(failed)? {
            report.rows_quarantined += 1;
            sample(
                report,
                names.get(&file_id).cloned().unwrap_or_default(),
                row,
                &pipeline.definition.contract.key.join(", "),
                "unique",
                &format!("row {kept} has the same key"),
            );
        }
        for (name, sql) in &pipeline.checks {
            load.check(name, sql).await.map_err(failed)?;
        }
        crash::point("before_merge");
        let counts = load.merge().await.map_err(failed)?;
        report.count(counts);
        if counts.deleted > 0 {
            report.notes.push(format!("{} rows disappeared at the source and from the table", counts.deleted));
        }
        let allowed = pipeline.definition.contract.quarantine_threshold * report.rows_read as f64;
        report.over_threshold = report.rows_quarantined as f64 > allowed;
        report.status = Status::Succeeded;
        report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tables::close_run(load.connection(), report, self.clock.now()).await?;
        crash::point("before_commit");
        load.commit().await.map_err(failed)?;
        crash::point("after_commit");
        report.notes.extend(archive(&acquired, self.clock.now()).await);
        Ok(())
    }

    /// Reads one file into staging; answers with its id and what people call it.
    async fn read_file(
        &self,
        pipeline: &Pipeline,
        reference: &Reference,
        file: &Fetched,
        load: &mut Load,
        report: &mut RunReport,
    ) -> Result<(i64, String), Error> {
        let failed = |source: LoadError| Error::Load { table: pipeline.definition.destination.table.clone(), source };
        report.files.push(FileReport {
            name: file.name.clone(),
            content_hash: file.content_hash.clone(),
            rows_read: 0,
        });
        let file_id = load.open_file(&entry(file)).await.map_err(failed)?;
        let (batches, reader) = self.start_reading(pipeline, reference.clone(), &file.path);
        let transform_failed = |source| Error::Transform { name: file.name.clone(), source };
        let schema = pipeline.definition.contract.schema();
        match &pipeline.transform {
            None => {
                let batches = batches.map(Ok::<_, Error>);
                load.copy(file_id, &schema, batches, failed).await?
            }
            Some(sql) => {
                let transform = Transform::new(sql, schema, batches).await.map_err(transform_failed)?;
                let schema = transform.schema().clone();
                let batches = transform.run().await.map_err(transform_failed)?;
                let batches = batches.map(|batch| batch.map_err(transform_failed));
                load.copy(file_id, &schema, batches, failed).await?
            }
        };
        let read = reader.await.map_err(|source| Error::Worker { name: file.name.clone(), source })?;
        let facts = read.facts.map_err(|source| Error::File { name: file.name.clone(), source })?;
        if let Some((rejection, _)) = read.rejected.iter().find(|(rejection, _)| rejection.severity == Severity::Fail) {
            return Err(Error::Row {
                name: file.name.clone(),
                row: rejection.row,
                column: rejection.column.clone(),
                rule: rejection.rule,
                reason: rejection.reason.clone(),
            });
        }
        let columns: Vec<String> =
            pipeline.definition.contract.columns.iter().map(|column| column.name.clone()).collect();
        load.quarantine(file_id, &columns, &read.rejected).await.map_err(failed)?;
        load.close_file(file_id, facts.sheet.as_deref(), facts.rows_read).await.map_err(failed)?;
        let shown = match &facts.sheet {
            Some(sheet) => format!("{} [{sheet}]", file.name),
            None => file.name.clone(),
        };
        if let Some(last) = report.files.last_mut() {
            last.rows_read = facts.rows_read;
        }
        report.rows_read += facts.rows_read;
        report.rows_quarantined += read.rejected.len() as u64;
        for (rejection, _) in &read.rejected {
            sample(report, shown.clone(), rejection.row, &rejection.column, rejection.rule, &rejection.reason);
        }
        report.notes.extend(notes_of(&shown, &facts, &read.warned));
        Ok((file_id, shown))
    }

    /// Parses and checks a file on a thread of its own: the one place where
    /// work that keeps a processor busy leaves the async threads.
    fn start_reading(
        &self,
        pipeline: &Pipeline,
        reference: Reference,
        path: &Path,
    ) -> (impl Stream<Item = RecordBatch> + Send + use<>, JoinHandle<Read>) {
        let (sender, mut receiver) = mpsc::channel(BATCHES_AHEAD);
        let (wanted, contract) = (pipeline.wanted(), pipeline.definition.contract.clone());
        let format = format_of(pipeline);
        let limit_bytes = self.doors.limits().worksheet_limit_bytes;
        let path = path.to_owned();
        let reader = tokio::task::spawn_blocking(move || {
            let mut read = Read { facts: Err(formats::Error::Empty), rejected: Vec::new(), warned: Vec::new() };
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(source) => {
                    read.facts = Err(formats::Error::Read(source));
                    return read;
                }
            };
            let mut warned = std::collections::BTreeMap::new();
            read.facts = formats::read(&format, &wanted, limit_bytes, BufReader::new(file), &mut |raw| {
                let checked = contracts::check(&contract, &raw, &reference);
                read.rejected.extend(checked.rejected.into_iter().zip(checked.rejected_rows));
                for (key, count) in checked.warned {
                    *warned.entry(key).or_insert(0) += count;
                }
                checked.accepted.num_rows() == 0 || sender.blocking_send(checked.accepted).is_ok()
            });
            read.warned = warned.into_iter().map(|((column, rule), count)| (column, rule, count)).collect();
            read
        });
        let batches = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        (batches, reader)
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

/// What came of reading a file.
struct Read {
    facts: Result<Facts, formats::Error>,
    rejected: Vec<(Rejection, Vec<Option<String>>)>,
    warned: Vec<(String, &'static str, u64)>,
}

fn format_of(pipeline: &Pipeline) -> Format {
    match (&pipeline.definition.source.format, pipeline.definition.source.kind) {
        (Some(format), _) => format.clone(),
        (None, SourceKind::Dataverse) | (None, _) => {
            Format { kind: Kind::JsonLines, sheet: None, header: None, delimiter: None, encoding: None }
        }
    }
}

fn entry(file: &Fetched) -> FileEntry {
    let remote = file.remote.as_ref();
    FileEntry {
        name: file.name.clone(),
        content_hash: file.content_hash.clone(),
        size_bytes: file.size_bytes,
        drive_id: remote.map(|remote| remote.drive_id.clone()),
        item_id: remote.map(|remote| remote.item_id.clone()),
        version: remote.map(|remote| remote.version.clone()),
        modified_at: remote.and_then(|remote| remote.modified_at),
        modified_by: remote.and_then(|remote| remote.modified_by.clone()),
    }
}

pub(super) fn sample(report: &mut RunReport, file: String, row: i64, column: &str, rule: &str, reason: &str) {
    if report.quarantine.len() < SAMPLES {
        report.quarantine.push(QuarantineSample {
            file,
            row: u64::try_from(row).unwrap_or(0),
            column: column.to_owned(),
            rule: rule.to_owned(),
            reason: reason.to_owned(),
        });
    }
}

fn notes_of(file: &str, facts: &Facts, warned: &[(String, &'static str, u64)]) -> Vec<String> {
    let mut notes = Vec::new();
    for (reason, count) in &facts.left_out {
        let rows = if *count == 1 { "row" } else { "rows" };
        notes.push(format!("{file}: {count} {rows} left out as {reason}"));
    }
    if !facts.ignored_columns.is_empty() {
        notes.push(format!("{file}: columns not in the contract: {}", facts.ignored_columns.join(", ")));
    }
    for (column, rule, count) in warned {
        notes.push(format!("{file}: {count} rows break rule `{rule}` on `{column}` and were loaded all the same"));
    }
    notes
}

/// Moves files aside: a courtesy, whose failure is a note.
async fn archive(acquired: &Acquired, now: DateTime<Utc>) -> Vec<String> {
    let mut notes = Vec::new();
    let Some((drive, folder)) = &acquired.archive else {
        return notes;
    };
    for remote in acquired.files.iter().filter_map(|file| file.remote.as_ref()) {
        if let Some(note) = drive.archive(remote, folder, now).await {
            warn!(note, "archiving failed");
            notes.push(note);
        }
    }
    notes
}
