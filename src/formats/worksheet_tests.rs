//! Workbooks that are not what they say, and workbooks that want to hurt.

use std::io::{Cursor, Read as _, Write as _};

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;
use zip::write::SimpleFileOptions;

use super::{Error, Facts, Format, Kind, Wanted, read};
use crate::ids::ROW;

const LIMIT_BYTES: u64 = 1 << 20;
const SHEET: &str = "xl/worksheets/sheet1.xml";

fn wanted() -> Wanted {
    let columns = ["Store Number", "Net Sales"].map(|name| (name.to_owned(), vec![name.to_owned()], false));
    Wanted { columns: columns.to_vec(), ..Wanted::default() }
}

fn read_with(format: &Format, bytes: &[u8]) -> Result<(Facts, Vec<RecordBatch>), Error> {
    let mut batches = Vec::new();
    let facts = read(format, &wanted(), LIMIT_BYTES, Cursor::new(bytes), &mut |batch| {
        batches.push(batch);
        true
    })?;
    Ok((facts, batches))
}

fn refused(bytes: &[u8]) -> Error {
    read_with(&Format::new(Kind::Xlsx), bytes).expect_err("nobody should read this")
}

fn tidy() -> Vec<u8> {
    sandbox::generator::messy::all().into_iter().find(|messy| messy.name == "titles").unwrap().bytes
}

/// A workbook with one part changed.
fn with_part(bytes: &[u8], part: &str, text: &[u8]) -> Vec<u8> {
    let mut from = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut to = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for index in 0..from.len() {
        let mut entry = from.by_index(index).unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        to.start_file(entry.name(), SimpleFileOptions::default()).unwrap();
        to.write_all(if entry.name() == part { text } else { &content }).unwrap();
    }
    to.finish().unwrap().into_inner()
}

fn sheet(rows: &str) -> Vec<u8> {
    let xml = format!(
        "<worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\">\
         <dimension ref=\"A1:XFD1048576\"></dimension><sheetData>{rows}</sheetData></worksheet>"
    );
    with_part(&tidy(), SHEET, xml.as_bytes())
}

fn texts(row: u32, cells: &[&str]) -> String {
    let cells = cells
        .iter()
        .zip('A'..)
        .map(|(text, column)| format!("<c r=\"{column}{row}\" t=\"inlineStr\"><is><t>{text}</t></is></c>"));
    format!("<row r=\"{row}\">{}</row>", cells.collect::<String>())
}

/// Makes every entry claim to be small, in its own header and in the directory.
fn lying(mut bytes: Vec<u8>) -> Vec<u8> {
    for (mark, size_at) in [(b"PK\x01\x02", 24), (b"PK\x03\x04", 22)] {
        let found: Vec<usize> = memchr::memmem::find_iter(&bytes, mark).collect();
        for at in found {
            bytes[at + size_at..at + size_at + 4].copy_from_slice(&100_u32.to_le_bytes());
        }
    }
    bytes
}

#[test]
fn a_bomb_is_refused_by_its_declared_size() {
    let bomb = with_part(&tidy(), SHEET, &vec![b' '; 8 << 20]);
    assert!(bomb.len() < 32 << 10);
    let error = refused(&bomb);
    assert!(matches!(error, Error::TooLarge { size_bytes, .. } if size_bytes > 8 << 20), "{error}");
}

#[test]
fn a_bomb_that_declares_to_be_small_never_gets_past_the_limit() {
    for part in [SHEET, "xl/sharedStrings.xml", "xl/styles.xml"] {
        let error = refused(&lying(with_part(&tidy(), part, &vec![b' '; 8 << 20])));
        let stopped = matches!(error, Error::TooLarge { .. } | Error::Corrupt { .. });
        assert!(stopped, "{part}: {error}");
    }
}

#[test]
fn a_sheet_that_claims_a_billion_cells_is_as_small_as_its_cells() {
    let rows =
        texts(1, &["Store Number", "Net Sales"]) + &texts(2, &["000125", "1"]) + &texts(1_048_576, &["000719", "2"]);
    let far = "<row r=\"1048576\"><c r=\"XFD1048576\"><v>3</v></c></row>";
    let (facts, batches) = read_with(&Format::new(Kind::Xlsx), &sheet(&(rows + far))).unwrap();
    assert_eq!(facts.rows_read, 2);
    let numbers: Vec<i64> = batches[0].column_by_name(ROW).unwrap().as_primitive::<Int64Type>().values().to_vec();
    assert_eq!(numbers, [2, 1_048_576]);
}

#[test]
fn rows_in_the_wrong_order_and_columns_that_cannot_be_are_refused() {
    let wrong = sheet(&(texts(5, &["Store Number", "Net Sales"]) + &texts(2, &["000125", "1"])));
    assert!(refused(&wrong).to_string().contains("row 2 stands below row 5"));
    let wide = sheet("<row r=\"1\"><c r=\"ZZZ1\"><v>1</v></c></row>");
    assert!(matches!(refused(&wide), Error::Corrupt { .. }));
}

#[test]
fn what_only_bears_a_workbooks_name_is_called_what_it_is() {
    let ole = |name: &str| {
        let mut bytes = vec![0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1];
        bytes.resize(70_000, 0);
        bytes.extend(name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        bytes
    };
    let binary = {
        let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file("xl/workbook.bin", SimpleFileOptions::default()).unwrap();
        archive.finish().unwrap().into_inner()
    };
    for (bytes, said) in [
        (b"Store,Sales\n1,2\n".to_vec(), "not an XLSX workbook but text, perhaps CSV"),
        (b"\n <!DOCTYPE html><html>Sign in</html>".to_vec(), "but a web page"),
        (b"<?xml version=\"1.0\"?><Workbook/>".to_vec(), "but an XML file"),
        (b"%PDF-1.7".to_vec(), "but a PDF"),
        (ole("Workbook"), "but an Excel 97 workbook (.xls)"),
        (ole("WordDocument"), "but an old Office document"),
        (ole("EncryptedPackage"), "the workbook is encrypted"),
        (binary, "but a binary workbook (.xlsb)"),
        (Vec::new(), "the file is empty"),
        (vec![0, 1, 2, 3], "it does not begin like one"),
    ] {
        let error = refused(&bytes);
        assert!(error.to_string().contains(said), "{said}: {error}");
        assert!(error.hint().is_some(), "{said}");
    }
}

#[test]
fn a_workbook_cut_short_anywhere_is_refused() {
    let whole = tidy();
    for percent in [1, 10, 50, 90, 99] {
        let error = refused(&whole[..whole.len() * percent / 100]);
        assert!(matches!(error, Error::Corrupt { .. }), "{percent}: {error}");
    }
    let cut = sheet("<row r=\"1\"><c r=\"A1\"><v>1");
    assert!(matches!(refused(&cut), Error::Corrupt { .. }));
}

#[test]
fn a_flipped_byte_in_a_part_is_noticed() {
    let mut bytes = tidy();
    let at = memchr::memmem::find(&bytes, SHEET.as_bytes()).unwrap() + SHEET.len() + 40;
    bytes[at] ^= 0x55;
    assert!(matches!(refused(&bytes), Error::Corrupt { .. }));
}

#[test]
fn a_range_that_is_not_there_is_refused_by_name() {
    let mut format = Format::new(Kind::Xlsx);
    format.range = Some("nowhere".to_owned());
    let error = read_with(&format, &tidy()).unwrap_err();
    assert_eq!(error.to_string(), "the workbook has no range `nowhere`");
}

#[test]
fn a_sheets_name_needs_a_column_of_the_contract() {
    let mut format = Format::new(Kind::Xlsx);
    format.sheet_as = Some("shop".to_owned());
    let error = read_with(&format, &tidy()).unwrap_err();
    assert_eq!(error.to_string(), "`sheet_as` names `shop`, which is no column of the contract");
}

#[test]
fn hidden_rows_and_stale_formulas_are_told() {
    for (name, said) in [("hidden_read", "4 hidden rows"), ("broken_cells", "wait to be calculated")] {
        let messy = sandbox::generator::messy::all().into_iter().find(|messy| messy.name == name).unwrap();
        let (facts, _) = read_with(&Format::new(Kind::Xlsx), &messy.bytes).unwrap();
        assert!(facts.notes.iter().any(|note| note.contains(said)), "{name}: {:?}", facts.notes);
    }
}

#[test]
fn merged_cells_alone_make_no_row() {
    let messy = sandbox::generator::messy::all().into_iter().find(|messy| messy.name == "merged_cells").unwrap();
    let mut format = Format::new(Kind::Xlsx);
    let (_, plain) = read_with(&format, &messy.bytes).unwrap();
    format.fill_merged = true;
    let (_, filled) = read_with(&format, &messy.bytes).unwrap();
    assert_eq!((plain[0].num_rows(), filled[0].num_rows()), (12, 12));
    assert_eq!((plain[0].column(0).null_count(), filled[0].column(0).null_count()), (10, 0));
}

#[test]
fn options_that_contradict_each_other_are_named() {
    let mut format = Format::new(Kind::Csv);
    format.range = Some("A1:B2".to_owned());
    format.fill_merged = true;
    assert_eq!(format.problems(), ["`range` is for workbooks only", "`fill_merged` is for kind `xlsx` only"]);
    let mut format = Format::new(Kind::Xlsx);
    format.sheet = Some("A".to_owned());
    format.sheets = vec!["*".to_owned()];
    assert_eq!(format.problems(), ["use either `sheet` or `sheets`"]);
}
