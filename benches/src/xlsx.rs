//! Reads, checks and types a workbook, against plain calamine on the same bytes.
//!
//! The target is at most 1.5 times what calamine alone needs for its range of
//! cells, although the archive is looked through first and every cell becomes a
//! typed value.

use std::hint::black_box;
use std::io::{Cursor, Write as _};
use std::time::Duration;

use calamine::{Reader as _, Xlsx};
use criterion::{Criterion, Throughput};
use storekeeper_benches::{contracts, fastest_in_turns, formats};
use zip::write::SimpleFileOptions;

const ROWS: u32 = 100_000;
const ROUNDS: usize = 5;
const LIMIT_BYTES: u64 = 1 << 30;
const TEXTS: [&str; 6] = ["App", "Web", "Phone", "Lunch", "Dinner", "Evening"];

/// Thirteen columns as a sales export has them: a store, a date, three texts, eight measures.
fn workbook() -> Vec<u8> {
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let package = "http://schemas.openxmlformats.org/package/2006/relationships";
    let mut sheet = format!("<worksheet xmlns=\"{main}\"><sheetData><row r=\"1\">");
    for (number, column) in ('A'..='M').enumerate() {
        sheet += &format!("<c r=\"{column}1\" t=\"inlineStr\"><is><t>c{number}</t></is></c>");
    }
    sheet += "</row>";
    for row in 2..=ROWS + 1 {
        sheet += &format!("<row r=\"{row}\"><c r=\"A{row}\"><v>{}</v></c>", 100 + row % 45);
        sheet += &format!("<c r=\"B{row}\" s=\"1\"><v>{}</v></c>", 45_000 + row / 300);
        for (offset, column) in ('C'..='E').enumerate() {
            sheet += &format!("<c r=\"{column}{row}\" t=\"s\"><v>{}</v></c>", (row as usize + offset) % TEXTS.len());
        }
        for (offset, column) in (1..).zip('F'..='M') {
            let value = f64::from(row % 997 * offset) * 0.01 + 32.019_999_999_999_996;
            sheet += &format!("<c r=\"{column}{row}\"><v>{value}</v></c>");
        }
        sheet += "</row>";
    }
    sheet += "</sheetData></worksheet>";
    let strings: String = TEXTS.iter().map(|text| format!("<si><t>{text}</t></si>")).collect();
    let parts = [
        (
            "_rels/.rels",
            format!(
                "<Relationships xmlns=\"{package}\"><Relationship Id=\"r1\" Type=\"{relations}/officeDocument\" Target=\"xl/workbook.xml\"/></Relationships>"
            ),
        ),
        (
            "xl/workbook.xml",
            format!(
                "<workbook xmlns=\"{main}\" xmlns:r=\"{relations}\"><sheets><sheet name=\"Sales\" sheetId=\"1\" r:id=\"r1\"/></sheets></workbook>"
            ),
        ),
        (
            "xl/_rels/workbook.xml.rels",
            format!(
                "<Relationships xmlns=\"{package}\"><Relationship Id=\"r1\" Type=\"{relations}/worksheet\" Target=\"worksheets/sheet1.xml\"/><Relationship Id=\"r2\" Type=\"{relations}/sharedStrings\" Target=\"sharedStrings.xml\"/><Relationship Id=\"r3\" Type=\"{relations}/styles\" Target=\"styles.xml\"/></Relationships>"
            ),
        ),
        (
            "xl/styles.xml",
            format!(
                "<styleSheet xmlns=\"{main}\"><cellXfs count=\"2\"><xf numFmtId=\"0\"/><xf numFmtId=\"14\"/></cellXfs></styleSheet>"
            ),
        ),
        ("xl/sharedStrings.xml", format!("<sst xmlns=\"{main}\">{strings}</sst>")),
        ("xl/worksheets/sheet1.xml", sheet),
    ];
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, text) in parts {
        archive.start_file(path, SimpleFileOptions::default()).expect("a ZIP in memory takes every entry");
        archive.write_all(text.as_bytes()).expect("memory takes every byte");
    }
    archive.finish().expect("a ZIP in memory can be finished").into_inner()
}

fn contract() -> contracts::Contract {
    let types = ["store_id", "date", "text", "text", "text"].into_iter().chain(["decimal(12,2)"; 8]);
    let columns: Vec<String> =
        types.enumerate().map(|(number, name)| format!("{{ name = \"c{number}\", type = \"{name}\" }}")).collect();
    toml::from_str(&format!("columns = [{}]", columns.join(", "))).expect("the contract is one")
}

fn plain(bytes: &[u8]) -> usize {
    let mut workbook = Xlsx::new(Cursor::new(bytes)).expect("the workbook opens");
    workbook.worksheet_range("Sales").expect("the sheet is there").height()
}

fn typed(bytes: &[u8], contract: &contracts::Contract) -> usize {
    let format = formats::Format::new(formats::Kind::Xlsx);
    let names = |column: &contracts::Column| column.names().into_iter().map(str::to_owned).collect();
    let wanted = formats::Wanted {
        columns: contract.columns.iter().map(|column| (column.name.clone(), names(column), false)).collect(),
        ..formats::Wanted::default()
    };
    let reference = contracts::Reference::default();
    let mut rows = 0;
    let facts = formats::read(&format, &wanted, LIMIT_BYTES, Cursor::new(bytes), &mut |batch| {
        rows += black_box(contracts::check(contract, &batch, &reference)).accepted.num_rows();
        true
    });
    assert_eq!(facts.expect("the workbook is read").rows_read, rows as u64);
    rows
}

fn main() {
    let (bytes, contract) = (workbook(), contract());
    let ours = || typed(black_box(&bytes), &contract);
    let theirs = || plain(black_box(&bytes));
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let mut group = criterion.benchmark_group("xlsx");
    group.throughput(Throughput::Elements(u64::from(ROWS)));
    group.bench_function("storekeeper", |bencher| bencher.iter(ours));
    group.bench_function("calamine", |bencher| bencher.iter(theirs));
    group.finish();
    criterion.final_summary();

    let (our_rows, their_rows) = (ours(), theirs());
    assert_eq!((our_rows, their_rows), (ROWS as usize, ROWS as usize + 1), "both read every row");
    let [our_time, their_time] = fastest_in_turns(ROUNDS, || ours() as u64, || theirs() as u64);
    let speed = |time: Duration| f64::from(ROWS) / time.as_secs_f64() / 1e3;
    println!("storekeeper: {:.0} thousand rows/s, checked and typed", speed(our_time));
    println!("calamine:    {:.0} thousand rows/s, cells only", speed(their_time));
    println!(
        "ratio:       {:.2} (ours / theirs; the aim is at most 1.50)",
        our_time.as_secs_f64() / their_time.as_secs_f64()
    );
}
