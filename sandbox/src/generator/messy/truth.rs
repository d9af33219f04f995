//! What a reader of a messy workbook must find in it.

use std::fmt;

use chrono::NaiveDate;

/// A workbook with one kind of mess, and what is true of it.
#[derive(Debug, Clone)]
pub struct Messy {
    /// A name for people and files, e.g. `two_row_header`.
    pub name: &'static str,
    /// The workbook.
    pub bytes: Vec<u8>,
    /// How it is to be read, as an inline table: `{ kind = "xlsx", ... }`.
    pub format: &'static str,
    /// Its columns, in the order of [`Row::values`].
    pub columns: Vec<Column>,
    /// The rows that must be loaded, in the order of the file.
    pub rows: Vec<Row>,
    /// The rows that must be refused, each with the name of the column at fault.
    pub refused: Vec<(String, u32, &'static str)>,
    /// The rows that are no data and must be counted, by sheet and number.
    pub left_out: Vec<(String, u32)>,
}

/// A column of a messy workbook.
#[derive(Debug, Clone)]
pub struct Column {
    /// What it should be called.
    pub name: &'static str,
    /// What the file calls it; nothing where the sheet's name is the value.
    pub header: Option<&'static str>,
    /// Its type as a contract spells it, e.g. `decimal(12,2)`.
    pub column_type: &'static str,
    /// The order of the parts of its text dates, where it has any.
    pub date_order: Option<&'static str>,
}

/// A row that must be loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The sheet it stands in.
    pub sheet: String,
    /// Its number there, from 1.
    pub number: u32,
    /// Its values.
    pub values: Vec<Value>,
}

/// A typed value. Shown as PostgreSQL writes it; nothing is shown as the empty text.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Text, also a store's six digits.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A decimal number in units of its last digit, and the digits after the point.
    Decimal(i64, u32),
    /// A date.
    Date(NaiveDate),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Decimal(units, scale) => {
                let one = 10_u64.pow(*scale);
                let sign = if *units < 0 { "-" } else { "" };
                let size = units.unsigned_abs();
                write!(f, "{sign}{}.{:0width$}", size / one, size % one, width = *scale as usize)
            }
            Self::Date(date) => date.fmt(f),
        }
    }
}
