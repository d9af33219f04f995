//! Splits a batch into rows to load and rows to quarantine.

use std::collections::{BTreeMap, HashSet};

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use regex::Regex;

use super::contract::{Column, Contract};
use super::convert::Broken;
use super::rules::{RuleKind, Severity};
use super::totals::total_of;
use super::typed::typed;
use crate::ids::{ROW, SHAPE};

/// The name of the rule that a row breaks whose cells cannot be told apart.
/// The rule of rows whose cells cannot be told apart.
pub const SHAPE_RULE: &str = "shape";

/// Values known to the warehouse, by table and column, for rules that look them up.
#[derive(Debug, Default, Clone)]
pub struct Reference {
    known: BTreeMap<(String, String), HashSet<String>>,
}

impl Reference {
    /// Adds the values of a table's column.
    pub fn insert(&mut self, table: &str, column: &str, values: HashSet<String>) {
        self.known.insert((table.to_owned(), column.to_owned()), values);
    }

    fn values(&self, key: (&str, &str)) -> Option<&HashSet<String>> {
        self.known.get(&(key.0.to_owned(), key.1.to_owned()))
    }
}

/// One reason why one row was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Row as the file counts them, from 1.
    pub row: i64,
    /// Column of the contract; empty where the row as a whole is refused.
    pub column: String,
    /// The rule's name; `type` where the text is no such value, `shape` where the cells
    /// cannot be told apart.
    pub rule: &'static str,
    /// In words.
    pub reason: String,
    /// What stood there; left out where it is personal.
    pub value: Option<String>,
    /// Quarantine or fail.
    pub severity: Severity,
}

/// What came of a batch.
#[derive(Debug)]
pub struct Checked {
    /// Typed rows, with their numbers in [`ROW`].
    pub accepted: RecordBatch,
    /// The refused rows, each with its first reason.
    pub rejected: Vec<Rejection>,
    /// The refused rows as they came.
    pub rejected_rows: Vec<Vec<Option<String>>>,
    /// Rows that were loaded although they break a rule of severity `warn`, by column and rule.
    pub warned: BTreeMap<(String, &'static str), u64>,
}

/// Checks raw rows (columns of [`Contract::raw_schema`]) against a contract.
///
/// # Panics
/// When the batch has not that schema, which is the caller's mistake.
pub fn check(contract: &Contract, raw: &RecordBatch, reference: &Reference) -> Checked {
    let rows = raw.column_by_name(ROW).expect("raw batches carry row numbers").as_primitive::<Int64Type>();
    let mut refused: BTreeMap<usize, Rejection> = misshapen(raw, rows);
    let mut warned = BTreeMap::new();
    let (mut arrays, of_type): (Vec<ArrayRef>, Vec<Vec<Broken>>) = contract
        .columns
        .iter()
        .enumerate()
        .map(|(index, column)| typed(contract, column, raw.column(index).as_string::<i32>()))
        .unzip();
    for ((index, column), mut broken) in contract.columns.iter().enumerate().zip(of_type) {
        let texts = raw.column(index).as_string::<i32>();
        broken.extend(apply_rules(contract, column, texts, &arrays[index], reference));
        for rule in column.rules.iter().filter(|rule| rule.kind == RuleKind::TotalOf) {
            broken.extend(total_of(contract, &arrays[index], rule, &arrays));
        }
        for Broken { at, rule, reason, severity } in broken {
            // Its cells may stand under other names: none can be judged.
            if refused.get(&at).is_some_and(|known| known.rule == SHAPE_RULE) {
                continue;
            }
            if severity == Severity::Warn {
                *warned.entry((column.name.clone(), rule)).or_insert(0) += 1;
                continue;
            }
            let value = (!column.personal && texts.is_valid(at)).then(|| texts.value(at).to_owned());
            let shown = value.as_deref().map(|value| format!("`{}` ", shorten(value))).unwrap_or_default();
            let rejection = Rejection {
                row: rows.value(at),
                column: column.name.clone(),
                rule,
                reason: format!("{shown}{reason}"),
                value,
                severity,
            };
            let entry = refused.entry(at);
            if let std::collections::btree_map::Entry::Occupied(mut known) = entry {
                if severity == Severity::Fail && known.get().severity != Severity::Fail {
                    known.insert(rejection);
                }
            } else {
                entry.or_insert(rejection);
            }
        }
    }
    arrays.push(raw.column(contract.columns.len()).clone());
    let typed = RecordBatch::try_new(contract.schema(), arrays).expect("each array was built for its column's type");
    let rejected_rows = refused.keys().map(|at| texts_of(raw, *at, contract.columns.len())).collect();
    let accepted = if refused.is_empty() {
        typed
    } else {
        let keep: BooleanArray = (0..raw.num_rows()).map(|at| Some(!refused.contains_key(&at))).collect();
        arrow::compute::filter_record_batch(&typed, &keep).expect("the mask has a value for each row")
    };
    Checked { accepted, rejected: refused.into_values().collect(), rejected_rows, warned }
}

/// The rows whose cells could not be told apart, see [`SHAPE`].
fn misshapen(raw: &RecordBatch, rows: &Int64Array) -> BTreeMap<usize, Rejection> {
    let Some(shapes) = raw.column_by_name(SHAPE).and_then(|column| column.as_string_opt::<i32>()) else {
        return BTreeMap::new();
    };
    let refuse = |at: usize, reason: &str| Rejection {
        row: rows.value(at),
        column: String::new(),
        rule: SHAPE_RULE,
        reason: reason.to_owned(),
        value: None,
        severity: Severity::Quarantine,
    };
    let found = shapes.iter().enumerate().filter_map(|(at, reason)| Some((at, refuse(at, reason?))));
    found.collect()
}

fn texts_of(raw: &RecordBatch, at: usize, columns: usize) -> Vec<Option<String>> {
    (0..columns)
        .map(|index| {
            let texts = raw.column(index).as_string::<i32>();
            texts.is_valid(at).then(|| texts.value(at).to_owned())
        })
        .collect()
}

fn apply_rules(
    contract: &Contract,
    column: &Column,
    texts: &StringArray,
    array: &ArrayRef,
    reference: &Reference,
) -> Vec<Broken> {
    let mut broken = Vec::new();
    let mut required = column.rules.iter().find(|rule| rule.kind == RuleKind::Required).map(|rule| rule.severity);
    if contract.key.contains(&column.name) {
        required = required.or(Some(Severity::Quarantine));
    }
    if let Some(severity) = required {
        for at in (0..array.len()).filter(|at| array.is_null(*at)) {
            let reason = format!("`{}` is required", column.name);
            broken.push(Broken { at, rule: RuleKind::Required.name(), reason, severity });
        }
    }
    for rule in &column.rules {
        let mut refuse = |at: usize, reason: String| {
            broken.push(Broken { at, rule: rule.kind.name(), reason, severity: rule.severity });
        };
        let text_of = |at: usize| -> Option<&str> {
            let typed = array.as_string_opt::<i32>();
            match typed {
                Some(typed) => typed.is_valid(at).then(|| typed.value(at)),
                None => array.is_valid(at).then(|| texts.value(at).trim()),
            }
        };
        match rule.kind {
            // These look at more than one row or column, elsewhere.
            RuleKind::Required | RuleKind::Unique | RuleKind::TotalOf | RuleKind::ControlTotal => {}
            RuleKind::Accepted => {
                for at in 0..array.len() {
                    if let Some(text) = text_of(at)
                        && !rule.values.iter().any(|value| value == text)
                    {
                        refuse(at, format!("is none of {}", rule.values.join(", ")));
                    }
                }
            }
            RuleKind::Pattern => {
                let pattern = rule.pattern.as_deref().unwrap_or_default();
                let whole = Regex::new(&format!("^(?:{pattern})$")).expect("checked with the definition");
                for at in 0..array.len() {
                    if text_of(at).is_some_and(|text| !whole.is_match(text)) {
                        refuse(at, format!("does not match `{pattern}`"));
                    }
                }
            }
            RuleKind::Range => {
                let numbers = arrow::compute::cast(array, &arrow::datatypes::DataType::Float64)
                    .expect("range rules stand on numbers only");
                let numbers = numbers.as_primitive::<arrow::datatypes::Float64Type>();
                for at in (0..numbers.len()).filter(|at| numbers.is_valid(*at)) {
                    let number = numbers.value(at);
                    if rule.min.is_some_and(|min| number < min) || rule.max.is_some_and(|max| number > max) {
                        let bound = |bound: Option<f64>| bound.map_or_else(String::new, |bound| bound.to_string());
                        refuse(at, format!("is not within {}..{}", bound(rule.min), bound(rule.max)));
                    }
                }
            }
            RuleKind::Known | RuleKind::KnownStore => {
                let Some(key) = rule.looks_up() else { continue };
                let Some(known) = reference.values(key) else { continue };
                // As the warehouse writes values: a spreadsheet's `719.0` is its 719.
                let written = arrow::compute::cast(array, &arrow::datatypes::DataType::Utf8)
                    .expect("every type of column can be written as text");
                for (at, value) in written.as_string::<i32>().iter().enumerate() {
                    if value.is_some_and(|value| !known.contains(value)) {
                        refuse(at, format!("is not in {}.{}", key.0, key.1));
                    }
                }
            }
        }
    }
    broken
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= 40 {
        text.to_owned()
    } else {
        format!("{}…", text.chars().take(40).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const CONTRACT: &str = r#"
        key = ["store_id"]
        columns = [
          { name = "store_id", type = "store_id", rules = [{ kind = "known_store" }] },
          { name = "employee", type = "text", personal = true, rules = [{ kind = "accepted", values = ["Ann"] }] },
          { name = "amount", type = "decimal(12,2)", rules = [{ kind = "range", min = 0, severity = "warn" }] },
        ]
    "#;

    fn checked(lines: &[[&str; 3]]) -> Checked {
        let contract: Contract = toml::from_str(CONTRACT).unwrap();
        assert_eq!(contract.problems(), Vec::<String>::new());
        let column = |at: usize| {
            Arc::new(lines.iter().map(|line| (!line[at].is_empty()).then_some(line[at])).collect::<StringArray>())
                as ArrayRef
        };
        let rows: ArrayRef = Arc::new(arrow::array::Int64Array::from_iter_values(5..5 + lines.len() as i64));
        let raw = RecordBatch::try_new(contract.raw_schema(), vec![column(0), column(1), column(2), rows]).unwrap();
        let mut reference = Reference::default();
        reference.insert("stores", "store_id", HashSet::from(["000101".to_owned()]));
        check(&contract, &raw, &reference)
    }

    #[test]
    fn every_row_goes_out_exactly_once_and_a_bad_one_says_why() {
        let checked = checked(&[
            ["101", "Ann", "12.50"],
            ["000999", "Ann", "1"],
            ["101", "Ann", "n/a?"],
            ["", "Ann", "1"],
            ["101", "Bob", "1"],
            ["101.0", "", "-3"],
        ]);
        assert_eq!(checked.accepted.num_rows() + checked.rejected.len(), 6);
        assert_eq!(checked.rejected.len(), checked.rejected_rows.len());
        let lines: Vec<String> = checked
            .rejected
            .iter()
            .map(|rejection| {
                format!("row {} {} {}: {}", rejection.row, rejection.column, rejection.rule, rejection.reason)
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
        row 6 store_id known_store: `000999` is not in stores.store_id
        row 7 amount type: `n/a?` is no number
        row 8 store_id required: `store_id` is required
        row 9 employee accepted: is none of Ann
        ");
        assert_eq!(checked.warned.values().sum::<u64>(), 1);
    }

    #[test]
    fn a_row_whose_cells_cannot_be_told_apart_is_quarantined_before_any_rule_judges_it() {
        let contract: Contract = toml::from_str(
            r#"columns = [{ name = "area", type = "integer", rules = [{ kind = "range", max = 9, severity = "fail" }] }]"#,
        )
        .unwrap();
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["7", "99"]));
        let rows: ArrayRef = Arc::new(Int64Array::from_iter_values(2..4));
        let shapes: ArrayRef = Arc::new(StringArray::from(vec![None, Some("has 2 cells")]));
        let raw = RecordBatch::try_from_iter_with_nullable([
            ("area", texts, true),
            (ROW, rows, false),
            (SHAPE, shapes, true),
        ])
        .unwrap();
        let checked = check(&contract, &raw, &Reference::default());
        assert_eq!(checked.accepted.num_rows(), 1);
        let [rejection] = &checked.rejected[..] else { panic!("{:?}", checked.rejected) };
        assert_eq!((rejection.row, rejection.rule, rejection.reason.as_str()), (3, "shape", "has 2 cells"));
        assert_eq!(rejection.severity, Severity::Quarantine);
        assert_eq!(checked.rejected_rows, [[Some("99".to_owned())]]);
    }

    #[test]
    fn a_known_number_is_known_however_it_is_written() {
        let contract: Contract = toml::from_str(
            r#"columns = [{ name = "area", type = "integer", rules = [{ kind = "known", table = "areas", column = "area" }] }]"#,
        )
        .unwrap();
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["719", "719.0", " 719", "720"]));
        let rows: ArrayRef = Arc::new(arrow::array::Int64Array::from_iter_values(2..6));
        let raw = RecordBatch::try_new(contract.raw_schema(), vec![texts, rows]).unwrap();
        let mut reference = Reference::default();
        reference.insert("areas", "area", HashSet::from(["719".to_owned()]));
        let checked = check(&contract, &raw, &reference);
        let refused: Vec<i64> = checked.rejected.iter().map(|rejection| rejection.row).collect();
        assert_eq!(refused, [5]);
    }
}
