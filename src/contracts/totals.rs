//! Sums that must match: a column of the same row, or the file's own total rows.

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};

use super::contract::Contract;
use super::convert::Broken;
use super::rules::{Rule, RuleKind, Severity};
use super::typed::typed;
use crate::ids::ROW;

/// Finds the rows in which a column is not the sum of others. An empty part counts
/// as nothing; an empty total is not compared.
pub(super) fn total_of(contract: &Contract, total: &ArrayRef, rule: &Rule, arrays: &[ArrayRef]) -> Vec<Broken> {
    let parts: Vec<&ArrayRef> = contract
        .columns
        .iter()
        .zip(arrays)
        .filter(|(column, _)| rule.columns.contains(&column.name))
        .map(|(_, array)| array)
        .collect();
    let scale = parts.iter().map(|part| scale_of(part)).chain([scale_of(total)]).max().unwrap_or(0);
    let allowed = allowed(rule, scale);
    // A sum tells about its parts.
    let personal = contract.columns.iter().any(|column| column.personal && rule.columns.contains(&column.name));
    let mut broken = Vec::new();
    for at in (0..total.len()).filter(|at| total.is_valid(*at)) {
        let sum = parts.iter().try_fold(0_i128, |sum, part| sum.checked_add(number(part, at, scale)?));
        let fits = sum.zip(number(total, at, scale)).is_some_and(|(sum, total)| off(sum, total) <= allowed);
        if !fits {
            let reason = match sum {
                Some(_) if personal => format!("is not the sum of {}", rule.columns.join(", ")),
                Some(sum) => format!("is not the sum of {}, which is {}", rule.columns.join(", "), shown(sum, scale)),
                None => format!("cannot be compared with {}: the sum is too large", rule.columns.join(", ")),
            };
            broken.push(Broken { at, rule: rule.kind.name(), reason, severity: rule.severity });
        }
    }
    broken
}

/// A total row of a file, as the format left it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TotalRow {
    /// Row as the file counts them, from 1.
    pub row: u64,
    /// What stands in each of the contract's columns.
    pub cells: Vec<Option<String>>,
}

/// A column whose total rows do not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlFailure {
    /// The total row; `None` where the file has none.
    pub row: Option<u64>,
    /// The column.
    pub column: String,
    /// In words.
    pub reason: String,
    /// Whether the file is refused, or the run says so only.
    pub severity: Severity,
}

/// Adds a file's rows up, to compare them with its own total rows in the end.
///
/// Rows that are refused count too: the file's total counts them as well. Memory
/// grows with the gaps in the row numbers only, which is where total rows stood.
#[derive(Debug)]
pub struct ControlSums {
    contract: Contract,
    watched: Vec<Watched>,
    last_row: i64,
    /// Row before a gap, and the sums up to there.
    gaps: Vec<(i64, Vec<i128>)>,
}

#[derive(Debug)]
struct Watched {
    index: usize,
    rule: Rule,
    scale: u32,
    sum: i128,
    overflowed: bool,
}

impl ControlSums {
    /// Starts adding up; `None` where no rule asks for it.
    pub fn of(contract: &Contract) -> Option<Self> {
        let mut watched = Vec::new();
        for (index, column) in contract.columns.iter().enumerate() {
            let rule = column.rules.iter().find(|rule| rule.kind == RuleKind::ControlTotal);
            watched.extend(rule.map(|rule| Watched {
                index,
                rule: rule.clone(),
                scale: match column.column_type.data_type() {
                    DataType::Decimal128(_, scale) => u32::from(scale.unsigned_abs()),
                    _ => 0,
                },
                sum: 0,
                overflowed: false,
            }));
        }
        let contract = contract.clone();
        (!watched.is_empty()).then_some(Self { contract, watched, last_row: 0, gaps: Vec::new() })
    }

    /// Takes raw rows, in the file's order.
    ///
    /// # Panics
    /// When the batch is not of the contract's raw schema.
    pub fn take(&mut self, raw: &RecordBatch) {
        let rows = raw.column_by_name(ROW).expect("raw batches carry row numbers").as_primitive::<Int64Type>();
        let arrays: Vec<ArrayRef> = self
            .watched
            .iter()
            .map(|watched| {
                let column = &self.contract.columns[watched.index];
                typed(&self.contract, column, raw.column(watched.index).as_string::<i32>()).0
            })
            .collect();
        for at in 0..raw.num_rows() {
            let row = rows.value(at);
            if row > self.last_row + 1 {
                self.gaps.push((self.last_row, self.watched.iter().map(|watched| watched.sum).collect()));
            }
            self.last_row = row;
            for (watched, array) in self.watched.iter_mut().zip(&arrays) {
                if let Some(value) = number(array, at, watched.scale) {
                    match watched.sum.checked_add(value) {
                        Some(sum) => watched.sum = sum,
                        None => watched.overflowed = true,
                    }
                }
            }
        }
    }

    /// Compares with the file's total rows, in the file's order. A total row fits
    /// where it is the sum of all rows above it, or of those since an earlier total row.
    pub fn compare(&self, totals: &[TotalRow]) -> Vec<ControlFailure> {
        let mut failures = Vec::new();
        for (position, watched) in self.watched.iter().enumerate() {
            let column = &self.contract.columns[watched.index];
            let severity = if watched.rule.severity == Severity::Warn { Severity::Warn } else { Severity::Fail };
            let mut fail = |row: Option<u64>, reason: String| {
                failures.push(ControlFailure { row, column: column.name.clone(), reason, severity });
            };
            if watched.overflowed {
                fail(None, "the sum of the rows is too large to compare".to_owned());
                continue;
            }
            let allowed = allowed(&watched.rule, watched.scale);
            let mut starts = vec![0_i128];
            let mut compared = 0;
            for total in totals {
                let Some(text) = total.cells.get(watched.index).and_then(Option::as_deref) else { continue };
                let above = self.sum_above(position, total.row);
                compared += 1;
                let texts = arrow::array::StringArray::from(vec![text]);
                let read = typed(&self.contract, column, &texts).0;
                let value = if read.is_null(0) { None } else { number(&read, 0, watched.scale) };
                match value {
                    None if column.personal => fail(Some(total.row), "the total row holds no number".to_owned()),
                    None => fail(Some(total.row), format!("`{text}` in the total row is no number")),
                    Some(value) if starts.iter().any(|start| off(above - start, value) <= allowed) => {}
                    Some(_) if column.personal => {
                        fail(Some(total.row), "the file's total is not what its rows add up to".to_owned());
                    }
                    Some(value) => {
                        let rows = shown(above, watched.scale);
                        let total_shown = shown(value, watched.scale);
                        fail(Some(total.row), format!("the file's total is {total_shown}, its rows add up to {rows}"));
                    }
                }
                if starts.last() != Some(&above) {
                    starts.push(above);
                }
            }
            if compared == 0 {
                fail(None, "the file has no total row with a value here: it may have been cut short".to_owned());
            }
        }
        failures
    }

    fn sum_above(&self, position: usize, row: u64) -> i128 {
        let row = i64::try_from(row).unwrap_or(i64::MAX);
        if row > self.last_row {
            return self.watched[position].sum;
        }
        // A total row was left out, so that there is a gap where it stood.
        let before = self.gaps.partition_point(|(last, _)| *last < row);
        before.checked_sub(1).map_or(0, |at| self.gaps[at].1[position])
    }
}

fn scale_of(array: &ArrayRef) -> u32 {
    match array.data_type() {
        DataType::Decimal128(_, scale) => u32::from(scale.unsigned_abs()),
        _ => 0,
    }
}

/// A number at a scale; an empty one counts as nothing. `None` where it does not fit.
fn number(array: &ArrayRef, at: usize, scale: u32) -> Option<i128> {
    if array.is_null(at) {
        return Some(0);
    }
    let value = match array.data_type() {
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value(at),
        _ => i128::from(array.as_primitive::<Int64Type>().value(at)),
    };
    value.checked_mul(10_i128.checked_pow(scale - scale_of(array))?)
}

fn off(sum: i128, total: i128) -> u128 {
    sum.abs_diff(total)
}

/// The tolerance in units of the scale; a hair more, since a binary 0.01 may lie below it.
fn allowed(rule: &Rule, scale: u32) -> u128 {
    (rule.tolerance.unwrap_or(0.0) * 10_f64.powi(scale as i32) + 1e-6) as u128
}

/// A number as people write it.
fn shown(value: i128, scale: u32) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale as usize + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringArray};

    use super::*;
    use crate::contracts::{Reference, check};

    fn contract(text: &str) -> Contract {
        let contract: Contract = toml::from_str(text).unwrap();
        assert_eq!(contract.problems(), Vec::<String>::new());
        contract
    }

    fn raw(contract: &Contract, columns: &[&[&str]], rows: &[i64]) -> RecordBatch {
        let mut arrays: Vec<ArrayRef> =
            columns.iter().map(|texts| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef).collect();
        arrays.push(Arc::new(Int64Array::from(rows.to_vec())));
        RecordBatch::try_new(contract.raw_schema(), arrays).unwrap()
    }

    #[test]
    fn a_total_in_the_row_must_be_the_sum_of_its_parts() {
        let contract = contract(
            r#"columns = [
                { name = "total", type = "decimal(12,2)", rules = [{ kind = "total_of", columns = ["food", "tips"], tolerance = 0.01 }] },
                { name = "food", type = "decimal(12,3)" },
                { name = "tips", type = "integer" },
            ]"#,
        );
        let raw = raw(
            &contract,
            &[&["12.50", "12.51", "12.52", "", "3"], &["10.5", "10.5", "10.5", "9", ""], &["2", "2", "2", "9", "3"]],
            &[2, 3, 4, 5, 6],
        );
        let checked = check(&contract, &raw, &Reference::default());
        let lines: Vec<String> =
            checked.rejected.iter().map(|refused| format!("row {}: {}", refused.row, refused.reason)).collect();
        assert_eq!(lines, ["row 4: `12.52` is not the sum of food, tips, which is 12.500"]);
    }

    #[test]
    fn subtotals_and_the_grand_total_must_be_the_sums_of_their_rows() {
        let contract =
            contract(r#"columns = [{ name = "sales", type = "decimal(12,2)", rules = [{ kind = "control_total" }] }]"#);
        let total = |row: u64, text: &str| TotalRow { row, cells: vec![(!text.is_empty()).then(|| text.to_owned())] };
        let compare = |totals: &[TotalRow]| {
            let mut sums = ControlSums::of(&contract).unwrap();
            sums.take(&raw(&contract, &[&["10.00", "5.50"]], &[2, 3]));
            sums.take(&raw(&contract, &[&["4", "1"]], &[5, 6]));
            sums.compare(totals).into_iter().map(|failure| (failure.row, failure.reason)).collect::<Vec<_>>()
        };
        assert_eq!(compare(&[total(4, "15.50"), total(7, "5"), total(8, "20.50")]), []);
        let wrong = compare(&[total(4, "15.50"), total(8, "20.51")]);
        assert_eq!(wrong, [(Some(8), "the file's total is 20.51, its rows add up to 20.50".to_owned())]);
        assert_eq!(compare(&[total(4, "5.50")]).len(), 1, "a subtotal of other rows");
        assert!(compare(&[])[0].1.contains("no total row"));
        assert!(compare(&[total(8, "many")])[0].1.contains("is no number"));
    }
}
