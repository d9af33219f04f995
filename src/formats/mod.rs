//! Turns the bytes of a file into Arrow batches of text.
//!
//! Formats know how a file is encoded, not what its values mean: each batch has
//! one text column for each wanted column, in the wanted order, and the row's
//! number in the file. Title rows above the header, repeated headers, totals and
//! footnotes are left out and counted. A row whose cells cannot be told apart says so in a
//! column [`SHAPE`](crate::ids::SHAPE), which a batch has only when it has such rows.
//!
//! Invariant: every row below the header is handed over, or counted as left out.

mod csv;
mod csv_lines;
#[cfg(test)]
mod csv_tests;
mod dialect;
mod header;
mod json_lines;
mod left_out;
mod package;
mod row;
mod rows;
mod sheet_scan;
mod sheets;
mod survey;
mod text_column;
mod worksheet;
#[cfg(test)]
mod worksheet_tests;

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use arrow::array::RecordBatch;
use serde::Deserialize;

pub use dialect::Dialect;
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
    /// Workbooks: several sheets, by names or patterns such as `*` or `Week ?`; `!About`
    /// takes one out again. Patterns mean visible sheets.
    #[serde(default)]
    pub sheets: Vec<String>,
    /// Workbooks: the contract's column that takes the sheet's name as its value.
    pub sheet_as: Option<String>,
    /// Workbooks: where the table stands, `A3:F200`, `A:F`, or the name of a range.
    pub range: Option<String>,
    /// XLSX: whether a merged cell's value counts for each row it spans.
    #[serde(default)]
    pub fill_merged: bool,
    /// XLSX: whether hidden rows are read. Default: they are, because a filter hides rows too.
    #[serde(default)]
    pub hidden: Hidden,
    /// Row of the header, from 1. Default: found by the contract's names.
    pub header: Option<u32>,
    /// CSV: the separator. Default: found among comma, semicolon, tab and bar.
    pub delimiter: Option<char>,
    /// CSV: what stands around cells that hold separators. Default: `"`, or `'` where
    /// the file puts it around whole cells.
    pub quote: Option<char>,
    /// CSV: what stands before a quote that is meant. Default: the quote itself,
    /// doubled, or a backslash where the file has one before a quote.
    pub escape: Option<char>,
    /// CSV: an encoding's label, e.g. `windows-1252`. Default: found by the byte
    /// order mark, else plain UTF-16, else UTF-8, else Windows-1252.
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

/// What happens to hidden rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hidden {
    /// They are rows like others, and counted in a note.
    #[default]
    Read,
    /// They are left out.
    Skip,
}

impl Format {
    /// A format that leaves everything to be found.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            sheet: None,
            sheets: Vec::new(),
            sheet_as: None,
            range: None,
            fill_merged: false,
            hidden: Hidden::Read,
            header: None,
            delimiter: None,
            quote: None,
            escape: None,
            encoding: None,
        }
    }

    /// Lists what contradicts itself in a definition, in words.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let workbook = matches!(self.kind, Kind::Xlsx | Kind::Xls);
        let set = [
            ("sheet", self.sheet.is_some()),
            ("sheets", !self.sheets.is_empty()),
            ("sheet_as", self.sheet_as.is_some()),
            ("range", self.range.is_some()),
        ];
        for (option, _) in set.iter().filter(|(_, set)| *set && !workbook) {
            problems.push(format!("`{option}` is for workbooks only"));
        }
        if self.kind != Kind::Xlsx {
            for (option, _) in [("fill_merged", self.fill_merged), ("hidden", self.hidden == Hidden::Skip)]
                .iter()
                .filter(|(_, set)| *set)
            {
                problems.push(format!("`{option}` is for kind `xlsx` only"));
            }
        }
        if self.sheet.is_some() && !self.sheets.is_empty() {
            problems.push("use either `sheet` or `sheets`".to_owned());
        }
        problems
    }
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
    /// Numbers of the first rows left out, by reason.
    pub left_out_rows: BTreeMap<&'static str, Vec<u64>>,
    /// What else a reader of the run should know, in words.
    pub notes: Vec<String>,
    /// Columns of the file that nobody wanted.
    pub ignored_columns: Vec<String>,
    /// The header as it stands, without empty cells.
    pub header: Vec<String>,
    /// Total rows that were left out: the row's number, and what stands in each wanted
    /// column. The first ten thousand.
    pub totals: Vec<(u64, Vec<Option<String>>)>,
}

/// Rows that a report names for each reason.
const NAMED_ROWS: usize = 10;

impl Facts {
    /// Counts a row that is no data.
    fn leave_out(&mut self, reason: &'static str, row: u64) {
        *self.left_out.entry(reason).or_insert(0) += 1;
        let rows = self.left_out_rows.entry(reason).or_default();
        if rows.len() < NAMED_ROWS {
            rows.push(row);
        }
    }

    /// Adds what was found in a further sheet.
    fn join(&mut self, other: Self) {
        self.sheet = other.sheet;
        self.rows_read += other.rows_read;
        for (reason, count) in other.left_out {
            *self.left_out.entry(reason).or_insert(0) += count;
        }
        for (reason, rows) in other.left_out_rows {
            self.left_out_rows.entry(reason).or_default().extend(rows);
        }
        self.notes.extend(other.notes);
        self.totals.extend(other.totals);
        self.header = other.header;
        self.ignored_columns.extend(other.ignored_columns);
    }
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
    /// It is something else under a workbook's name.
    #[error("the file is not an XLSX workbook but {found}")]
    OtherFormat {
        /// What it is, in words.
        found: &'static str,
    },
    /// No such range.
    #[error("the workbook has no range `{wanted}`")]
    NoRange {
        /// What the definition says.
        wanted: String,
    },
    /// The sheet's name has nowhere to go.
    #[error("`sheet_as` names `{column}`, which is no column of the contract")]
    NoSheetColumn {
        /// What the definition says.
        column: String,
    },
    /// No such sheet.
    #[error("the workbook has no sheet `{wanted}`; it has {found}")]
    NoSheet {
        /// What the definition says.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// What was asked for does not fit the file's kind.
    #[error("the file cannot be read as it was asked for: {problems}")]
    Options {
        /// Each contradiction.
        problems: String,
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
    /// The row that the definition names is not the header.
    #[error("row {row}, in which the format says the header stands, does not name {missing}")]
    HeaderElsewhere {
        /// Row from 1.
        row: u32,
        /// Columns it lacks.
        missing: String,
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
    /// The separator of the definition is not the file's.
    #[error("no header row was found: the format says cells are parted by `{}`, but the file parts them by `{}`",
        .frozen.escape_debug(), .found.escape_debug())]
    Delimiter {
        /// As the definition says.
        frozen: char,
        /// As the file has it.
        found: char,
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
            Self::OtherFormat { .. } => {
                Some("save it as an Excel workbook (.xlsx), or set `kind` in the pipeline's format to what it is")
            }
            Self::NoRange { .. } => {
                Some("write `range` as `A3:F200`, as `A:F`, or as the name of a range in the workbook")
            }
            Self::NoSheetColumn { .. } => Some("set `sheet_as` to the name of a column of the contract"),
            Self::NoSheet { .. } => Some("rename the sheet back, or change `sheet` in the pipeline's format"),
            Self::Options { .. } => Some("leave the option out, or hand over a file of the kind it is for"),
            Self::NoHeader { .. } => {
                Some("restore the column names in the file, or add the new name to `from` in the contract")
            }
            Self::HeaderElsewhere { .. } => Some(
                "restore the layout or the column names in the file; or take `header` out of the pipeline's format, to find it in each file by its names",
            ),
            Self::NoNames { .. } => Some("put a row above the values that names each column"),
            Self::Empty => Some("check the export that makes this file"),
            Self::NewColumns { .. } => Some("add them to the contract, or set `new_columns` to `discard`"),
            Self::Delimiter { .. } => {
                Some("set `delimiter` in the pipeline's format to the file's, or leave it out to find it for each file")
            }
            Self::Encoding { .. } => Some("set `encoding` in the pipeline's format"),
            Self::UnknownEncoding { .. } => Some("use a label such as utf-8, utf-16le or windows-1252"),
        }
    }
}

/// Takes a file apart into formats of one sheet each, so that every sheet can
/// be read, and remembered, by itself. Other files are one part.
///
/// # Errors
/// When the file is no such workbook, or has no such sheet.
pub fn parts<R: Read + Seek>(format: &Format, worksheet_limit_bytes: u64, input: R) -> Result<Vec<Format>, Error> {
    if format.sheets.is_empty() {
        return Ok(vec![format.clone()]);
    }
    let names = worksheet::names(format, worksheet_limit_bytes, input)?;
    Ok(names.into_iter().map(|name| Format { sheet: Some(name), sheets: Vec::new(), ..format.clone() }).collect())
}

/// Reads a file and hands over its rows in batches, until `sink` answers false.
///
/// `worksheet_limit_bytes` bounds the uncompressed size of a workbook, which is
/// counted, not believed. Of several sheets, those without a row are passed over
/// with a note, unless all are.
///
/// # Errors
/// When the file as a whole cannot be read; a bad row is for the contract.
pub fn read<R: Read + Seek>(
    format: &Format,
    wanted: &Wanted,
    worksheet_limit_bytes: u64,
    mut input: R,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<Facts, Error> {
    if format.sheets.is_empty() {
        return read_one(format, wanted, worksheet_limit_bytes, &mut input, sink);
    }
    let mut facts = Facts::default();
    for part in parts(format, worksheet_limit_bytes, &mut input)? {
        input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
        match read_one(&part, wanted, worksheet_limit_bytes, &mut input, sink) {
            Ok(more) => facts.join(more),
            Err(Error::Empty) => facts.notes.push(format!("sheet `{}` has no rows", part.sheet.unwrap_or_default())),
            Err(error) => return Err(error),
        }
    }
    if facts.rows_read == 0 { Err(Error::Empty) } else { Ok(facts) }
}

fn read_one<R: Read + Seek>(
    format: &Format,
    wanted: &Wanted,
    worksheet_limit_bytes: u64,
    input: &mut R,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<Facts, Error> {
    match format.kind {
        Kind::Csv => csv::read(format, wanted, input, sink),
        Kind::Xlsx => worksheet::read_xlsx(format, wanted, worksheet_limit_bytes, input, sink),
        Kind::Xls => worksheet::read_xls(format, wanted, worksheet_limit_bytes, input, sink),
        Kind::JsonLines => json_lines::read(wanted, input, sink),
    }
}
