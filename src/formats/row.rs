//! One row of a file: its cells as pieces of one text, so that none needs memory of its own.

use std::fmt::{Display, Write as _};

/// Where a cell stands in its row's text; one without length is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The cells of one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) text: &'a str,
    pub(super) cells: &'a [Cell],
}

impl<'a> Row<'a> {
    /// What stands in a cell; none if it is empty or not there.
    #[inline]
    pub(super) fn cell(&self, at: usize) -> Option<&'a str> {
        let cell = self.cells.get(at)?;
        (cell.start < cell.end).then(|| &self.text[cell.start..cell.end])
    }

    /// The cells in which something stands, with their places.
    #[inline]
    pub(super) fn filled(self) -> impl Iterator<Item = (usize, &'a str)> {
        (0..self.cells.len()).filter_map(move |at| Some((at, self.cell(at)?)))
    }

    /// Whether something stands in a cell.
    #[inline]
    pub(super) fn fills(&self, at: usize) -> bool {
        self.cells.get(at).is_some_and(|cell| cell.start < cell.end)
    }

    pub(super) fn is_blank(&self) -> bool {
        self.cells.iter().all(|cell| cell.start == cell.end)
    }

    pub(super) fn owned(&self) -> Vec<Option<String>> {
        (0..self.cells.len()).map(|at| self.cell(at).map(str::to_owned)).collect()
    }
}

/// A row that is put together cell by cell, in any order.
#[derive(Debug, Default)]
pub(super) struct RowBuilder {
    text: String,
    cells: Vec<Cell>,
}

impl RowBuilder {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.cells.clear();
    }

    /// Writes a cell; what stood there before is gone.
    pub(super) fn put(&mut self, at: usize, value: impl Display) {
        self.put_with(at, |text| write!(text, "{value}").expect("a String takes every text"));
    }

    /// Has a cell written behind the text so far.
    pub(super) fn put_with(&mut self, at: usize, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        if self.cells.len() <= at {
            self.cells.resize(at + 1, Cell::default());
        }
        self.cells[at] = Cell { start, end: self.text.len() };
    }

    pub(super) fn row(&self) -> Row<'_> {
        Row { text: &self.text, cells: &self.cells }
    }
}
