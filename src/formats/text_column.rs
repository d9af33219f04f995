//! A column of a batch that grows cell by cell.

use arrow::array::{NullBufferBuilder, StringArray};
use arrow::buffer::{Buffer, OffsetBuffer};

use super::row::{Cell, Row};

/// Cells up to this length are copied with what stands behind them: to copy a constant
/// number of bytes takes a single instruction, and most cells are short.
const SHORT: usize = 16;

/// Texts, and where each ends.
#[derive(Debug)]
pub(super) struct TextColumn {
    bytes: Vec<u8>,
    ends: Vec<i32>,
    present: NullBufferBuilder,
}

impl TextColumn {
    pub(super) fn new(rows: usize) -> Self {
        let mut column = Self { bytes: Vec::new(), ends: Vec::new(), present: NullBufferBuilder::new(rows) };
        column.begin(rows, 0);
        column
    }

    fn begin(&mut self, rows: usize, bytes: usize) {
        // Copying a short cell needs room behind it.
        self.bytes = Vec::with_capacity(bytes + SHORT);
        self.ends = Vec::with_capacity(rows + 1);
        self.ends.push(0);
        self.present = NullBufferBuilder::new(rows);
    }

    /// Adds a row's cell.
    #[inline]
    pub(super) fn push(&mut self, row: Row<'_>, at: Option<usize>) {
        let cell = at.and_then(|at| row.cells.get(at)).filter(|cell| cell.start < cell.end);
        match cell {
            Some(Cell { start, end }) => {
                let bytes = &row.text.as_bytes()[*start..];
                let length = end - start;
                match bytes.first_chunk::<SHORT>() {
                    Some(chunk) if length <= SHORT => {
                        let length = self.bytes.len() + length;
                        self.bytes.extend_from_slice(chunk);
                        self.bytes.truncate(length);
                    }
                    _ => self.bytes.extend_from_slice(&bytes[..length]),
                }
                self.present.append_non_null();
            }
            None => self.present.append_null(),
        }
        self.ends.push(i32::try_from(self.bytes.len()).expect("a batch ends long before two gigabytes"));
    }

    /// Hands over the cells, and begins anew with room for as many.
    pub(super) fn finish(&mut self) -> StringArray {
        let (bytes, ends) = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.ends));
        let present = self.present.finish();
        self.begin(ends.len(), bytes.len() + bytes.len() / 8);
        StringArray::try_new(OffsetBuffer::new(ends.into()), Buffer::from(bytes), present)
            .expect("each cell is a text of its own")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_come_out_as_they_went_in() {
        let mut column = TextColumn::new(4);
        let text = "a,ö,a cell that is longer than sixteen,,end";
        let cells = [(0, 1), (2, 4), (5, 39), (7, 7), (41, 44), (38, 44)].map(|(start, end)| Cell { start, end });
        for _ in 0..2 {
            for at in 0..7 {
                column.push(Row { text, cells: &cells }, Some(at));
            }
            column.push(Row { text, cells: &cells }, None);
            let expected = [Some("a"), Some("ö"), Some(&text[5..39]), None, Some("end"), Some("n,,end"), None, None];
            assert_eq!(column.finish(), StringArray::from(expected.to_vec()));
        }
    }
}
