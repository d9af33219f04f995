//! What becomes of files of separated values, the broken ones above all.

use std::io::Cursor;

use arrow::array::{Array as _, AsArray as _};
use arrow::datatypes::Int64Type;

use super::{Dialect, Error, Facts, Format, Kind, Wanted, read};
use crate::ids::{ROW, SHAPE};

fn format() -> Format {
    serde_json::from_value(serde_json::json!({ "kind": "csv" })).unwrap()
}

/// Each row as `row: cells`, with its shape's reason behind `!`.
fn rows_of(format: &Format, bytes: &[u8]) -> (Vec<String>, Result<Facts, Error>) {
    assert_eq!(format.kind, Kind::Csv);
    let names = ["store", "note", "amount"];
    let columns = names.map(|name| (name.to_owned(), vec![name.to_owned()], false)).to_vec();
    let wanted = Wanted { columns, ..Wanted::default() };
    let mut lines = Vec::new();
    let facts = read(format, &wanted, 0, Cursor::new(bytes), &mut |batch| {
        let rows = batch.column_by_name(ROW).unwrap().as_primitive::<Int64Type>();
        for at in 0..batch.num_rows() {
            let text = |column: &arrow::array::ArrayRef| {
                let column = column.as_string::<i32>();
                if column.is_valid(at) { column.value(at).to_owned() } else { "·".to_owned() }
            };
            let cells: Vec<String> = (0..3).map(|index| text(batch.column(index))).collect();
            let shape = batch.column_by_name(SHAPE).map(text).filter(|shape| shape != "·");
            let shape = shape.map_or_else(String::new, |shape| format!(" ! {shape}"));
            lines.push(format!("{}: {}{shape}", rows.value(at), cells.join("|")));
        }
        true
    });
    (lines, facts)
}

fn rows(bytes: &[u8]) -> Vec<String> {
    let (lines, facts) = rows_of(&format(), bytes);
    assert_eq!(facts.unwrap().rows_read, lines.len() as u64);
    lines
}

const PLAIN: &str = "store,note,amount\n1,Zoë,2.50\n2,\"a, \"\"b\"\"\",3\n";
const EXPECTED: [&str; 2] = ["2: 1|Zoë|2.50", "3: 2|a, \"b\"|3"];

#[test]
fn lines_may_end_in_any_way() {
    for end in ["\n", "\r\n", "\r"] {
        let text = PLAIN.replace('\n', end);
        assert_eq!(rows(text.as_bytes()), EXPECTED, "{end:?}");
        assert_eq!(rows(text.trim_end().as_bytes()), EXPECTED, "{end:?} but for the last");
    }
}

#[test]
fn an_encoding_is_found_with_and_without_its_mark() {
    let sixteen = |big: bool, mark: bool| -> Vec<u8> {
        let units = mark.then_some(0xFEFF).into_iter().chain(PLAIN.encode_utf16());
        units.flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() }).collect()
    };
    let latin: Vec<u8> = PLAIN.chars().map(|c| u8::try_from(c).unwrap()).collect();
    for (bytes, encoding) in [
        (PLAIN.as_bytes().to_vec(), "UTF-8"),
        ([b"\xEF\xBB\xBF", PLAIN.as_bytes()].concat(), "UTF-8"),
        (sixteen(false, true), "UTF-16LE"),
        (sixteen(true, true), "UTF-16BE"),
        (sixteen(false, false), "UTF-16LE"),
        (sixteen(true, false), "UTF-16BE"),
        (latin, "windows-1252"),
    ] {
        assert_eq!(Dialect::find(&bytes).encoding.name(), encoding);
        assert_eq!(rows(&bytes), EXPECTED, "{encoding}");
    }
}

#[test]
fn a_delimiter_is_found_by_what_the_header_says_of_the_rows() {
    for delimiter in [',', ';', '\t', '|'] {
        let d = delimiter;
        let text = format!("store{d}note{d}amount\n1{d}x{d}\"2,5;5|5\"\n2{d}y{d}3\n");
        assert_eq!(Dialect::find(text.as_bytes()).delimiter, delimiter);
        assert_eq!(rows(text.as_bytes()), ["2: 1|x|2,5;5|5", "3: 2|y|3"]);
    }
    let decimals = "store;note;amount\n1,5;2,5;3,5\n1,5;2,5;3,5\n1,5;2,5;3,5\n";
    assert_eq!(Dialect::find(decimals.as_bytes()).delimiter, ';');
    let titled = "Sales, as of today\n\nstore;note;amount\n1;x;2\n2;y, z;3\n";
    assert_eq!(rows(titled.as_bytes()), ["4: 1|x|2", "5: 2|y, z|3"]);
    assert_eq!(Dialect::find(b"").delimiter, ',');
}

#[test]
fn quotes_and_escapes_are_found_and_can_be_frozen() {
    let single = "store,note,amount\n'1','it, ''s','2'\n'2','b','3'\n";
    assert_eq!(rows(single.as_bytes()), ["2: 1|it, 's|2", "3: 2|b|3"]);
    let apostrophes = "store,note,amount\n1,'tis,2\n2,boys',3\n";
    assert_eq!(rows(apostrophes.as_bytes()), ["2: 1|'tis|2", "3: 2|boys'|3"]);
    let escaped = "store,note,amount\n1,\"5\\\" pipe, long\",2\n";
    assert_eq!(rows(escaped.as_bytes()), ["2: 1|5\" pipe, long|2"]);
    // Nothing in this file gives its quote away.
    let frozen = Format { quote: Some('~'), ..format() };
    assert_eq!(rows_of(&frozen, b"store,note,amount\n1,~a,b~,2\n").0, ["2: 1|a,b|2"]);
    assert_ne!(rows(b"store,note,amount\n1,~a,b~,2\n"), ["2: 1|a,b|2"]);
    let wide = Format { delimiter: Some('é'), ..format() };
    assert!(rows_of(&wide, PLAIN.as_bytes()).1.unwrap_err().to_string().contains("delimiter `é`"));
}

#[test]
fn a_frozen_delimiter_that_no_longer_fits_names_what_was_found() {
    let frozen = Format { delimiter: Some(';'), ..format() };
    let error = rows_of(&frozen, PLAIN.as_bytes()).1.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no header row was found: the format says cells are parted by `;`, but the file parts them by `,`"
    );
    assert!(error.hint().unwrap().contains("delimiter"));
    let fits = Format { delimiter: Some(','), ..format() };
    assert!(matches!(rows_of(&fits, b"shop,note,amount\n1,x,2\n").1, Err(Error::NoHeader { .. })));
}

#[test]
fn a_header_that_left_its_frozen_row_is_missed_there() {
    let third = Format { header: Some(3), ..format() };
    let error = rows_of(&third, PLAIN.as_bytes()).1.unwrap_err();
    assert!(
        error.to_string().starts_with("row 3, in which the format says the header stands, does not name `"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("take `header` out"));
    let fiftieth = Format { header: Some(50), ..format() };
    let error = rows_of(&fiftieth, PLAIN.as_bytes()).1.unwrap_err();
    assert_eq!(error.to_string(), "row 50, in which the format says the header stands, does not name any column");
}

#[test]
fn a_ragged_row_says_so_and_shifts_nothing() {
    let text = "store,note,amount\n1,x,2\n1,2\n1,x,2,9\n1,x,2,,\n,,\nsun,2\n1,x";
    let (lines, facts) = rows_of(&format(), text.as_bytes());
    insta::assert_snapshot!(lines.join("\n"), @r"
    2: 1|x|2
    3: 1|2|· ! has 2 cells where the header has 3
    4: 1|x|2 ! has 4 cells where the header has 3
    5: 1|x|2
    7: sun|2|· ! has 2 cells where the header has 3
    8: 1|x|· ! has 2 cells where the header has 3, and the file ends in it: it may be cut short
    ");
    assert_eq!(facts.unwrap().left_out, [("blank", 1)].into());
}

#[test]
fn a_file_cut_inside_quotes_is_refused_whole() {
    let (_, facts) = rows_of(&format(), b"store,note,amount\n1,x,2\n2,\"cut he");
    assert!(facts.unwrap_err().to_string().contains("row 3 opens a quote"));
}

#[test]
fn a_quote_that_is_never_closed_costs_bounded_memory() {
    let mut bytes = b"store,note,amount\n1,\"".to_vec();
    bytes.extend(std::iter::repeat_n(b"1,x,2\n", 6 << 20).flatten());
    let (lines, facts) = rows_of(&format(), &bytes);
    assert!(lines.is_empty());
    assert!(facts.unwrap_err().to_string().contains("row 2 opens a quote"));
}

#[test]
fn a_nul_byte_is_quarantined_and_does_not_end_a_row() {
    let lines = rows(b"store,note,amount\n1,a\0b,2\n2,\"c\0\",3\n3,d,4\n");
    insta::assert_snapshot!(lines.join("\n"), @r"
    2: 1|a?b|2 ! holds a NUL byte, shown as `?`
    3: 2|c?|3 ! holds a NUL byte, shown as `?`
    4: 3|d|4
    ");
}

#[test]
fn a_bad_byte_of_utf_8_is_refused_and_not_replaced() {
    let mut bytes = PLAIN.as_bytes().to_vec();
    bytes.extend(std::iter::repeat_n(b"1,x,2\n", 200_000).flatten());
    bytes.extend(b"1,\xFF,2\n");
    let (_, facts) = rows_of(&format(), &bytes);
    assert_eq!(facts.unwrap_err().to_string(), "row 200004 is not UTF-8");
}

#[test]
fn rows_are_numbered_by_the_lines_of_the_file() {
    let lines = rows(b"store,note,amount\r\n\r\n1,\"a\r\nb\nc\rd\",2\r\n2,x,3\r\n");
    assert_eq!(lines[0].split(':').next(), Some("3"));
    assert_eq!(lines[1], "7: 2|x|3");
}

#[test]
fn an_escaped_line_break_is_counted_and_an_escaped_nul_is_one() {
    let escaped = Format { escape: Some('\\'), ..format() };
    let (lines, facts) = rows_of(&escaped, b"store,note,amount\n1,\"a\\\nb\",2\n2,\"c\\\0\",3\n");
    assert_eq!(lines, ["2: 1|a\nb|2", "4: 2|c?|3 ! holds a NUL byte, shown as `?`"]);
    assert_eq!(facts.unwrap().rows_read, 2);
}

#[test]
fn no_piece_of_a_buffer_changes_what_is_read() {
    let mut text = String::from("store,note,amount\n");
    for at in 0..30_000 {
        text += &format!("{at},\"n\"\"{}\r\nö\",{}.5\r\n", "x".repeat(at % 37), at % 100);
    }
    let lines = rows(text.as_bytes());
    assert_eq!(lines.len(), 30_000);
    for (at, line) in lines.iter().enumerate() {
        let expected = format!("{}: {at}|n\"{}\r\nö|{}.5", 2 + at * 2, "x".repeat(at % 37), at % 100);
        assert_eq!(*line, expected);
    }
}

#[test]
fn either_row_of_a_header_of_two_is_known_again() {
    let names = ["sales / net", "sales / gross"];
    let columns = names.map(|name| (name.to_owned(), vec![name.to_owned()], false)).to_vec();
    let wanted = Wanted { columns, ..Wanted::default() };
    let text = "Sales,\nNet,Gross\n1,2\nSales,\nNet,Gross\n3,4\n";
    let facts = read(&format(), &wanted, 0, Cursor::new(text.as_bytes()), &mut |_| true).unwrap();
    assert_eq!((facts.rows_read, facts.left_out), (2, [("repeated header", 2)].into()));
}

#[test]
fn a_header_over_again_and_totals_are_left_out_and_counted() {
    let (lines, facts) = rows_of(&format(), b"store,note,amount\n1,x,2\nStore , NOTE,amount\nTotal,,2\nsun,t,1\n");
    assert_eq!(lines, ["2: 1|x|2", "5: sun|t|1"]);
    assert_eq!(facts.unwrap().left_out, [("repeated header", 1), ("total", 1)].into());
}
