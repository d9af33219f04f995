use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use super::draft::Observed;
use super::draft_column::{DraftColumn, propose};
use super::draft_key::key_candidates;

fn observed(names: &[&str], rows: &[&[&str]]) -> Observed {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let texts: StringArray = rows.iter().map(|row| Some(row[at]).filter(|text| !text.is_empty())).collect();
        columns.push((name, Arc::new(texts)));
    }
    columns.push(("_row", Arc::new(Int64Array::from_iter_values(2..2 + rows.len() as i64))));
    let mut observed = Observed::new(&names);
    observed.take(&RecordBatch::try_from_iter(columns).unwrap());
    observed
}

fn proposed(name: &str, values: &[&str]) -> DraftColumn {
    let rows: Vec<Vec<&str>> = values.iter().map(|value| vec![*value]).collect();
    let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
    propose(&observed(&[name], &rows)).remove(0)
}

fn shown(column: &DraftColumn) -> String {
    let order = column.date_order.map(|order| format!(" {order:?}").to_lowercase()).unwrap_or_default();
    format!("{}{order}", column.column_type)
}

#[test]
fn a_type_holds_for_every_value() {
    for (name, values, wanted) in [
        ("qty", &["1", "-2", "1,234"][..], "integer"),
        ("qty", &["1", "2.0"], "integer"),
        ("price", &["3.00", "4.00"], "decimal(12,2)"),
        ("price", &["12.5", "1000000.125"], "decimal(14,3)"),
        ("price", &["99.1", "12.5"], "decimal(12,2)"),
        ("price", &["1.234,50", "12,00"], "decimal(12,2)"),
        ("price", &["12.5", "n/a?"], "text"),
        ("price", &["1,25", "1,125"], "decimal(12,3)"),
        ("price", &["1,25", "1.5"], "text"),
        ("zip", &["90210", "10001"], "text"),
        ("article", &["007", "12"], "text"),
        ("Store Number", &["000125", "101"], "store_id"),
        ("Store Name", &["000125", "101"], "text"),
        ("sold on", &["2025-11-28", "2025-11-29T00:00:00"], "date"),
        ("sold on", &["11/28/25", "11/8/25"], "date mdy"),
        ("sold on", &["28.11.2025", "8.11.2025"], "date dmy"),
        ("sold on", &["1/8/25", "2/8/25"], "text"),
        ("sold on", &["1/28/25", "28/1/25"], "text"),
        ("at", &["2025-11-28 10:15", "2025-11-29"], "timestamp"),
        ("at", &["8:05", "23:59:59"], "time"),
        ("at", &["8:05", "25:30"], "duration"),
        ("hours", &["805", "1430"], "integer"),
        ("open", &["yes", "No"], "boolean"),
        ("open", &["0", "1"], "integer"),
        ("note", &["", ""], "text"),
    ] {
        assert_eq!(shown(&proposed(name, values)), wanted, "{name}: {values:?}");
    }
}

#[test]
fn what_is_suspicious_is_said_without_personal_values() {
    let column = proposed("Employee", &["Ann Smith", "Ann Smith"]);
    assert!(column.personal.is_some());
    let said = format!("{} {}", column.why, column.remarks.join(" "));
    assert!(said.contains("constant") && !said.contains("Ann"), "{said}");
    let column = proposed("contact", &["ann@example.com", "bob@example.com"]);
    assert!(column.personal.is_some());
    let said = |values: &[&str]| proposed("status", values).remarks.join("; ");
    assert!(said(&["open", "open"]).contains("`open`"));
    assert!(said(&["1/8/25", "2/8/25"]).contains("ambiguous"));
    assert!(said(&["1", "2", "x"]).contains("mixed: of 3 values 2 are numbers"));
    assert!(said(&["NULL", "a"]).contains("read as empty"));
}

#[test]
fn the_smallest_key_comes_first_and_a_measure_is_none() {
    let names = ["store id", "day", "amount", "note"];
    let rows: &[&[&str]] = &[
        &["1", "2025-01-01", "1.5", "a"],
        &["1", "2025-01-02", "2.5", "b"],
        &["2", "2025-01-01", "3.5", "b"],
        &["2", "2025-01-02", "4.5", ""],
    ];
    let observed = observed(&names, rows);
    let candidates = key_candidates(&observed, &propose(&observed));
    assert_eq!(candidates, [[0, 1]]);
}
