//! Answers in one form, so that rows from anywhere can be compared. Pure.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::ids::{BrandId, StoreId};
use crate::warehouse::hexadecimal;

/// A store and whose it is: a number alone does not name one.
pub(super) type StoreKey = (BrandId, StoreId);

/// Rows with their columns' names.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Rows {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
    /// The service gave the first so many, and said so.
    pub(super) cut: bool,
}

/// How an answer differs from the truth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Difference {
    /// Rows that the truth does not have.
    pub(super) foreign: usize,
    /// Rows of the truth that did not come.
    pub(super) lacking: usize,
}

/// Rows of an answer on the screen hold at most so many.
const SCREEN_ROWS: usize = 2_000;

impl Rows {
    /// Reads the answer to a run of a question.
    pub(super) fn of_answer(answer: &Value) -> Self {
        let data = &answer["data"];
        let columns = data["cols"].as_array().into_iter().flatten();
        let rows = data["rows"].as_array().into_iter().flatten();
        let rows: Vec<Vec<Value>> = rows.map(|row| row.as_array().cloned().unwrap_or_default()).collect();
        Self {
            columns: columns.map(|column| column["name"].as_str().unwrap_or_default().to_owned()).collect(),
            cut: rows.len() >= SCREEN_ROWS || data["rows_truncated"].is_u64(),
            rows,
        }
    }

    /// Finds the stores that rows speak of: in a column `store_id`, or in a column
    /// `stores` that lists those which were added up.
    pub(super) fn stores(&self, brand: Option<&BrandId>) -> BTreeSet<StoreKey> {
        let at = |name: &str| self.columns.iter().position(|column| column == name);
        let (one, many, brands) = (at("store_id"), at("stores"), at("brand"));
        let mut stores = BTreeSet::new();
        for row in &self.rows {
            let text = |at: Option<usize>| at.and_then(|at| row.get(at)).and_then(Value::as_str);
            let brand = text(brands).map(BrandId::from).or_else(|| brand.cloned()).unwrap_or_else(|| BrandId::from(""));
            let listed = text(many).into_iter().flat_map(|list| list.split(','));
            for store in text(one).into_iter().chain(listed).filter(|store| !store.trim().is_empty()) {
                stores.insert((brand.clone(), StoreId::from(store.trim())));
            }
        }
        stores
    }

    /// Says whether the rows tell of which store they are.
    pub(super) fn tells_stores(&self) -> bool {
        self.columns.iter().any(|column| column == "store_id" || column == "stores")
    }

    /// How many rows hold anything at all: a file may leave out the others.
    pub(super) fn filled(&self) -> usize {
        self.rows.iter().filter(|row| row.iter().any(|cell| !in_one_spelling(cell).is_empty())).count()
    }

    fn counted(&self) -> BTreeMap<String, usize> {
        let mut counted = BTreeMap::new();
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(in_one_spelling).collect();
            *counted.entry(cells.join("\u{1f}")).or_insert(0) += 1;
        }
        counted
    }

    /// A digest of the rows, whatever their order and spelling.
    pub(super) fn hash(&self) -> String {
        let mut digest = Sha256::new();
        for (row, times) in self.counted() {
            digest.update(row.as_bytes());
            digest.update(format!("\u{1e}{times}\n"));
        }
        hexadecimal(&digest.finalize()[..16])
    }

    /// Compares with the truth.
    pub(super) fn differs(&self, truth: &Self) -> Difference {
        let (ours, theirs) = (self.counted(), truth.counted());
        let over = |left: &BTreeMap<String, usize>, right: &BTreeMap<String, usize>| -> usize {
            left.iter().map(|(row, times)| times.saturating_sub(right.get(row).copied().unwrap_or(0))).sum()
        };
        Difference { foreign: over(&ours, &theirs), lacking: if self.cut { 0 } else { over(&theirs, &ours) } }
    }
}

/// One value in one spelling: Metabase, PostgreSQL and a file write the same day,
/// number and nothing in different ways.
fn in_one_spelling(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), round),
        Value::String(text) => text_in_one_spelling(text),
        other => other.to_string(),
    }
}

fn text_in_one_spelling(text: &str) -> String {
    let text = text.trim();
    if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
        return round(number);
    }
    // Only what starts like a date or a time is tried as one.
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return text.to_owned();
    }
    let moment = DateTime::parse_from_rfc3339(text)
        .map(|at| at.naive_utc())
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f"))
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f"));
    if let Ok(at) = moment {
        let midnight = at.time() == NaiveTime::MIN;
        return if midnight { at.date().to_string() } else { at.format("%Y-%m-%dT%H:%M:%S%.f").to_string() };
    }
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return day.to_string();
    }
    match NaiveTime::parse_from_str(text.trim_end_matches('Z'), "%H:%M:%S%.f") {
        Ok(time) => time.format("%H:%M:%S%.f").to_string(),
        Err(_) => text.to_owned(),
    }
}

/// Nine digits: what a float keeps of a sum of money, whoever added it up.
fn round(number: f64) -> String {
    if number == 0.0 { "0".to_owned() } else { format!("{number:.8e}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(columns: &[&str], rows: Value) -> Rows {
        Rows::of_answer(&json!({
            "data": {"cols": columns.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(), "rows": rows},
        }))
    }

    #[test]
    fn stores_are_found_in_single_and_in_listed_form() {
        let brand = BrandId::from("harbor");
        assert_eq!(rows(&["x", "store_id"], json!([[1, "000101"], [2, null]])).stores(Some(&brand)).len(), 1);
        assert_eq!(rows(&["stores"], json!([["000101,000102"], ["000102, 000103"]])).stores(Some(&brand)).len(), 3);
        let of = rows(&["brand", "store_id"], json!([["mesa", "000101"]])).stores(None);
        assert_eq!(of.into_iter().next().map(|pair| pair.0), Some(BrandId::from("mesa")));
    }

    #[test]
    fn the_same_rows_are_the_same_in_every_spelling_and_order() {
        let screen = rows(&["day", "sum", "at"], json!([["2025-11-28T00:00:00Z", 12.5, "08:00:00Z"], [null, 0, null]]));
        let truth = rows(&["day", "sum", "at"], json!([[null, 0.0, ""], ["2025-11-28", "12.50", "08:00:00"]]));
        assert_eq!(screen.hash(), truth.hash());
        assert_eq!(screen.differs(&truth), Difference::default());
    }

    #[test]
    fn a_row_too_many_and_one_too_few_are_told_apart() {
        let truth = rows(&["a"], json!([[1], [2], [2]]));
        assert_eq!(rows(&["a"], json!([[1], [2], [3]])).differs(&truth), Difference { foreign: 1, lacking: 1 });
        assert_eq!(rows(&["a"], json!([[1], [2]])).differs(&truth), Difference { foreign: 0, lacking: 1 });
        let cut = Rows { cut: true, ..rows(&["a"], json!([[1], [2]])) };
        assert_eq!(cut.differs(&truth), Difference::default());
        assert_eq!(rows(&["a", "b"], json!([[1, null], [null, ""], [null, 0]])).filled(), 2);
        assert_ne!(rows(&["a"], json!([[2], [2]])).hash(), rows(&["a"], json!([[2]])).hash());
    }
}
