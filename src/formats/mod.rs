//! Turns the bytes of a file into Arrow batches of text.
//!
//! Formats know how a file is encoded, not what its values mean: each batch has
//! one text column for each wanted column, in the wanted order, and the row's
//! number in the file. Title rows above the header, repeated headers and totals
//! are left out and counted.
//!
//! Invariant: every row below the header is handed over, or counted as left out.

mod csv;
mod header;
mod json_lines;
mod rows;
mod survey;
mod worksheet;

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use arrow::array::RecordBatch;
use serde::Deserialize;

pub use header::Wanted;
pub use survey::{Survey, survey};

/// How a file is encoded: `format = { kind = "xlsx", sheet = "Stores" }`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Format {
    /// The encoding.
    pub kind: Kind,
    /// Workbooks: the sheet's name. Default: the first visible one.
    pub sheet: Option<String>,
    /// Row of the header, from 1. Default: found by the contract's names.
    pub header: Option<u32>,
    /// CSV: the separator. Default: found among comma, semicolon, tab and bar.
    pub delimiter: Option<char>,
    /// CSV: an encoding's label, e.g. `windows-1252`. Default: found by the byte
    /// order mark, else UTF-8, else Windows-1252.
    pub encoding: Option<String>,
}

/// Encodings of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Separated values.
    Csv,
    /// Office Open XML workbook.
    Xlsx,
    /// Excel 97 workbook.
    Xls,
    /// One JSON object a line.
    JsonLines,
}

/// What was found in a file, besides its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The sheet that was read.
    pub sheet: Option<String>,
    /// Rows handed over.
    pub rows_read: u64,
    /// Rows left out, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Columns of the file that nobody wanted.
    pub ignored_columns: Vec<String>,
    /// The header as it stands, without empty cells.
    pub header: Vec<String>,
    /// Total rows that were left out: the row's number, and what stands in each wanted
    /// column. The first ten thousand.
    pub totals: Vec<(u64, Vec<Option<String>>)>,
}

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes could not be had.
    #[error("failed to read the file")]
    Read(#[source] std::io::Error),
    /// It is not the format that the definition says, or it is cut short.
    #[error("failed to open the file as {kind}: {reason}")]
    Corrupt {
        /// What it should be.
        kind: &'static str,
        /// What the parser said.
        reason: String,
    },
    /// It needs a password.
    #[error("the workbook is encrypted")]
    Encrypted,
    /// It would not fit.
    #[error("the workbook holds {size_bytes} bytes uncompressed, over the limit of {limit_bytes}")]
    TooLarge {
        /// Declared size.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// No such sheet.
    #[error("the workbook has no sheet `{wanted}`; it has {found}")]
    NoSheet {
        /// What the definition says.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// No row names the columns.
    #[error("no header row was found: {missing} not named in any of the first {searched} rows{closest}")]
    NoHeader {
        /// Columns the nearest row lacks.
        missing: String,
        /// Rows searched.
        searched: usize,
        /// The nearest row.
        closest: String,
    },
    /// Nobody said what the columns are called, and no row looks like it.
    #[error("none of the first {searched} rows names the columns")]
    NoNames {
        /// Rows searched.
        searched: usize,
    },
    /// Nothing below the header, or nothing at all.
    #[error("the file is empty")]
    Empty,
    /// Columns nobody knows, and the contract is frozen.
    #[error("the file has columns the contract does not name: {columns}")]
    NewColumns {
        /// Which.
        columns: String,
    },
    /// A line is not in the encoding.
    #[error("row {row} is not {encoding}")]
    Encoding {
        /// Row from 1.
        row: u64,
        /// The encoding assumed.
        encoding: String,
    },
    /// The definition names an encoding that nobody knows.
    #[error("unknown encoding `{label}`")]
    UnknownEncoding {
        /// As the definition spells it.
        label: String,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read(_) => None,
            Self::Corrupt { .. } => {
                Some("open the file and save it again, or upload it once more: it may be cut short")
            }
            Self::Encrypted => Some("save the workbook without a password"),
            Self::TooLarge { .. } => Some("split the workbook, or raise `sources.worksheet_limit_bytes`"),
            Self::NoSheet { .. } => Some("rename the sheet back, or change `sheet` in the pipeline's format"),
            Self::NoHeader { .. } => {
                Some("restore the column names in the file, or add the new name to `from` in the contract")
            }
            Self::NoNames { .. } => Some("put a row above the values that names each column"),
            Self::Empty => Some("check the export that makes this file"),
            Self::NewColumns { .. } => Some("add them to the contract, or set `new_columns` to `discard`"),
            Self::Encoding { .. } => Some("set `encoding` in the pipeline's format"),
            Self::UnknownEncoding { .. } => Some("use a label such as utf-8, utf-16le or windows-1252"),
        }
    }
}

/// Reads a file and hands over its rows in batches, until `sink` answers false.
///
/// `worksheet_limit_bytes` bounds the uncompressed size of a workbook, which is
/// held in memory; the other formats stream.
///
/// # Errors
/// When the file as a whole cannot be read; a bad row is for the contract.
pub fn read<R: Read + Seek>(
    format: &Format,
    wanted: &Wanted,
    worksheet_limit_bytes: u64,
    input: R,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<Facts, Error> {
    match format.kind {
        Kind::Csv => csv::read(format, wanted, input, sink),
        Kind::Xlsx => worksheet::read_xlsx(format, wanted, worksheet_limit_bytes, input, sink),
        Kind::Xls => worksheet::read_xls(format, wanted, worksheet_limit_bytes, input, sink),
        Kind::JsonLines => json_lines::read(wanted, input, sink),
    }
}
