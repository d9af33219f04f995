//! Cells of a file, read once more from its kept bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Seek as _, SeekFrom};

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;

use super::explainer::{ExplainError, Explainer};
use crate::formats::{self, Facts, Format, Kind, Wanted};
use crate::ids::ROW;
use crate::pipelines::columns::{any_of, same};
use crate::pipelines::reading::format_of;
use crate::pipelines::{Error, Pipeline};
use crate::warehouse::contents::{self, Kept};
use crate::warehouse::origins::FileFacts;

/// What came of looking for cells.
pub(super) enum Cells {
    /// The file was read.
    Read(ReadCells),
    /// It was not: why, and what to do about it.
    Not(String),
}

/// Cells of some rows of a file.
#[derive(Debug, Default)]
pub(super) struct ReadCells {
    /// The contract's columns, in their order, with the file's name for each.
    columns: Vec<(String, Option<String>)>,
    rows: BTreeMap<i64, Vec<Option<String>>>,
    /// What was found in the file besides; of the part that was read.
    pub(super) facts: Facts,
}

impl ReadCells {
    /// Whether a row was read as one.
    pub(super) fn has(&self, row: i64) -> bool {
        self.rows.contains_key(&row)
    }

    /// The file's name for a column.
    pub(super) fn source_column(&self, column: &str) -> Option<String> {
        self.columns.iter().find(|(name, _)| name == column)?.1.clone()
    }

    /// What stands in a cell.
    pub(super) fn text(&self, row: i64, column: &str) -> Option<String> {
        let at = self.columns.iter().position(|(name, _)| name == column)?;
        self.rows.get(&row)?.get(at)?.clone()
    }
}

impl Explainer<'_> {
    /// Reads rows of a file from its kept bytes, by the definition as it reads now. With
    /// no rows named, the whole file is gone through for its facts.
    pub(super) async fn cells(
        &self,
        pipeline: Option<&Pipeline>,
        file: &FileFacts,
        rows: &BTreeSet<i64>,
    ) -> Result<Cells, ExplainError> {
        let Some(pipeline) = pipeline else {
            return Ok(Cells::Not(format!("no definition `{}` is left that says how to read the file", file.pipeline)));
        };
        let again = format!("`storekeeper run {} --full` keeps it where the source still has it", file.pipeline);
        let pruned = || {
            Cells::Not(format!(
                "the file's bytes are no longer kept (`warehouse.keep_files_days` says for how long); {again}"
            ))
        };
        let kept = contents::find(self.warehouse, &file.content_hash).await.map_err(ExplainError::Contents)?;
        let content_id = match kept {
            Kept::Here { content_id } => content_id,
            Kept::Pruned(_) => return Ok(pruned()),
            Kept::Never => {
                return Ok(Cells::Not(format!(
                    "the file's bytes were not kept: `warehouse.keep_files_days` was 0 when it was loaded, or an \
                     earlier version of the program loaded it; {again}"
                )));
            }
        };
        let Some(bytes) = contents::read_back(self.warehouse, content_id).await.map_err(ExplainError::Contents)? else {
            return Ok(pruned());
        };
        let mut format = format_of(pipeline);
        if let (Some(sheet), Kind::Xlsx | Kind::Xls) = (&file.sheet, format.kind) {
            format.sheet = Some(sheet.clone());
            format.sheets.clear();
        }
        let columns = pipeline.definition.contract.columns.iter();
        let columns: Vec<(String, Vec<String>)> = columns
            .map(|column| (column.name.clone(), column.names().into_iter().map(str::to_owned).collect()))
            .collect();
        // A column that the contract names by now need not be in an older file.
        let (wanted, lenient) = (pipeline.wanted(), any_of(pipeline, &[]));
        let (rows, limit_bytes) = (rows.clone(), self.worksheet_limit_bytes);
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = bytes;
            match read(&format, &wanted, limit_bytes, &bytes, &rows) {
                Err(
                    formats::Error::NoHeader { .. }
                    | formats::Error::HeaderElsewhere { .. }
                    | formats::Error::NewColumns { .. },
                ) => {
                    bytes.seek(SeekFrom::Start(0)).map_err(formats::Error::Read)?;
                    read(&format, &lenient, limit_bytes, &bytes, &rows)
                }
                outcome => outcome,
            }
        });
        let read =
            read.await.map_err(|source| ExplainError::Pipeline(Error::Worker { name: file.name.clone(), source }))?;
        Ok(match read {
            Ok((rows, facts)) => {
                let named = |names: &Vec<String>| {
                    names.iter().find_map(|name| facts.header.iter().find(|header| same(header, name)).cloned())
                };
                let columns = columns.iter().map(|(column, names)| (column.clone(), named(names))).collect();
                Cells::Read(ReadCells { columns, rows, facts })
            }
            Err(error) => Cells::Not(format!(
                "the definition as it is now cannot read the kept file: {}",
                crate::telemetry::chain(&error)
            )),
        })
    }
}

type Rows = BTreeMap<i64, Vec<Option<String>>>;

fn read(
    format: &Format,
    wanted: &Wanted,
    limit_bytes: u64,
    bytes: &File,
    rows: &BTreeSet<i64>,
) -> Result<(Rows, Facts), formats::Error> {
    let mut found = Rows::new();
    let last = rows.last().copied().unwrap_or(i64::MAX);
    let facts = formats::read(format, wanted, limit_bytes, BufReader::new(bytes), &mut |raw: RecordBatch| {
        let Some(numbers) = raw.column_by_name(ROW) else { return false };
        let numbers = numbers.as_primitive::<Int64Type>().values();
        for (at, row) in numbers.iter().enumerate().filter(|(_, row)| rows.contains(row)) {
            let cell = |column: usize| {
                let texts = raw.column(column).as_string::<i32>();
                (!texts.is_null(at)).then(|| texts.value(at).to_owned())
            };
            found.insert(*row, (0..wanted.columns.len()).map(cell).collect());
        }
        numbers.last().is_none_or(|row| *row < last)
    })?;
    Ok((found, facts))
}
