//! One file's way into staging: read, checked, reshaped, copied; or taken back.
//!
//! A file that is no good takes nothing but itself back. One whose dates or
//! numbers can be read in two ways is gone through once more, to decide.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::definition::{Pipeline, SourceKind};
use super::error::Error;
use super::judging::Staged;
use super::runner::Engine;
use super::{columns, tables};
use crate::contracts::{
    self, Contract, ControlFailure, ControlSums, NewColumns, Reference, Rejection, SeenColumn, Survey, TotalRow,
};
use crate::formats::{self, Facts, Format, Kind, Wanted};
use crate::sources::Fetched;
use crate::transforms::Transform;
use crate::warehouse::{FileEntry, Load, LoadError};

/// Batches that wait between the reader and the database.
const BATCHES_AHEAD: usize = 4;

/// What came of reading a file's bytes.
pub(super) struct Read {
    pub(super) rejected: Vec<(Rejection, Vec<Option<String>>)>,
    pub(super) warned: Vec<(String, &'static str, u64)>,
    pub(super) control: Vec<ControlFailure>,
    /// Whether it ended at a value that only all values together can explain.
    undecided: bool,
    facts: Result<Facts, formats::Error>,
}

impl Engine {
    /// Brings a file into staging. `pipeline` learns the columns that the file brings
    /// along, where the contract says so; `before` is the header of the file before.
    ///
    /// # Errors
    /// When the file is no good, and then nothing of it is left; or when PostgreSQL
    /// refuses, and then the load is over ([`Error::ends_the_run`]).
    pub(super) async fn stage(
        &self,
        pipeline: &mut Pipeline,
        reference: &Reference,
        file: &Fetched,
        before: &mut Option<Vec<SeenColumn>>,
        load: &mut Load,
    ) -> Result<Staged, Error> {
        let table = pipeline.definition.destination.table.clone();
        let failed = |source: LoadError| Error::Load { table: table.clone(), source };
        let part = load.begin_part("file").await.map_err(failed)?;
        let mut reading = pipeline.clone();
        match self.try_twice(&mut reading, reference, file, before, load).await {
            Ok((staged, learned)) => {
                load.keep_part(part).await.map_err(failed)?;
                columns::take_over(pipeline, &reading, &learned);
                Ok(staged)
            }
            Err(error) => {
                if !error.ends_the_run() {
                    load.take_back(part).await.map_err(failed)?;
                }
                Err(error)
            }
        }
    }

    /// Reads a file as the contract stands; and once more where the file asks for a
    /// contract that says more.
    async fn try_twice(
        &self,
        reading: &mut Pipeline,
        reference: &Reference,
        file: &Fetched,
        before: &mut Option<Vec<SeenColumn>>,
        load: &mut Load,
    ) -> Result<(Staged, Vec<columns::Learned>), Error> {
        let table = reading.definition.destination.table.clone();
        let failed = |source: LoadError| Error::Load { table: table.clone(), source };
        let part = load.begin_part("first_reading").await.map_err(failed)?;
        let (file_id, read, facts) = self.attempt(reading, reference, file, load, true).await?;
        let evolves = reading.definition.contract.new_columns == NewColumns::Evolve;
        let unknown = if evolves { facts.ignored_columns.as_slice() } else { &[] };
        if !read.undecided && unknown.is_empty() {
            load.keep_part(part).await.map_err(failed)?;
            let staged = self.judge(reading, file, file_id, read, facts, before, load).await?;
            return Ok((staged, Vec::new()));
        }
        load.take_back(part).await.map_err(failed)?;
        let learned = columns::learn(reading, unknown).await?;
        let mut notes = Vec::new();
        if read.undecided {
            let (contract, decided) = self.survey(reading, file).await?;
            reading.definition.contract = contract;
            notes.extend(decided.into_iter().map(|note| format!("{}: {note}", file.name)));
        }
        load.add_columns(&reading.columns).await.map_err(failed)?;
        let (file_id, read, facts) = self.attempt(reading, reference, file, load, false).await?;
        let mut staged = self.judge(reading, file, file_id, read, facts, before, load).await?;
        for column in &learned {
            tables::remember_column(load, column).await?;
            notes.push(format!("{}: {}", file.name, column.line(reading)));
        }
        staged.notes.splice(0..0, notes);
        Ok((staged, learned))
    }

    /// Reads a file into staging; with `watch` it stops at what a survey must decide.
    async fn attempt(
        &self,
        pipeline: &Pipeline,
        reference: &Reference,
        file: &Fetched,
        load: &mut Load,
        watch: bool,
    ) -> Result<(i64, Read, Facts), Error> {
        let failed = |source: LoadError| Error::Load { table: pipeline.definition.destination.table.clone(), source };
        let file_id = load.open_file(&entry(file)).await.map_err(failed)?;
        let (batches, reader) = self.start_reading(pipeline, reference.clone(), file, watch);
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
        let mut read = reader.await.map_err(|source| Error::Worker { name: file.name.clone(), source })?;
        let facts = std::mem::replace(&mut read.facts, Err(formats::Error::Empty));
        let facts = facts.map_err(|source| Error::File { name: file.name.clone(), source })?;
        Ok((file_id, read, facts))
    }

    /// Parses and checks a file on a thread of its own: with [`Self::look`] the one
    /// place where work that keeps a processor busy leaves the async threads.
    fn start_reading(
        &self,
        pipeline: &Pipeline,
        reference: Reference,
        file: &Fetched,
        watch: bool,
    ) -> (impl Stream<Item = RecordBatch> + Send + use<>, JoinHandle<Read>) {
        let (sender, mut receiver) = mpsc::channel(BATCHES_AHEAD);
        let (wanted, contract) = (pipeline.wanted(), pipeline.definition.contract.clone());
        let format = format_of(pipeline);
        let limit_bytes = self.doors.limits().worksheet_limit_bytes;
        let path = file.path.clone();
        let reader = tokio::task::spawn_blocking(move || {
            let (rejected, warned, control) = (Vec::new(), Vec::new(), Vec::new());
            let mut read = Read { rejected, warned, control, undecided: false, facts: Err(formats::Error::Empty) };
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(source) => {
                    read.facts = Err(formats::Error::Read(source));
                    return read;
                }
            };
            let mut warned = BTreeMap::new();
            let mut sums = ControlSums::of(&contract);
            read.facts = formats::read(&format, &wanted, limit_bytes, BufReader::new(file), &mut |raw| {
                if watch && contracts::undecided(&contract, &raw) {
                    read.undecided = true;
                    return false;
                }
                if let Some(sums) = &mut sums {
                    sums.take(&raw);
                }
                let checked = contracts::check(&contract, &raw, &reference);
                read.rejected.extend(checked.rejected.into_iter().zip(checked.rejected_rows));
                for (key, count) in checked.warned {
                    *warned.entry(key).or_insert(0) += count;
                }
                checked.accepted.num_rows() == 0 || sender.blocking_send(checked.accepted).is_ok()
            });
            read.warned = warned.into_iter().map(|((column, rule), count)| (column, rule, count)).collect();
            if let (Some(sums), Ok(facts)) = (&sums, &read.facts) {
                let total = |(row, cells): &(u64, Vec<Option<String>>)| TotalRow { row: *row, cells: cells.clone() };
                read.control = sums.compare(&facts.totals.iter().map(total).collect::<Vec<_>>());
            }
            read
        });
        let batches = futures::stream::poll_fn(move |context| receiver.poll_recv(context));
        (batches, reader)
    }

    /// Goes through a whole file to decide how its dates and numbers are written.
    async fn survey(&self, pipeline: &Pipeline, file: &Fetched) -> Result<(Contract, Vec<String>), Error> {
        let contract = &pipeline.definition.contract;
        let take = |survey: &mut Survey, raw: &RecordBatch| {
            survey.take(raw);
            true
        };
        let (facts, survey) = self.look(pipeline, pipeline.wanted(), file, Survey::of(contract), take).await?;
        facts.map_err(|source| Error::File { name: file.name.clone(), source })?;
        survey.decide(contract).map_err(|columns| Error::Undecidable { name: file.name.clone(), columns })
    }

    /// Shows a file's raw rows to `take`, until it answers false; nothing is loaded.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        pipeline: &Pipeline,
        wanted: Wanted,
        file: &Fetched,
        mut seen: T,
        mut take: impl FnMut(&mut T, &RecordBatch) -> bool + Send + 'static,
    ) -> Result<(Result<Facts, formats::Error>, T), Error> {
        let format = format_of(pipeline);
        let limit_bytes = self.doors.limits().worksheet_limit_bytes;
        let path = file.path.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(source) => return (Err(formats::Error::Read(source)), seen),
            };
            let facts =
                formats::read(&format, &wanted, limit_bytes, BufReader::new(file), &mut |raw| take(&mut seen, &raw));
            (facts, seen)
        });
        looked.await.map_err(|source| Error::Worker { name: file.name.clone(), source })
    }
}

/// How a pipeline's files are encoded.
pub(super) fn format_of(pipeline: &Pipeline) -> Format {
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
