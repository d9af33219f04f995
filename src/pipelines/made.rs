//! What runs make of other loads' rows: tables of their own, and how those are loaded.
//!
//! A run that makes rows is noted like one that reads files: each table gets a load, which
//! names the loads that it was made of and goes when they are taken back.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef};
use chrono::NaiveDate;

use super::error::Error;
use super::forecasting::is_of_forecasts;
use super::report::{FileReport, RunReport, Status};
use super::runner::Engine;
use super::staffing::is_of_staffing;
use super::tables;
use super::turn_tables::Turn;
use crate::ids::BrandId;
use crate::warehouse::{FileEntry, LoadError, Table, WriteDisposition, columns_of};

/// A table's name, its rows' shape, its key, and where it is partitioned.
pub(super) struct Shape {
    pub(super) name: &'static str,
    pub(super) fields: Vec<Field>,
    pub(super) key: &'static [&'static str],
    pub(super) partition_by: Option<&'static str>,
    pub(super) indexes: &'static [&'static [&'static str]],
}

impl Shape {
    pub(super) fn table(&self, brand: &BrandId) -> Table {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        // What a run makes for such a table is all there is of its series.
        let whole = self.partition_by.is_none();
        Table {
            schema: brand.schema(),
            name: self.name.to_owned(),
            columns: columns_of(&Schema::new(self.fields.clone())).expect("each of our columns can be stored"),
            key: owned(self.key),
            partition_by: self.partition_by.map(str::to_owned),
            window: if whole { owned(&["series"]) } else { Vec::new() },
            disposition: if whole { WriteDisposition::ReplaceWindow } else { WriteDisposition::Merge },
            indexes: self.indexes.iter().map(|names| owned(names)).collect(),
        }
    }

    pub(super) fn batch(&self, brand: &BrandId, columns: Vec<ArrayRef>) -> Batch {
        let schema: SchemaRef = Arc::new(Schema::new(self.fields.clone()));
        let rows = RecordBatch::try_new(schema, columns).expect("each column got each row");
        Batch { table: self.table(brand), rows }
    }
}

/// A column that always has a value.
pub(super) fn field(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

/// A column that may be empty.
pub(super) fn maybe(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

/// An amount with two places.
pub(super) fn money(name: &str) -> Field {
    field(name, DataType::Decimal128(14, 2))
}

/// Whether a table's rows are made by runs, of no file.
pub(super) fn is_made(table: &str) -> bool {
    is_of_forecasts(table) || is_of_staffing(table)
}

/// Rows for one of the tables.
pub(super) struct Batch {
    pub(super) table: Table,
    pub(super) rows: RecordBatch,
}

/// What was made, and of what.
pub(super) struct Made {
    /// The tables' rows. With the last one the run ends.
    pub(super) batches: Vec<Batch>,
    /// What tells this content from any other.
    pub(super) content_hash: String,
    /// Under which name it stands in the ledger.
    pub(super) name: String,
    /// The series, which tells apart what the tables hold.
    pub(super) series: String,
    /// The loads that it was made of, and with which it is taken back.
    pub(super) inputs: Vec<i64>,
}

impl Engine {
    /// Loads what a run made; with the last table the run has succeeded. A run that died before is made again.
    pub(super) async fn load_made(&self, turn: &Turn, report: &mut RunReport, made: Made) -> Result<(), Error> {
        let count = made.batches.len();
        for (at, batch) in made.batches.into_iter().enumerate() {
            let last = at + 1 == count;
            let into = batch.table.name.clone();
            let failed = |source: LoadError| Error::Load { table: into.clone(), source };
            let name = if last { made.name.clone() } else { format!("{}:{}", batch.table.name, made.series) };
            let entry = FileEntry { name, content_hash: made.content_hash.clone(), ..FileEntry::default() };
            let mut load = self.begin(turn, report, batch.table).await?;
            let file_id = load.open_file(&entry).await.map_err(failed)?;
            let rows = batch.rows.num_rows() as u64;
            let schema = batch.rows.schema();
            load.copy(file_id, &schema, futures::stream::iter([Ok(batch.rows)]), failed).await?;
            load.close_file(file_id, None, rows).await.map_err(failed)?;
            let counts = load.merge().await.map_err(failed)?;
            tables::note_inputs(&mut load, &made.inputs).await?;
            if last {
                let (name, content_hash) = (entry.name, entry.content_hash);
                report.files.push(FileReport { name, content_hash, rows_read: rows, ..FileReport::default() });
                report.rows_read = rows;
                report.count(counts);
                report.status = Status::Succeeded;
                tables::no_longer_stale(load.connection(), &report.pipeline, &report.brand).await?;
                tables::close_run(load.connection(), report, self.clock.now()).await?;
            }
            load.commit(self.clock.now()).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Whether exactly this was made before; what had to be made again then is.
    pub(super) async fn made_before(&self, report: &RunReport, name: &str, content_hash: &str) -> Result<bool, Error> {
        let (pipeline, brand) = (&report.pipeline, &report.brand);
        if !tables::same_content(&self.warehouse, pipeline, brand, name, content_hash).await? {
            return Ok(false);
        }
        let mut connection = self.warehouse.pool().acquire().await.map_err(tables::failed("note what was made"))?;
        tables::no_longer_stale(&mut connection, pipeline, brand).await?;
        Ok(true)
    }
}

pub(super) fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

pub(super) fn days(date: NaiveDate) -> i32 {
    Date32Type::from_naive_date(date)
}

pub(super) fn dates(values: impl Iterator<Item = NaiveDate>) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(values.map(days)))
}

pub(super) fn numbers(values: impl Iterator<Item = usize>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.map(|value| value as i64)))
}

pub(super) fn amounts(values: impl Iterator<Item = f64>) -> ArrayRef {
    let cents = Decimal128Array::from_iter_values(values.map(|value| (value * 100.0).round() as i128));
    Arc::new(cents.with_precision_and_scale(14, 2).expect("14 digits hold a day's value"))
}
