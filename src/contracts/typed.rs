//! A column of texts as a column of values, by everything its definition says.

use arrow::array::{Array as _, ArrayRef, BooleanArray, StringArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::contract::{Column, Contract};
use super::convert::{Broken, convert, of_type};
use super::prepare::{misgrouped, prepared};
use super::values;

/// Converts a column; what is no such value is null and named among the broken.
pub(super) fn typed(contract: &Contract, column: &Column, texts: &StringArray) -> (ArrayRef, Vec<Broken>) {
    let texts = prepared(contract, column, texts);
    let (mut array, mut broken) = convert(column, &texts);
    if column.decimal_mark.is_some() && texts.value_data().contains(&b',') {
        let wrong: BooleanArray = texts.iter().map(|text| Some(text.is_some_and(misgrouped))).collect();
        let known: std::collections::BTreeSet<usize> = broken.iter().map(|broken| broken.at).collect();
        for at in (0..wrong.len()).filter(|at| wrong.value(*at) && !known.contains(at)) {
            broken.push(of_type(at, "does not use the decimal mark of the column".to_owned()));
        }
        array = arrow::compute::nullif(&array, &wrong).expect("the mask has a value for each row");
        broken.sort_by_key(|broken| broken.at);
    }
    for broken in &mut broken {
        broken.severity = column.type_severity;
        // What a spreadsheet left in place of a value says more than that it is none.
        if let Err(reason) = values::text(texts.value(broken.at).trim()) {
            broken.reason = reason;
        }
    }
    (array, broken)
}

/// What a text means in a column, in one spelling: dates as `2025-11-28`, a store's
/// number with its zeros. `None` where it means nothing, or is no such value.
pub fn spelled(contract: &Contract, column: &Column, text: &str) -> Option<String> {
    let (array, broken) = typed(contract, column, &StringArray::from(vec![text]));
    if !broken.is_empty() || array.is_null(0) {
        return None;
    }
    let options = FormatOptions::default();
    Some(ArrayFormatter::try_new(array.as_ref(), &options).ok()?.value(0).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each text as its value, or as the reason why it is none.
    fn read(options: &str, texts: &[&str]) -> Vec<String> {
        let text = format!("columns = [{{ name = \"it\", {options} }}]");
        let contract: Contract = toml::from_str(&text).unwrap();
        assert_eq!(contract.problems(), Vec::<String>::new());
        let column = &contract.columns[0];
        let (array, broken) = typed(&contract, column, &StringArray::from(texts.to_vec()));
        assert_eq!(array.data_type(), &column.column_type.data_type());
        let options = FormatOptions::default().with_null("null");
        let shown = ArrayFormatter::try_new(array.as_ref(), &options).unwrap();
        let one = |at: usize| match broken.iter().find(|broken| broken.at == at) {
            Some(broken) => broken.reason.clone(),
            None => shown.value(at).to_string(),
        };
        (0..texts.len()).map(one).collect()
    }

    #[test]
    fn a_declared_decimal_mark_is_kept_and_the_other_is_refused() {
        let other = "does not use the decimal mark of the column";
        let comma =
            read(r#"type = "decimal(12,2)", decimal_mark = "comma""#, &["1.234,50", "12,5 %", "1.234", "12.50"]);
        assert_eq!(comma, ["1234.50", "0.13", "1234.00", other]);
        let point = read(r#"type = "decimal(12,2)", decimal_mark = "point""#, &["1,234.50", "1,234", "12,50", "-1.5"]);
        assert_eq!(point, ["1234.50", "1234.00", other, "-1.50"]);
        assert_eq!(read(r#"type = "integer", decimal_mark = "comma""#, &["1.234", "7"]), ["1234", "7"]);
    }

    #[test]
    fn words_that_mean_nothing_are_no_values() {
        let texts = ["n.v.", "12", "closed", "-"];
        let read = read(r#"type = "integer", null_words = ["n.v."]"#, &texts);
        assert_eq!(read, ["null", "12", "is no number", "null"]);
    }

    #[test]
    fn json_is_kept_as_it_stands_and_nothing_else_is_json() {
        let texts = [r#"{"a": [1, 2.50]}"#, "null", "{a: 1}", r#""\u0000""#, "12"];
        let refused = "is no JSON document";
        assert_eq!(read(r#"type = "json""#, &texts), [texts[0], "null", refused, refused, "12"]);
    }

    #[test]
    fn lengths_of_time_are_values_of_their_own() {
        let read = read(r#"type = "duration""#, &["7:30", "7:75"]);
        assert_eq!(read[0], "PT27000S");
        assert!(read[1].contains("no length of time"), "{read:?}");
    }
}
