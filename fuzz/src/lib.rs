//! What must hold of each parser of bytes from outside, whatever they are. A target
//! panics where it does not.

#![allow(dead_code, unused_imports, unreachable_pub, missing_docs, reason = "modules of another crate")]

#[path = "../../src/contracts/mod.rs"]
pub mod contracts;
#[path = "../../src/digits.rs"]
pub mod digits;
#[path = "../../src/formats/mod.rs"]
pub mod formats;
mod http;
#[path = "../../src/ids.rs"]
pub mod ids;
pub mod mutate;
#[path = "../../src/pattern.rs"]
pub mod pattern;
mod sources;
#[path = "../../src/words.rs"]
pub mod words;

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write as _};

use arrow::array::RecordBatch;
use contracts::{Contract, Reference, check};
use formats::{Facts, Format, Kind, Wanted};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

pub use sources::{batch, delta, quick_xor};

const LIMIT_BYTES: u64 = 16 << 20;

const CONTRACT: &str = r#"
    columns = [
      { name = "store", type = "store_id" },
      { name = "day", type = "date", optional = true },
      { name = "amount", type = "decimal(12,2)", optional = true },
      { name = "guests", type = "integer", optional = true },
      { name = "note", type = "text", optional = true },
    ]
"#;

/// A file of separated values says the same whole and in small pieces, and each of its
/// rows goes into the contract's check and out of it once. The first byte is the size of
/// the pieces. Answers with the rows that were read.
pub fn csv(bytes: &[u8]) -> Result<u64, String> {
    let Some((piece, bytes)) = bytes.split_first() else { return Ok(0) };
    let format = Format::new(Kind::Csv);
    let whole = rows_of(&format, Cursor::new(bytes));
    let pieces = rows_of(&format, Pieces { bytes: Cursor::new(bytes), size: usize::from(*piece).max(1) });
    match (whole, pieces) {
        (Ok(whole), Ok(pieces)) => {
            assert_eq!(whole.1, pieces.1);
            assert_eq!(format!("{:?}", whole.0), format!("{:?}", pieces.0));
            Ok(whole.0.rows_read)
        }
        (Err(whole), Err(pieces)) => {
            assert_eq!(whole, pieces);
            Err(whole)
        }
        (whole, pieces) => panic!("whole: {whole:?}; in pieces: {pieces:?}"),
    }
}

/// A workbook, or what stands in its sheet: each sheet is read or refused. Answers with the
/// rows of the first.
pub fn xlsx(bytes: &[u8]) -> Result<u64, String> {
    let format = Format::new(Kind::Xlsx);
    // Hardly any damaged archive opens; what it holds is to be reached as well.
    let bytes = if bytes.starts_with(b"PK") { bytes.to_vec() } else { workbook(bytes) };
    let (facts, _) = rows_of(&format, Cursor::new(&bytes))?;
    let second = Format { sheet: Some("Second".to_owned()), ..format.clone() };
    let _refused_or_not = rows_of(&second, Cursor::new(&bytes));
    let filled = Format { fill_merged: true, hidden: formats::Hidden::Skip, ..format };
    let _refused_or_not = rows_of(&filled, Cursor::new(&bytes));
    Ok(facts.rows_read)
}

/// Reads and checks; answers with what was found and each batch as text.
fn rows_of<R: Read + Seek>(format: &Format, input: R) -> Result<(Facts, Vec<RecordBatch>), String> {
    let contract: Contract = toml::from_str(CONTRACT).expect("the contract above is one");
    let names = |column: &contracts::Column| column.names().into_iter().map(str::to_owned).collect();
    let columns = contract.columns.iter().map(|column| (column.name.clone(), names(column), column.optional)).collect();
    let wanted = Wanted { columns, ..Wanted::default() };
    let mut batches: Vec<RecordBatch> = Vec::new();
    let facts = formats::read(format, &wanted, LIMIT_BYTES, input, &mut |raw| {
        let checked = check(&contract, &raw, &Reference::default());
        assert_eq!(checked.accepted.num_rows() + checked.rejected.len(), raw.num_rows(), "a row was lost");
        batches.push(raw);
        true
    })
    .map_err(|error| error.to_string())?;
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(facts.rows_read, rows as u64, "rows were counted that nobody got");
    Ok((facts, batches))
}

/// Hands out bytes a few at a time.
struct Pieces<'a> {
    bytes: Cursor<&'a [u8]>,
    size: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let size = self.size.min(buffer.len());
        self.bytes.read(&mut buffer[..size])
    }
}

impl Seek for Pieces<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.bytes.seek(to)
    }
}

/// The smallest workbook around a sheet's XML.
fn workbook(sheet: &[u8]) -> Vec<u8> {
    let workbook = r#"<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets><sheet name="Sales" sheetId="1" r:id="r1"/></sheets></workbook>"#;
    let package = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>"#;
    let relations = r#"<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>"#;
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (path, part) in [
        ("_rels/.rels", package.as_bytes()),
        ("xl/workbook.xml", workbook.as_bytes()),
        ("xl/_rels/workbook.xml.rels", relations.as_bytes()),
        ("xl/worksheets/sheet1.xml", sheet),
    ] {
        archive.start_file(path, stored).expect("a ZIP in memory takes every entry");
        archive.write_all(part).expect("memory takes every byte");
    }
    archive.finish().expect("a ZIP in memory can be finished").into_inner()
}
