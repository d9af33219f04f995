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
    /// Brings a file into staging, sheet by sheet where several are asked for: each is
    /// a file of its own to the ledger, so that a row's sheet is known, and all of them
    /// come in or none. `pipeline` learns the columns that the file brings
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
    ) -> Result<Vec<Staged>, Error> {
        let table = pipeline.definition.destination.table.clone();
        let failed = |source: LoadError| Error::Load { table: table.clone(), source };
        let part = load.begin_part("file").await.map_err(failed)?;
        match self.stage_sheets(pipeline, reference, file, before, load).await {
            Ok((staged, reading, learned)) => {
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

    async fn stage_sheets(
        &self,
        pipeline: &Pipeline,
        reference: &Reference,
        file: &Fetched,
        before: &mut Option<Vec<SeenColumn>>,
        load: &mut Load,
    ) -> Result<(Vec<Staged>, Pipeline, Vec<columns::Learned>), Error> {
        let parts = self.parts(pipeline, file).await?;
        let several = parts.len() > 1;
        let (mut reading, mut sheets, mut learned) = (pipeline.clone(), Vec::new(), Vec::new());
        let mut empty = Vec::new();
        for part in parts {
            let sheet = part.as_ref().and_then(|part| part.sheet.clone()).unwrap_or_default();
            reading.definition.source.format = part;
            match self.try_twice(&mut reading, reference, file, before, load).await {
                Ok((staged, more)) => {
                    sheets.push(staged);
                    learned.extend(more);
                }
                Err(Error::File { source: formats::Error::Empty, .. }) if several => {
                    empty.push(format!("{}: sheet `{sheet}` has no rows", file.name));
                }
                Err(error) => return Err(error),
            }
        }
        reading.definition.source.format.clone_from(&pipeline.definition.source.format);
        let Some(first) = sheets.first_mut() else {
            return Err(Error::File { name: file.name.clone(), source: formats::Error::Empty });
        };
        first.notes.extend(empty);
        Ok((sheets, reading, learned))
    }

    /// Keeps the bytes of a file that is in staging, to become visible with its rows.
    pub(super) async fn keep_bytes(&self, file: &Fetched, load: &mut Load) -> Result<(), Error> {
        if self.keeping.keep_files_days == 0 {
            return Ok(());
        }
        let kept = load.keep_contents(&file.path, &file.content_hash, self.clock.now()).await;
        kept.map_err(|source| Error::Contents { name: file.name.clone(), source })
    }

    /// Takes a file apart into the sheets that its format asks for.
    async fn parts(&self, pipeline: &Pipeline, file: &Fetched) -> Result<Vec<Option<Format>>, Error> {
        let Some(format) = pipeline.definition.source.format.clone().filter(|format| !format.sheets.is_empty()) else {
            return Ok(vec![pipeline.definition.source.format.clone()]);
        };
        let limit_bytes = self.doors.limits().worksheet_limit_bytes;
        let path = file.path.clone();
        let parts = tokio::task::spawn_blocking(move || {
            let file = File::open(&path).map_err(formats::Error::Read)?;
            formats::parts(&format, limit_bytes, file)
        });
        let parts = parts.await.map_err(|source| Error::Worker { name: file.name.clone(), source })?;
        let parts = parts.map_err(|source| Error::File { name: file.name.clone(), source })?;
        Ok(parts.into_iter().map(Some).collect())
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
        (None, SourceKind::Dataverse) | (None, _) => Format::new(Kind::JsonLines),
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
