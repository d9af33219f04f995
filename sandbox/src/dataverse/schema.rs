//! The shape of a Dataverse table and its rows, as plain data.
//!
//! The generator fills it and the stand-in serves it; it holds no behaviour, so
//! that neither depends on how the other works.

use serde_json::{Map, Value};

/// A table of one organisation, with its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Name in the metadata, such as `sk_clockinout`.
    pub logical_name: String,
    /// Name in addresses, such as `sk_clockinouts`.
    pub entity_set: String,
    /// The column of the row's GUID.
    pub primary_id: String,
    /// Every column a row may have, the primary id included.
    pub columns: Vec<Column>,
    /// Keys a row can be addressed by besides its id.
    pub alternate_keys: Vec<AlternateKey>,
    /// Whether the table answers delta requests.
    pub change_tracking: bool,
    /// Column name to value. A decimal is held as a string so that its digits
    /// survive; it is printed as a bare JSON number.
    pub rows: Vec<Map<String, Value>>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Logical name.
    pub name: String,
    /// What its values are.
    pub kind: ColumnKind,
}

/// What a column's values are.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnKind {
    /// A string.
    Text,
    /// A 32-bit whole number.
    Integer,
    /// An exact number.
    Decimal {
        /// Digits after the point.
        precision: u32,
    },
    /// An exact amount of money.
    Money,
    /// A binary floating point number.
    Double,
    /// True or false.
    Boolean,
    /// A date without time.
    DateOnly,
    /// An instant, printed in UTC.
    DateTimeUtc,
    /// A wall clock time without a zone.
    DateTimeWall,
    /// A number out of a list of labelled ones.
    Choice(Vec<(i32, String)>),
    /// Any of a list of labelled numbers, printed as `2,3,8`.
    MultiChoice(Vec<(i32, String)>),
    /// A reference to a row of one of these tables. The column is called
    /// `_x_value`, as its values are; its definition is called `x`. A row of the
    /// generator holds `{"id", "table", "name"}` there.
    Lookup(Vec<String>),
    /// A GUID.
    Guid,
}

/// Columns that together identify a row.
#[derive(Debug, Clone, PartialEq)]
pub struct AlternateKey {
    /// Logical name of the key.
    pub name: String,
    /// The columns, in order.
    pub columns: Vec<String>,
    /// Whether its index is built; an inactive key is refused.
    pub active: bool,
}
