//! What a file must look like.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Deserializer};

use crate::ids::ROW;

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
    /// How text dates are written, e.g. `mdy` for `11/28/25`. Without it only
    /// year-month-day and real dates are read: guessing would be silent.
    pub date_order: Option<DateOrder>,
    /// Conditions on the values.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

impl Column {
    /// What files may call this column.
    pub fn names(&self) -> Vec<&str> {
        if self.from.is_empty() { vec![&self.name] } else { self.from.iter().map(String::as_str).collect() }
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
    /// A moment; text without an offset is read as UTC.
    Timestamp,
    /// True or false.
    Boolean,
}

impl ColumnType {
    /// What Arrow calls it.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Text | Self::StoreId => DataType::Utf8,
            Self::Integer => DataType::Int64,
            Self::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Boolean => DataType::Boolean,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "text" => Self::Text,
            "store_id" => Self::StoreId,
            "integer" => Self::Integer,
            "date" => Self::Date,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
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
            Self::Boolean => f.write_str("boolean"),
        }
    }
}

impl<'de> Deserialize<'de> for ColumnType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "unknown type `{text}`: use text, store_id, integer, decimal(p,s), date, time, timestamp or boolean"
            ))
        })
    }
}

/// One condition on a column's values.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which condition.
    pub kind: RuleKind,
    /// What happens to a row that breaks it. Default: `quarantine`.
    #[serde(default)]
    pub severity: Severity,
    /// `accepted`: the values that may stand here.
    #[serde(default)]
    pub values: Vec<String>,
    /// `range`: the smallest value.
    pub min: Option<f64>,
    /// `range`: the largest value.
    pub max: Option<f64>,
    /// `pattern`: a regular expression that the whole value matches.
    pub pattern: Option<String>,
    /// `known`: the table of the same brand that must hold the value.
    pub table: Option<String>,
    /// `known`: that table's column.
    pub column: Option<String>,
}

/// Kinds of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// A value must stand here.
    Required,
    /// The value is one of `values`.
    Accepted,
    /// The number lies between `min` and `max`.
    Range,
    /// The text matches `pattern`.
    Pattern,
    /// The value stands in `table`.`column`.
    Known,
    /// Short for `known` in `stores`.`store_id`.
    KnownStore,
}

impl RuleKind {
    /// Its name in definitions, reports and quarantine.
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Accepted => "accepted",
            Self::Range => "range",
            Self::Pattern => "pattern",
            Self::Known => "known",
            Self::KnownStore => "known_store",
        }
    }
}

/// What happens to a row that breaks a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It is loaded, and the run says so.
    Warn,
    /// It is kept aside with its reason; the others are loaded.
    #[default]
    Quarantine,
    /// The run fails and nothing is loaded.
    Fail,
}

impl Rule {
    /// The table and column that must hold the value, for rules that look one up.
    pub fn looks_up(&self) -> Option<(&str, &str)> {
        match self.kind {
            RuleKind::KnownStore => Some(("stores", "store_id")),
            RuleKind::Known => Some((self.table.as_deref()?, self.column.as_deref()?)),
            _ => None,
        }
    }
}

impl Contract {
    /// The schema of checked rows: the columns, then [`ROW`].
    pub fn schema(&self) -> SchemaRef {
        let mut fields: Vec<Field> =
            self.columns.iter().map(|column| Field::new(&column.name, column.column_type.data_type(), true)).collect();
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
            if column.date_order.is_some() && !matches!(column.column_type, ColumnType::Date | ColumnType::Timestamp) {
                problems.push(format!("column `{name}` is no date: it takes no `date_order`"));
            }
            for rule in &column.rules {
                problems.extend(rule_problem(column, rule).map(|text| format!("column `{name}`: {text}")));
            }
        }
        for key in &self.key {
            if !self.columns.iter().any(|column| column.name == *key) {
                problems.push(format!("key column `{key}` is not among the columns"));
            }
        }
        if !(0.0..=1.0).contains(&self.quarantine_threshold) {
            problems.push("`quarantine_threshold` is a share between 0 and 1".to_owned());
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

fn rule_problem(column: &Column, rule: &Rule) -> Option<String> {
    match rule.kind {
        RuleKind::Accepted if rule.values.is_empty() => Some("rule `accepted` needs `values`".to_owned()),
        RuleKind::Range if rule.min.is_none() && rule.max.is_none() => {
            Some("rule `range` needs `min` or `max`".to_owned())
        }
        RuleKind::Range if !matches!(column.column_type, ColumnType::Integer | ColumnType::Decimal { .. }) => {
            Some("rule `range` is for numbers".to_owned())
        }
        RuleKind::Pattern => match rule.pattern.as_deref().map(regex::Regex::new) {
            None => Some("rule `pattern` needs `pattern`".to_owned()),
            Some(Err(error)) => Some(format!("`pattern` is no regular expression: {error}")),
            Some(Ok(_)) => None,
        },
        RuleKind::Known if rule.table.is_none() || rule.column.is_none() => {
            Some("rule `known` needs `table` and `column`".to_owned())
        }
        _ => None,
    }
}
