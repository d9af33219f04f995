//! What is answered; the same for people and for programs.

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use serde_json::Map;

use crate::ids::BrandId;
use crate::warehouse::origins::{FileFacts, LoadFacts};

/// The answer to one question.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The table or view.
    pub table: String,
    /// As it was known then.
    pub as_of: Option<DateTime<Utc>>,
    /// What was found, brand by brand.
    pub found: Vec<Found>,
}

impl Answer {
    /// Whether the table has such a row, or had it.
    pub fn has_rows(&self) -> bool {
        self.found
            .iter()
            .any(|found| !found.rows.is_empty() || found.view.as_ref().is_some_and(|view| view.rows_total > 0))
    }

    /// Whether the row is in quarantine.
    pub fn is_refused(&self) -> bool {
        self.found.iter().any(|found| !found.refused.is_empty())
    }
}

/// What one brand has of it.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// The brand.
    pub brand: BrandId,
    /// What was asked, by column.
    pub asked: Map<String, serde_json::Value>,
    /// Rows, with their way back.
    pub rows: Vec<RowAnswer>,
    /// Whether there are more rows than are shown.
    pub more_rows: bool,
    /// Rows of that key that were refused.
    pub refused: Vec<RefusedRow>,
    /// For a view.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewAnswer>,
}

/// Whether a row is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is, or was at the moment that was asked for.
    There,
    /// It was, and was removed.
    Removed,
    /// It came later than the moment that was asked for.
    NotYet,
}

/// A row, and where it came from.
#[derive(Debug, Clone, Serialize)]
pub struct RowAnswer {
    /// Its key.
    pub key: Map<String, serde_json::Value>,
    /// Whether it is there.
    pub standing: Standing,
    /// Its values.
    pub values: Vec<Value>,
    /// The load that made it.
    pub load: Option<LoadFacts>,
    /// The load that brought it back, where one was undone.
    pub restored_by: Option<LoadFacts>,
    /// The load that removed it.
    pub removed_by: Option<LoadFacts>,
    /// The file.
    pub file: Option<FileFacts>,
    /// The row in the file, where it is known.
    pub source_row: Option<i64>,
    /// Why cells are not shown, and what to do about it.
    pub no_cells: Option<String>,
    /// What reshaped it.
    pub transform: Option<TransformAnswer>,
    /// What it was before, the latest first.
    pub earlier: Vec<Earlier>,
    /// Versions later than the moment that was asked for.
    pub later_versions: usize,
    /// What it was forecast from.
    pub forecast: Option<Basis>,
}

/// A value.
#[derive(Debug, Clone, Serialize)]
pub struct Value {
    /// Its column.
    pub column: String,
    /// As PostgreSQL writes it.
    pub value: Option<String>,
    /// Whether it is kept back, because it is personal.
    pub withheld: bool,
    /// The cells it was made of; nothing where that is not known.
    pub cells: Option<Vec<Cell>>,
    /// How it is computed from them, where it is more than read.
    pub expression: Option<String>,
}

/// A cell of a file.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// The contract's name for its column.
    pub column: String,
    /// The file's name for it, where the file has it.
    pub source_column: Option<String>,
    /// What stands there, as the file has it.
    pub text: Option<String>,
    /// Whether the text was read from the file's bytes.
    pub read: bool,
    /// Whether it is kept back, because it is personal.
    pub withheld: bool,
}

/// The SQL that reshaped a row.
#[derive(Debug, Clone, Serialize)]
pub struct TransformAnswer {
    /// Its file, below the definitions folder.
    pub file: String,
    /// Its text.
    pub sql: String,
    /// Whether its plan tells which column feeds which.
    pub told: bool,
}

/// What a row was before.
#[derive(Debug, Clone, Serialize)]
pub struct Earlier {
    /// The load that made it so.
    pub load: Option<LoadFacts>,
    /// The load that brought it back.
    pub restored_by: Option<LoadFacts>,
    /// The load that ended it.
    pub until: Option<LoadFacts>,
    /// The file.
    pub file: Option<FileFacts>,
    /// The row in it.
    pub source_row: Option<i64>,
    /// Its values by column; those kept back are missing.
    pub values: Map<String, serde_json::Value>,
    /// What differs from the version after it.
    pub changed: Vec<Change>,
}

/// A value that changed.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// Its column.
    pub column: String,
    /// What it was.
    pub old: Option<String>,
    /// What it was after that.
    pub new: Option<String>,
    /// Whether the values are kept back.
    pub withheld: bool,
}

/// A row that was refused.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedRow {
    /// Its id in `quarantine list`.
    pub id: i64,
    /// The run that refused it.
    pub run_id: i64,
    /// The pipeline.
    pub pipeline: String,
    /// The file.
    pub file: String,
    /// Its sheet.
    pub sheet: Option<String>,
    /// The row in it.
    pub row: i64,
    /// The column that was the reason.
    pub column: String,
    /// The rule.
    pub rule: String,
    /// Why, in words.
    pub reason: String,
    /// What became of it.
    pub state: String,
    /// Why it was settled.
    pub handled_why: Option<String>,
    /// The whole row as it came; what is kept back is missing.
    pub values: Map<String, serde_json::Value>,
    /// Columns that were asked for and could not be compared: the row as it came has none.
    pub not_compared: Vec<String>,
}

/// What a view rests on.
#[derive(Debug, Clone, Serialize)]
pub struct ViewAnswer {
    /// The rows of the view itself.
    pub rows: Vec<Vec<Value>>,
    /// How many there are.
    pub rows_total: i64,
    /// The tables that it reads in the end.
    pub bases: Vec<BaseAnswer>,
    /// Its text.
    pub sql: String,
}

/// A table that a view reads.
#[derive(Debug, Clone, Serialize)]
pub struct BaseAnswer {
    /// Its schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// Columns in which its rows were compared with what was asked.
    pub matched_by: Vec<String>,
    /// Columns that were asked for and that it does not have.
    pub not_there: Vec<String>,
    /// How many rows have these values; nothing where no column could be compared.
    pub rows_total: Option<i64>,
    /// Some of them.
    pub rows: Vec<RowAnswer>,
}

/// What a forecast was made from.
#[derive(Debug, Clone, Serialize)]
pub struct Basis {
    /// The table.
    pub table: String,
    /// The column that was summed up.
    pub value: String,
    /// The last load of it that the forecast saw.
    pub up_to_load: Option<LoadFacts>,
    /// Whether the forecast noted that load; otherwise it is told by time.
    pub noted: bool,
    /// Rows of the store, and of the daypart unless a whole day was forecast.
    pub rows: i64,
    /// Their first day.
    pub first_day: Option<NaiveDate>,
    /// Their last day.
    pub last_day: Option<NaiveDate>,
    /// Their sum.
    pub total: Option<String>,
    /// Days after which the pattern repeats.
    pub season_days: u32,
    /// The latest rows that stand whole seasons before the day.
    pub same_season_day: Vec<BasisRow>,
}

/// A row that a forecast was made from.
#[derive(Debug, Clone, Serialize)]
pub struct BasisRow {
    /// Its day.
    pub date: NaiveDate,
    /// Its value.
    pub value: String,
    /// The load that made it.
    pub load_id: i64,
    /// The file.
    pub file: Option<String>,
    /// Its sheet.
    pub sheet: Option<String>,
    /// The row in it.
    pub source_row: Option<i64>,
}
