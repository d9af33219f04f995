//! Messy workbooks, read and typed, against what is true of them.

use std::collections::BTreeSet;
use std::io::Cursor;

use arrow::array::{Array as _, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use sandbox::generator::messy::{self, Messy};
use storekeeper::contracts::{self, Contract, Reference};
use storekeeper::formats::{self, Format, Wanted};

const LIMIT_BYTES: u64 = 64 << 20;
const ROW: &str = "_row";

fn contract(messy: &Messy) -> Contract {
    let columns: Vec<String> = messy
        .columns
        .iter()
        .map(|column| {
            let from = column.header.map(|header| format!(", from = \"{header}\"")).unwrap_or_default();
            let order = column.date_order.map(|order| format!(", date_order = \"{order}\"")).unwrap_or_default();
            format!("{{ name = \"{}\", type = \"{}\"{from}{order} }}", column.name, column.column_type)
        })
        .collect();
    let text = format!("key = [\"store_id\", \"sold_on\", \"channel\"]\ncolumns = [{}]", columns.join(", "));
    toml::from_str(&text).unwrap()
}

#[derive(Default)]
struct Outcome {
    rows: Vec<(String, i64, Vec<String>)>,
    refused: Vec<(String, i64, String, String)>,
    left_out: BTreeSet<(String, i64)>,
}

fn read(messy: &Messy) -> Outcome {
    let contract = contract(messy);
    let wanted = Wanted {
        columns: contract
            .columns
            .iter()
            .map(|column| (column.name.clone(), column.names().into_iter().map(str::to_owned).collect(), false))
            .collect(),
        ..Wanted::default()
    };
    #[derive(serde::Deserialize)]
    struct Holder {
        format: Format,
    }
    let holder: Holder = toml::from_str(&format!("format = {}", messy.format)).unwrap();
    assert_eq!(holder.format.problems(), Vec::<String>::new(), "{}", messy.name);
    let mut outcome = Outcome::default();
    for part in formats::parts(&holder.format, LIMIT_BYTES, Cursor::new(&messy.bytes)).unwrap() {
        let mut checked = Vec::new();
        let facts = formats::read(&part, &wanted, LIMIT_BYTES, Cursor::new(&messy.bytes), &mut |batch| {
            checked.push(contracts::check(&contract, &batch, &Reference::default()));
            true
        });
        let facts = facts.unwrap_or_else(|error| panic!("{}: {error}", messy.name));
        let sheet = facts.sheet.unwrap();
        for (reason, rows) in &facts.left_out_rows {
            assert_eq!(facts.left_out[reason], rows.len() as u64, "{}", messy.name);
            outcome.left_out.extend(rows.iter().map(|row| (sheet.clone(), *row as i64)));
        }
        for checked in checked {
            let accepted = &checked.accepted;
            let columns: Vec<_> = contract
                .columns
                .iter()
                .map(|column| cast(accepted.column_by_name(&column.name).unwrap(), &DataType::Utf8).unwrap())
                .collect();
            let rows = accepted.column_by_name(ROW).unwrap().as_primitive::<Int64Type>();
            for at in 0..accepted.num_rows() {
                let text = |array: &arrow::array::ArrayRef| {
                    let texts = array.as_string::<i32>();
                    if texts.is_valid(at) { texts.value(at).to_owned() } else { String::new() }
                };
                outcome.rows.push((sheet.clone(), rows.value(at), columns.iter().map(text).collect()));
            }
            outcome.refused.extend(
                checked
                    .rejected
                    .into_iter()
                    .map(|rejection| (sheet.clone(), rejection.row, rejection.column, rejection.reason)),
            );
        }
    }
    outcome
}

#[test]
fn every_cell_of_every_messy_workbook_equals_the_truth() {
    for messy in messy::all() {
        let outcome = read(&messy);
        let true_rows: Vec<(String, i64, Vec<String>)> = messy
            .rows
            .iter()
            .map(|row| {
                let values = row.values.iter().map(ToString::to_string).collect();
                (row.sheet.clone(), i64::from(row.number), values)
            })
            .collect();
        assert_eq!(outcome.rows, true_rows, "{}", messy.name);
        let refused: Vec<(&str, i64, &str)> =
            outcome.refused.iter().map(|(sheet, row, column, _)| (sheet.as_str(), *row, column.as_str())).collect();
        let true_refused: Vec<(&str, i64, &str)> =
            messy.refused.iter().map(|(sheet, row, column)| (sheet.as_str(), i64::from(*row), *column)).collect();
        assert_eq!(refused, true_refused, "{}", messy.name);
        let true_left_out: BTreeSet<(String, i64)> =
            messy.left_out.iter().map(|(sheet, row)| (sheet.clone(), i64::from(*row))).collect();
        assert_eq!(outcome.left_out, true_left_out, "{}", messy.name);
    }
}

#[test]
fn an_error_in_a_cell_is_refused_as_such_whatever_the_column_is() {
    let messy = messy::all().into_iter().find(|messy| messy.name == "broken_cells").unwrap();
    let reasons: Vec<String> =
        read(&messy).refused.into_iter().map(|(_, _, column, reason)| format!("{column}: {reason}")).collect();
    assert_eq!(
        reasons,
        [
            "net_sales: `#REF!` is a broken formula",
            "channel: `#NAME?` is a broken formula",
            "store_id: `#VALUE!` is a broken formula",
            "sold_on: `#NUM!` is a broken formula",
            "net_sales: `#NOT CALCULATED` is a formula that was never calculated: save the workbook in Excel",
        ]
    );
}
