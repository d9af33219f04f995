//! Collects rows into batches, leaving out what is no row.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Builder, ListBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::header::{Finder, Positions, Wanted};
use super::{Error, Facts};
use crate::ids::ROW;

const BATCH_ROWS: usize = 8192;
/// Whoever wants rows as they stand wants to look at the top.
const GRID_ROWS: usize = 256;
/// Total rows whose values are remembered.
const TOTALS: usize = 10_000;

/// Takes a file's rows from the top and hands over batches.
pub(super) struct Collector<'a> {
    finder: Finder<'a>,
    positions: Option<Positions>,
    columns: Vec<StringBuilder>,
    grid: Option<ListBuilder<StringBuilder>>,
    rows: Int64Builder,
    held: usize,
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
            columns: wanted.columns.iter().map(|_| StringBuilder::new()).collect(),
            grid: wanted.grid.then(|| ListBuilder::new(StringBuilder::new())),
            rows: Int64Builder::new(),
            held: 0,
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
                self.facts.header = cells.iter().flatten().cloned().collect();
            }
            return Ok(true);
        };
        let reason = if positions.repeats(cells) {
            Some("repeated header")
        } else if is_total(cells) {
            Some("total")
        } else {
            None
        };
        if let Some(reason) = reason {
            *self.facts.left_out.entry(reason).or_insert(0) += 1;
            if reason == "total" && self.facts.totals.len() < TOTALS {
                let cells = positions.at.iter().map(|at| at.and_then(|at| cells.get(at)?.clone()));
                self.facts.totals.push((row, cells.collect()));
            }
            return Ok(true);
        }
        for (builder, at) in self.columns.iter_mut().zip(&positions.at) {
            builder.append_option(at.and_then(|at| cells.get(at)?.as_deref()));
        }
        Ok(self.count(row))
    }

    fn count(&mut self, row: u64) -> bool {
        self.rows.append_value(i64::try_from(row).unwrap_or(i64::MAX));
        self.held += 1;
        self.facts.rows_read += 1;
        let full = if self.grid.is_some() { GRID_ROWS } else { BATCH_ROWS };
        self.held < full || self.flush()
    }

    fn flush(&mut self) -> bool {
        if self.held == 0 {
            return true;
        }
        self.held = 0;
        let mut arrays: Vec<ArrayRef> =
            self.columns.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef).collect();
        if let Some(grid) = &mut self.grid {
            arrays = vec![Arc::new(grid.finish())];
        }
        arrays.push(Arc::new(self.rows.finish()));
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).expect("each builder got each row");
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

/// A total is known by its word in the first cell that holds anything.
fn is_total(cells: &[Option<String>]) -> bool {
    let Some(first) = cells.iter().flatten().next() else {
        return false;
    };
    let word = first.trim().trim_end_matches(':').to_lowercase();
    matches!(word.as_str(), "total" | "totals" | "grand total" | "subtotal" | "sub total" | "sub-total" | "sum")
}
