//! What a file must look like.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer};

use super::rules::{Rule, RuleKind, Severity, rule_problem};
use crate::ids::{ROW, TYPE};

/// The columns a file must have and the rules its rows must keep.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contract {
    /// What happens to columns the contract does not name.
    #[serde(default)]
    pub new_columns: NewColumns,
    /// Columns that tell one row of the destination from another.
    #[serde(default)]
    pub key: Vec<String>,
    /// The columns, in the order of the destination.
    pub columns: Vec<Column>,
    /// Share of a run's rows that may be quarantined before the run asks for attention. Default: 0.01.
    #[serde(default = "default_threshold")]
    pub quarantine_threshold: f64,
    /// Rows of a run that may be quarantined before it asks for attention, however many were read.
    pub quarantine_limit_rows: Option<u64>,
    /// Share of a file's rows that may be quarantined before the whole file is refused.
    pub fail_threshold: Option<f64>,
    /// Rows of a file that may be quarantined before the whole file is refused.
    pub fail_limit_rows: Option<u64>,
    /// Texts that mean "no value" in every column, besides the usual ones.
    #[serde(default)]
    pub null_words: Vec<String>,
}

fn default_threshold() -> f64 {
    0.01
}

/// What happens to columns that a contract does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NewColumns {
    /// The file is refused.
    Freeze,
    /// They are left out, and the run says so.
    #[default]
    Discard,
    /// They become text columns of the destination, and stay known from then on.
    Evolve,
}

/// One column.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name from here on.
    pub name: String,
    /// What files call it, any of these; empty means like `name`.
    #[serde(default, deserialize_with = "one_or_many")]
    pub from: Vec<String>,
    /// What its values are.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Whether a file may come without this column.
    #[serde(default)]
    pub optional: bool,
    /// Personal data: kept out of logs, mails and the reasons of refused rows. Only
    /// the refused row itself, in the database, still holds it, so that it can be mended.
    #[serde(default)]
    pub personal: bool,
    /// How text dates are written, e.g. `mdy` for `11/28/25`. Default: decided from
    /// all values of the column, and refused where they leave it open.
    pub date_order: Option<DateOrder>,
    /// How text dates, times and moments are written, in strftime's words: `%d %b %Y`.
    pub format: Option<String>,
    /// `timestamp`: the zone whose clocks wrote texts without an offset. Default: UTC.
    pub time_zone: Option<Tz>,
    /// `timestamp` with a `time_zone`: which moment a text means that the clocks
    /// showed twice. Without it such a text is refused.
    pub ambiguous: Option<Ambiguous>,
    /// `integer` and `decimal`: the sign before the fraction. Default: decided from
    /// all values of the column.
    pub decimal_mark: Option<DecimalMark>,
    /// Texts that mean "no value" here, besides the usual ones and the contract's.
    #[serde(default)]
    pub null_words: Vec<String>,
    /// What happens to a row whose text is no such value. Default: `quarantine`;
    /// with `warn` the row is loaded without it.
    #[serde(default)]
    pub type_severity: Severity,
    /// Conditions on the values.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Whether a file brought it along, and no definition names it.
    #[serde(skip)]
    pub learned: bool,
}

impl Column {
    /// A text column that a file may lack: what `evolve` makes of one nobody named.
    pub fn learn(name: &str, from: &str) -> Self {
        Self {
            name: name.to_owned(),
            from: vec![from.to_owned()],
            column_type: ColumnType::Text,
            optional: true,
            personal: false,
            date_order: None,
            format: None,
            time_zone: None,
            ambiguous: None,
            decimal_mark: None,
            null_words: Vec::new(),
            type_severity: Severity::Quarantine,
            rules: Vec::new(),
            learned: true,
        }
    }

    /// What files may call this column.
    pub fn names(&self) -> Vec<&str> {
        if self.from.is_empty() { vec![&self.name] } else { self.from.iter().map(String::as_str).collect() }
    }
}

impl Column {
    /// Options that do not go with the column's type, or with each other.
    fn problems(&self) -> Vec<String> {
        use ColumnType::{Date, Decimal, Integer, Time, Timestamp};
        let mut problems = Vec::new();
        let mut only_for = |set: bool, option: &str, fits: bool, kinds: &str| {
            if set && !fits {
                problems.push(format!("option `{option}` is for {kinds}, not for {}", self.column_type));
            }
        };
        let dated = matches!(self.column_type, Date | Timestamp);
        let counted = matches!(self.column_type, Integer | Decimal { .. });
        only_for(self.date_order.is_some(), "date_order", dated, "date and timestamp");
        only_for(self.format.is_some(), "format", dated || self.column_type == Time, "date, time and timestamp");
        only_for(self.time_zone.is_some(), "time_zone", self.column_type == Timestamp, "timestamp");
        only_for(self.decimal_mark.is_some(), "decimal_mark", counted, "integer and decimal");
        if self.ambiguous.is_some() && self.time_zone.is_none() {
            problems.push("option `ambiguous` goes with `time_zone`".to_owned());
        }
        if self.date_order.is_some() && self.format.is_some() {
            problems.push("`format` says the order already: leave `date_order` out".to_owned());
        }
        if let Some(format) = &self.format
            && chrono::format::StrftimeItems::new(format).any(|item| item == chrono::format::Item::Error)
        {
            problems.push(format!("`{format}` is no strftime format, such as `%d %b %Y`"));
        }
        problems
    }
}

/// `from = "x"` or `from = ["x", "y"]`, with a message that says so.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a name or a list of names")
        }
        fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
            Ok(vec![name.to_owned()])
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut names = Vec::new();
            while let Some(name) = items.next_element()? {
                names.push(name);
            }
            Ok(names)
        }
    }
    deserializer.deserialize_any(Visitor)
}

/// Order of the parts of a text date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DateOrder {
    /// `2025-11-28`
    Ymd,
    /// `11/28/25`
    Mdy,
    /// `28.11.2025`
    Dmy,
}

/// Which of two moments a text means that the clocks showed twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ambiguous {
    /// The first: summer time still.
    Earlier,
    /// The second: winter time already.
    Later,
}

/// The sign before the fraction of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecimalMark {
    /// `1,234.50`
    Point,
    /// `1.234,50`
    Comma,
}

/// What a column's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnType {
    /// Text, trimmed.
    Text,
    /// A store's number: digits are padded with zeros to six.
    StoreId,
    /// A whole number.
    Integer,
    /// An exact decimal number of at most `precision` digits, `scale` of them
    /// after the point; more digits are rounded half away from zero.
    Decimal {
        /// Digits in all, 1 to 38.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// A calendar date.
    Date,
    /// A time of day; `24:00` and later wrap, as the next day's early hours.
    Time,
    /// A moment; text without an offset is read in the column's `time_zone`, else as UTC.
    Timestamp,
    /// A length of time, to the microsecond.
    Duration,
    /// True or false.
    Boolean,
    /// A JSON document.
    Json,
}

impl ColumnType {
    /// What Arrow calls it.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text | Self::StoreId | Self::Json => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Duration => DataType::Duration(TimeUnit::Microsecond),
            Self::Boolean => DataType::Boolean,
        }
    }

    /// The Arrow field of a column of this type.
    fn field(self, name: &str) -> Field {
        let field = Field::new(name, self.data_type(), true);
        // Arrow has no JSON: the warehouse tells it from text by this mark.
        if self == Self::Json { field.with_metadata([(TYPE.to_owned(), "json".to_owned())].into()) } else { field }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "text" => Self::Text,
            "store_id" => Self::StoreId,
            "integer" => Self::Integer,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            "duration" => Self::Duration,
            "json" => Self::Json,
            "boolean" => Self::Boolean,
            other => {
                let (precision, scale) = other.strip_prefix("decimal(")?.strip_suffix(')')?.split_once(',')?;
                let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
                let fits = (1..=38).contains(&precision) && (0..=precision as i8).contains(&scale);
                return fits.then_some(Self::Decimal { precision, scale });
            }
        })
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("text"),
            Self::StoreId => f.write_str("store_id"),
            Self::Integer => f.write_str("integer"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Date => f.write_str("date"),
            Self::Time => f.write_str("time"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::Boolean => f.write_str("boolean"),
            Self::Json => f.write_str("json"),
        }
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "unknown type `{text}`: use text, store_id, integer, decimal(p,s), date, time, timestamp, duration, boolean or json"
            ))
        })
    }
}

impl Contract {
    /// The schema of checked rows: the columns, then [`ROW`].
    pub fn schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> = self.columns.iter().map(|column| column.column_type.field(&column.name)).collect();
        fields.push(Field::new(ROW, DataType::Int64, false));
        Arc::new(Schema::new(fields))
    }

    /// The schema of raw rows: the same columns as text, then [`ROW`].
    pub fn raw_schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> =
            self.columns.iter().map(|column| Field::new(&column.name, DataType::Utf8, true)).collect();
        fields.push(Field::new(ROW, DataType::Int64, false));
        Arc::new(Schema::new(fields))
    }

    /// The rules of a kind, each with its column.
    pub fn rules_of(&self, kind: RuleKind) -> impl Iterator<Item = (&Column, &Rule)> {
        let of = move |column| (column, kind);
        self.columns.iter().map(of).flat_map(|(column, kind)| {
            column.rules.iter().filter(move |rule| rule.kind == kind).map(move |rule| (column, rule))
        })
    }

    /// Lists what is wrong with the contract itself, in words.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        for column in &self.columns {
            let name = &column.name;
            if !seen.insert(name) {
                problems.push(format!("column `{name}` is named twice"));
            }
            if !is_plain(name) {
                problems.push(format!("column name `{name}`: use lower-case letters, digits and `_`, a letter first"));
            }
            problems.extend(column.problems().into_iter().map(|text| format!("column `{name}`: {text}")));
            for rule in &column.rules {
                let problem = rule_problem(self, column, rule);
                problems.extend(problem.map(|text| format!("column `{name}`: {text}")));
            }
        }
        for key in &self.key {
            if !self.columns.iter().any(|column| column.name == *key) {
                problems.push(format!("key column `{key}` is not among the columns"));
            }
        }
        let shares =
            [("quarantine_threshold", Some(self.quarantine_threshold)), ("fail_threshold", self.fail_threshold)];
        for (name, _) in shares.iter().filter(|(_, share)| share.is_some_and(|share| !(0.0..=1.0).contains(&share))) {
            problems.push(format!("`{name}` is a share between 0 and 1"));
        }
        problems
    }
}

/// Whether a text can name a table or column as it stands.
pub(crate) fn is_plain(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
