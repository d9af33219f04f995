//! What the generator knows about its own output, for tests to compare with.

use std::collections::BTreeMap;

use serde::Serialize;

/// The truth about a whole world.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// One entry a brand.
    pub brands: Vec<BrandTruth>,
}

/// The truth about one brand's drive and tables.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BrandTruth {
    /// Id of the brand.
    pub brand: String,
    /// Every sheet of every file that is meant to be read.
    pub files: Vec<FileTruth>,
    /// Every Dataverse table.
    pub tables: Vec<TableTruth>,
    /// Rows that must be refused.
    pub bad_rows: Vec<BadRow>,
    /// Punches without a clock-out.
    pub missing_clock_outs: usize,
    /// Punches that the till closed at the cut-off hour.
    pub automatic_clock_outs: usize,
}

/// The truth about one sheet of a workbook, or one text file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FileTruth {
    /// Folder of the drive.
    pub folder: String,
    /// File name.
    pub name: String,
    /// Sheet name; empty for a text file.
    pub sheet: String,
    /// Row of the header, counted from 1 as a spreadsheet does.
    pub header_row: u32,
    /// Data rows, the bad ones included; no totals, notes or empty rows.
    pub rows: usize,
    /// Rows after the header that are no data, such as the total.
    pub other_rows: Vec<u32>,
    /// Exact sums over the good rows, by column; whole numbers and decimals.
    pub sums: BTreeMap<String, String>,
}

/// The truth about one Dataverse table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TableTruth {
    /// Logical name.
    pub logical_name: String,
    /// Number of rows.
    pub rows: usize,
    /// Exact sums by column.
    pub sums: BTreeMap<String, String>,
}

/// A row that must be refused, and the cell that is the reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BadRow {
    /// Folder of the drive.
    pub folder: String,
    /// File name.
    pub file: String,
    /// Sheet name.
    pub sheet: String,
    /// Row, counted from 1 as a spreadsheet does.
    pub row: u32,
    /// Column by its header.
    pub column: String,
    /// What the cell holds.
    pub value: String,
}

impl Truth {
    /// Finds a brand's truth.
    pub fn brand(&self, id: &str) -> Option<&BrandTruth> {
        self.brands.iter().find(|brand| brand.brand == id)
    }
}

impl BrandTruth {
    /// Finds the truth about a sheet; a text file has the sheet ``.
    pub fn file(&self, name: &str, sheet: &str) -> Option<&FileTruth> {
        self.files.iter().find(|file| file.name == name && file.sheet == sheet)
    }

    /// Finds the truth about a table.
    pub fn table(&self, logical_name: &str) -> Option<&TableTruth> {
        self.tables.iter().find(|table| table.logical_name == logical_name)
    }
}
