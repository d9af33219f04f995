//! Collects rows into batches, leaving out what is no row.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, ListBuilder, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::csv_lines::Line;
use super::header::{Finder, Positions, Wanted};
use super::left_out::Seen;
use super::row::Row;
use super::text_column::TextColumn;
use super::{Error, Facts};
use crate::ids::{ROW, SHAPE};

const BATCH_ROWS: usize = 8192;
/// A column of a batch holds at most 2 GiB; long cells end a batch early.
const BATCH_BYTES: usize = 64 << 20;
/// Whoever wants rows as they stand wants to look at the top.
const GRID_ROWS: usize = 256;
/// Total rows whose values are remembered.
const TOTALS: usize = 10_000;

/// Takes a file's rows from the top and hands over batches.
pub(super) struct Collector<'a> {
    finder: Finder<'a>,
    positions: Option<Positions>,
    seen: Seen,
    columns: Vec<TextColumn>,
    grid: Option<ListBuilder<StringBuilder>>,
    rows: Int64Builder,
    held: usize,
    held_bytes: usize,
    /// Cells that the header names, as far as its last name.
    width: usize,
    /// Rows of this batch whose cells cannot be told apart, and why.
    shapes: Vec<(usize, String)>,
    schema: SchemaRef,
    facts: Facts,
    sink: &'a mut dyn FnMut(RecordBatch) -> bool,
}

impl<'a> Collector<'a> {
    pub(super) fn new(wanted: &'a Wanted, header: Option<u32>, sink: &'a mut dyn FnMut(RecordBatch) -> bool) -> Self {
        let mut fields: Vec<Field> =
            wanted.columns.iter().map(|(name, _, _)| Field::new(name, DataType::Utf8, true)).collect();
        if wanted.grid {
            fields = vec![Field::new_list("cells", Field::new_list_field(DataType::Utf8, true), true)];
        }
        fields.push(Field::new(ROW, DataType::Int64, false));
        Self {
            finder: Finder::new(wanted, header),
            positions: None,
            seen: Seen::default(),
            columns: wanted.columns.iter().map(|_| TextColumn::new(BATCH_ROWS)).collect(),
            grid: wanted.grid.then(|| ListBuilder::new(StringBuilder::new())),
            rows: Int64Builder::new(),
            held: 0,
            held_bytes: 0,
            width: 0,
            shapes: Vec::new(),
            schema: Arc::new(Schema::new(fields)),
            facts: Facts::default(),
            sink,
        }
    }

    /// Takes a row; answers false when nobody wants more.
    pub(super) fn take(&mut self, number: u64, row: Row<'_>) -> Result<bool, Error> {
        self.collect(number, row, None)
    }

    /// Takes a line of separated values; answers false when nobody wants more.
    ///
    /// A line with other cells than the header names is handed over with a reason:
    /// nobody can tell which of its cells is missing.
    pub(super) fn take_line(&mut self, line: &Line<'_>, row: Row<'_>) -> Result<bool, Error> {
        if row.is_blank() && self.positions.is_some() {
            self.facts.leave_out("blank", line.row);
        }
        self.collect(line.row, row, Some(line))
    }

    fn collect(&mut self, number: u64, row: Row<'_>, line: Option<&Line<'_>>) -> Result<bool, Error> {
        if row.is_blank() {
            return Ok(true);
        }
        if let Some(grid) = &mut self.grid {
            grid.append_value((0..row.cells.len()).map(|at| row.cell(at)));
            return Ok(self.count(number));
        }
        let Some(positions) = &self.positions else {
            self.positions = self.finder.offer(number, &row.owned())?;
            if let Some(positions) = &self.positions {
                self.facts.ignored_columns = positions.ignored.clone();
                self.facts.header = positions.header.clone();
                self.width = row.filled().last().map_or(0, |(last, _)| last + 1);
            }
            return Ok(true);
        };
        let repeated = positions.repeats(row).then_some("repeated header");
        if let Some(reason) = repeated.or_else(|| self.seen.judge(row)) {
            leave_out(&mut self.facts, positions, reason, number, row);
            return Ok(true);
        }
        if let Some(line) = line {
            let extra = (self.width..line.width).any(|at| row.fills(at));
            if line.width < self.width || extra || line.nul {
                self.shapes.push((self.held, shape(line, self.width)));
            }
        }
        for (column, at) in self.columns.iter_mut().zip(&positions.at) {
            column.push(row, *at);
        }
        self.held_bytes += row.text.len();
        Ok(self.count(number))
    }

    fn count(&mut self, row: u64) -> bool {
        self.rows.append_value(i64::try_from(row).unwrap_or(i64::MAX));
        self.held += 1;
        self.facts.rows_read += 1;
        let full = if self.grid.is_some() { GRID_ROWS } else { BATCH_ROWS };
        (self.held < full && self.held_bytes < BATCH_BYTES) || self.flush()
    }

    fn flush(&mut self) -> bool {
        if self.held == 0 {
            return true;
        }
        let held = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        let mut arrays: Vec<ArrayRef> =
            self.columns.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
        if let Some(grid) = &mut self.grid {
            arrays = vec![Arc::new(grid.finish())];
        }
        arrays.push(Arc::new(self.rows.finish()));
        let mut schema = self.schema.clone();
        if !self.shapes.is_empty() {
            let mut reasons: Vec<Option<String>> = vec![None; held];
            for (at, reason) in self.shapes.drain(..) {
                reasons[at] = Some(reason);
            }
            arrays.push(Arc::new(StringArray::from(reasons)));
            let mut fields = schema.fields().to_vec();
            fields.push(Arc::new(Field::new(SHAPE, DataType::Utf8, true)));
            schema = Arc::new(Schema::new(fields));
        }
        let batch = RecordBatch::try_new(schema, arrays).expect("each builder got each row");
        (self.sink)(batch)
    }

    /// Hands over what is left and says what was found.
    pub(super) fn finish(mut self) -> Result<Facts, Error> {
        if self.positions.is_none() && self.grid.is_none() {
            return Err(self.finder.missing());
        }
        if self.facts.rows_read == 0 {
            return Err(Error::Empty);
        }
        self.flush();
        Ok(self.facts)
    }
}

/// Counts a row that is no data; what a total says is kept to compare sums with.
fn leave_out(facts: &mut Facts, positions: &Positions, reason: &'static str, number: u64, row: Row<'_>) {
    facts.leave_out(reason, number);
    if reason == "total" && facts.totals.len() < TOTALS {
        let cells = positions.at.iter().map(|at| row.cell((*at)?).map(str::to_owned));
        facts.totals.push((number, cells.collect()));
    }
}

fn shape(line: &Line<'_>, width: usize) -> String {
    let found = line.width;
    if line.nul {
        "holds a NUL byte, shown as `?`".to_owned()
    } else if line.unended && found < width {
        format!("has {found} cells where the header has {width}, and the file ends in it: it may be cut short")
    } else {
        format!("has {found} cells where the header has {width}")
    }
}
