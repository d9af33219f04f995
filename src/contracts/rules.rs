//! The conditions on values, as definitions write them.

use serde::Deserialize;

use super::contract::{Column, ColumnType, Contract};

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
    /// `total_of`: the columns of the same row whose sum this is.
    #[serde(default)]
    pub columns: Vec<String>,
    /// `total_of`, `control_total`: how far the sum may be off. Default: 0.
    pub tolerance: Option<f64>,
}

/// Kinds of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// A value must stand here.
    Required,
    /// No other row of the same file has this value.
    Unique,
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
    /// The number is the sum of `columns` in the same row.
    TotalOf,
    /// The file's own total rows are the sums of the rows above them.
    ControlTotal,
}

impl RuleKind {
    /// Its name in definitions, reports and quarantine.
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Unique => "unique",
            Self::Accepted => "accepted",
            Self::Range => "range",
            Self::Pattern => "pattern",
            Self::Known => "known",
            Self::KnownStore => "known_store",
            Self::TotalOf => "total_of",
            Self::ControlTotal => "control_total",
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
    /// The whole file is refused, nothing of it is loaded.
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

/// Says what is wrong with a rule of a column, if anything.
pub(super) fn rule_problem(contract: &Contract, column: &Column, rule: &Rule) -> Option<String> {
    let is_number = |column: &Column| matches!(column.column_type, ColumnType::Integer | ColumnType::Decimal { .. });
    if rule.tolerance.is_some_and(|tolerance| !tolerance.is_finite() || tolerance < 0.0) {
        return Some("`tolerance` is a number from 0 up".to_owned());
    }
    match rule.kind {
        RuleKind::Accepted if rule.values.is_empty() => Some("rule `accepted` needs `values`".to_owned()),
        RuleKind::Range if rule.min.is_none() && rule.max.is_none() => {
            Some("rule `range` needs `min` or `max`".to_owned())
        }
        RuleKind::Range | RuleKind::TotalOf | RuleKind::ControlTotal if !is_number(column) => {
            Some(format!("rule `{}` is for numbers", rule.kind.name()))
        }
        RuleKind::Pattern => match rule.pattern.as_deref().map(regex::Regex::new) {
            None => Some("rule `pattern` needs `pattern`".to_owned()),
            Some(Err(error)) => Some(format!("`pattern` is no regular expression: {error}")),
            Some(Ok(_)) => None,
        },
        RuleKind::Known if rule.table.is_none() || rule.column.is_none() => {
            Some("rule `known` needs `table` and `column`".to_owned())
        }
        RuleKind::Known if matches!(column.column_type, ColumnType::Duration | ColumnType::Json) => {
            Some(format!("rule `known` is not for {}", column.column_type))
        }
        RuleKind::TotalOf if rule.columns.is_empty() => Some("rule `total_of` needs `columns`".to_owned()),
        RuleKind::TotalOf => {
            rule.columns.iter().find_map(|name| match contract.columns.iter().find(|column| column.name == *name) {
                None => Some(format!("rule `total_of` names `{name}`, which is not among the columns")),
                Some(part) if !is_number(part) => Some(format!("rule `total_of` names `{name}`, which is no number")),
                Some(_) => None,
            })
        }
        _ => None,
    }
}
