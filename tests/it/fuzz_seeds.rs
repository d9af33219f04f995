//! The seeds of the fuzzing go through the parsers of the program itself, so that one that is
//! no longer read is noticed by whoever changed the parser. Where bytes from outside are read by
//! a module of `sources`, its own tests take the seeds.

use std::fs::{self, File};
use std::path::PathBuf;

use storekeeper::contracts::{Contract, Reference, check};
use storekeeper::formats::{self, Format, Kind, Wanted};

const CONTRACT: &str = r#"
    columns = [
      { name = "store", type = "store_id" },
      { name = "day", type = "date", optional = true },
      { name = "amount", type = "decimal(12,2)", optional = true },
      { name = "guests", type = "integer", optional = true },
      { name = "note", type = "text", optional = true },
    ]
"#;

fn seeds(kind: &str) -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(kind);
    let mut seeds: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    seeds.sort();
    assert!(!seeds.is_empty());
    seeds
}

/// Rows that the contract accepts and refuses, of a file's sheet.
fn rows(seed: &PathBuf, kind: Kind, sheet: Option<&str>) -> (usize, usize) {
    let contract: Contract = toml::from_str(CONTRACT).unwrap();
    let names = |column: &storekeeper::contracts::Column| column.names().into_iter().map(str::to_owned).collect();
    let columns = contract.columns.iter().map(|column| (column.name.clone(), names(column), column.optional)).collect();
    let wanted = Wanted { columns, ..Wanted::default() };
    let format = Format { sheet: sheet.map(str::to_owned), ..Format::new(kind) };
    let (mut accepted, mut rejected) = (0, 0);
    let read = formats::read(&format, &wanted, 16 << 20, File::open(seed).unwrap(), &mut |raw| {
        let checked = check(&contract, &raw, &Reference::default());
        accepted += checked.accepted.num_rows();
        rejected += checked.rejected.len();
        true
    });
    let facts = read.unwrap_or_else(|error| panic!("{}: {error}", seed.display()));
    assert_eq!(facts.rows_read, (accepted + rejected) as u64, "{}", seed.display());
    (accepted, rejected)
}

#[test]
fn each_text_is_read_to_its_rows() {
    // The first byte of such a seed is a size of pieces; here it would be part of the header.
    for seed in seeds("csv") {
        let text = fs::read(&seed).unwrap();
        let bare = tempfile::NamedTempFile::new().unwrap();
        fs::write(bare.path(), &text[1..]).unwrap();
        let (accepted, rejected) = rows(&bare.path().to_owned(), Kind::Csv, None);
        assert!(accepted + rejected > 0, "{}", seed.display());
    }
}

#[test]
fn each_workbook_is_read_to_its_rows() {
    let workbooks: Vec<PathBuf> = seeds("xlsx").into_iter().filter(|seed| seed.extension().is_some()).collect();
    let sheets = |seed| [rows(seed, Kind::Xlsx, None), rows(seed, Kind::Xlsx, Some("Second"))];
    let found: Vec<_> = workbooks.iter().map(sheets).collect();
    // Of the second workbook's rows one has no store, and one a length of time for a day.
    assert_eq!(found, [[(1, 0), (1, 0)], [(3, 2), (1, 0)]], "{workbooks:?}");
}
