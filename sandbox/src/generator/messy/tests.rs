//! The workbooks are what they say, by a reader that is not ours.

use std::io::Cursor;

use calamine::{Data, Reader as _, Xlsx};

use super::{Value, all};

#[test]
fn the_same_call_makes_the_same_bytes() {
    for (one, other) in all().into_iter().zip(all()) {
        assert!(one.bytes == other.bytes, "{}", one.name);
    }
}

#[test]
fn every_true_row_stands_where_its_workbook_says() {
    for messy in all() {
        let mut workbook = Xlsx::new(Cursor::new(&messy.bytes)).unwrap();
        let channel = messy.columns.iter().position(|column| column.name == "channel").unwrap();
        assert!(messy.rows.len() >= 7, "{}", messy.name);
        for row in &messy.rows {
            let range = workbook.worksheet_range(&row.sheet).unwrap();
            let Value::Text(wanted) = &row.values[channel] else { panic!("a channel is text") };
            let found = (0..8).any(|column| {
                range.get_value((row.number - 1, column)).is_some_and(|cell| *cell == Data::String(wanted.clone()))
            });
            assert!(found, "{}: {} row {}", messy.name, row.sheet, row.number);
        }
    }
}

#[test]
fn no_row_is_both_loaded_and_left_out_or_refused() {
    for messy in all() {
        let gone = messy.left_out.iter().cloned();
        let gone = gone.chain(messy.refused.iter().map(|(sheet, number, _)| (sheet.clone(), *number)));
        for (sheet, number) in gone {
            let twice = messy.rows.iter().any(|row| row.sheet == sheet && row.number == number);
            assert!(!twice, "{}: {sheet} row {number}", messy.name);
        }
    }
}

#[test]
fn values_are_shown_as_the_database_writes_them() {
    assert_eq!(Value::Decimal(-5, 2).to_string(), "-0.05");
    assert_eq!(Value::Decimal(123_450, 2).to_string(), "1234.50");
    assert_eq!(Value::Null.to_string(), "");
}
