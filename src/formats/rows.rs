//! Collects rows into batches, leaving out what is no row.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, ListBuilder, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::csv_lines::{Line, Text};
use super::header::{Finder, Positions, Wanted};
use super::left_out::Seen;
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
    columns: Vec<StringBuilder>,
    grid: Option<ListBuilder<StringBuilder>>,
    rows: Int64Builder,
    held: usize,
    held_bytes: usize,
    /// Cells that the header names, as far as its last name.
    width: usize,
    /// Where a line's first wanted name stands, and how it begins: a line that begins
    /// otherwise there cannot be the header over again.
    initial: Option<(usize, u8)>,
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
            columns: wanted.columns.iter().map(|_| StringBuilder::new()).collect(),
            grid: wanted.grid.then(|| ListBuilder::new(StringBuilder::new())),
            rows: Int64Builder::new(),
            held: 0,
            held_bytes: 0,
            width: 0,
            initial: None,
            shapes: Vec::new(),
            schema: Arc::new(Schema::new(fields)),
            facts: Facts::default(),
            sink,
        }
    }

    /// Takes a row; answers false when nobody wants more.
    pub(super) fn take(&mut self, row: u64, cells: &[Option<String>]) -> Result<bool, Error> {
        if cells.iter().all(Option::is_none) {
            return Ok(true);
        }
        if let Some(grid) = &mut self.grid {
            grid.append_value(cells.iter().map(Option::as_deref));
            return Ok(self.count(row));
        }
        let Some(positions) = &self.positions else {
            self.positions = self.finder.offer(row, cells)?;
            if let Some(positions) = &self.positions {
                self.facts.ignored_columns = positions.ignored.clone();
                self.facts.header = positions.header.clone();
            }
            return Ok(true);
        };
        let repeated = positions.repeats(cells).then_some("repeated header");
        let texts: Vec<Option<&str>> = cells.iter().map(Option::as_deref).collect();
        if let Some(reason) = repeated.or_else(|| self.seen.judge(&texts)) {
            leave_out(&mut self.facts, positions, reason, row, &texts);
            return Ok(true);
        }
        for (builder, at) in self.columns.iter_mut().zip(&positions.at) {
            builder.append_option(at.and_then(|at| cells.get(at)?.as_deref()));
        }
        Ok(self.count(row))
    }

    /// Takes a line of separated values; answers false when nobody wants more.
    ///
    /// A line with other cells than the header names is handed over with a reason:
    /// nobody can tell which of its cells is missing.
    pub(super) fn take_line(&mut self, line: &Line<'_>, text: Text<'_>) -> Result<bool, Error> {
        let row = line.row;
        if self.grid.is_some() {
            return self.take(row, &owned(text));
        }
        let Some(positions) = &self.positions else {
            let cells = owned(text);
            let more = self.take(row, &cells)?;
            if let Some(positions) = &self.positions {
                self.width = cells.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
                self.initial =
                    positions.at.iter().flatten().next().and_then(|at| Some((*at, initial(text.cell(*at)?)?)));
            }
            return Ok(more);
        };
        let texts: Vec<Option<&str>> = (0..text.width()).map(|at| text.cell(at)).collect();
        if texts.iter().all(Option::is_none) {
            self.facts.leave_out("blank", row);
            return Ok(true);
        }
        let may_repeat = match self.initial {
            Some((at, byte)) => text.cell(at).and_then(initial).is_none_or(|other| other == byte),
            None => true,
        };
        let repeated = (may_repeat && positions.repeats(&owned(text))).then_some("repeated header");
        if let Some(reason) = repeated.or_else(|| self.seen.judge(&texts)) {
            leave_out(&mut self.facts, positions, reason, row, &texts);
            return Ok(true);
        }
        let extra = texts.iter().skip(self.width).any(Option::is_some);
        if text.width() < self.width || extra || line.nul {
            self.shapes.push((self.held, shape(line, self.width)));
        }
        for (builder, at) in self.columns.iter_mut().zip(&positions.at) {
            match at.and_then(|at| *texts.get(at)?) {
                Some(cell) => {
                    self.held_bytes += cell.len();
                    builder.append_value(cell);
                }
                None => builder.append_null(),
            }
        }
        Ok(self.count(row))
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
            self.columns.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef).collect();
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
fn leave_out(facts: &mut Facts, positions: &Positions, reason: &'static str, row: u64, cells: &[Option<&str>]) {
    facts.leave_out(reason, row);
    if reason == "total" && facts.totals.len() < TOTALS {
        let cells = positions.at.iter().map(|at| at.and_then(|at| cells.get(at)?.map(str::to_owned)));
        facts.totals.push((row, cells.collect()));
    }
}

fn owned(text: Text<'_>) -> Vec<Option<String>> {
    (0..text.width()).map(|at| text.cell(at).map(str::to_owned)).collect()
}

/// The first letter of a plain text, without case.
fn initial(text: &str) -> Option<u8> {
    text.bytes().next().filter(u8::is_ascii).map(|byte| byte.to_ascii_lowercase())
}

fn shape(line: &Line<'_>, width: usize) -> String {
    let found = line.width();
    if line.nul {
        "holds a NUL byte, shown as `?`".to_owned()
    } else if line.unended && found < width {
        format!("has {found} cells where the header has {width}, and the file ends in it: it may be cut short")
    } else {
        format!("has {found} cells where the header has {width}")
    }
}
