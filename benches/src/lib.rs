//! The modules under measurement, and the file they are measured on: one made of
//! thirteen columns, as a restaurant's cash register exports an hour's sales.

#![allow(dead_code, unused_imports, missing_docs)]

#[path = "../../src/contracts/mod.rs"]
pub mod contracts;
#[path = "../../src/warehouse/copy.rs"]
mod copy;
#[path = "../../src/formats/csv_lines.rs"]
mod csv_lines;
#[path = "../../src/digits.rs"]
pub mod digits;
#[path = "../../src/formats/mod.rs"]
pub mod formats;
#[path = "../../src/ids.rs"]
pub mod ids;
#[path = "../../src/pattern.rs"]
pub mod pattern;
#[path = "../../src/formats/row.rs"]
mod row;
#[path = "../../src/words.rs"]
pub mod words;

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::{Read, Seek};
use std::time::Duration;

use arrow::array::RecordBatch;
use contracts::{Checked, Contract, Reference, check};
use csv_lines::{Lines, Signs};
use formats::{Error, Format, Wanted};

const CONTRACT: &str = r#"
    columns = [
      { name = "store_id", from = "Store", type = "store_id", rules = [{ kind = "required" }] },
      { name = "sold_on", from = "Date", type = "date", rules = [{ kind = "required" }] },
      { name = "hour", from = "Hour", type = "integer", rules = [{ kind = "range", min = 0, max = 23 }] },
      { name = "daypart", from = "Daypart", type = "text", rules = [{ kind = "accepted", values = ["Breakfast", "Lunch", "Dinner", "Late"] }] },
      { name = "net_sales", from = "Net Sales", type = "decimal(12,2)", rules = [{ kind = "range", min = 0 }] },
      { name = "gross_sales", from = "Gross Sales", type = "decimal(12,2)" },
      { name = "tax", from = "Tax", type = "decimal(12,2)" },
      { name = "discount", from = "Discount", type = "decimal(12,2)" },
      { name = "guests", from = "Guests", type = "integer" },
      { name = "labor_hours", from = "Labor Hours", type = "decimal(8,2)" },
      { name = "channel", from = "Channel", type = "text" },
      { name = "manager", from = "Manager", type = "text" },
      { name = "comment", from = "Comment", type = "text" },
    ]
"#;

pub fn contract() -> Contract {
    toml::from_str(CONTRACT).expect("the contract above is one")
}

pub fn header() -> &'static str {
    "Store,Date,Hour,Daypart,Net Sales,Gross Sales,Tax,Discount,Guests,Labor Hours,Channel,Manager,Comment\n"
}

/// Appends a row; the same number makes the same row.
pub fn push_row(text: &mut String, number: u64) {
    // A multiplicative mix: cheap, and no two columns go in step.
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let part = |shift: u32, of: u64| (mixed >> shift) % of;
    let daypart = ["Breakfast", "Lunch", "Dinner", "Late"][part(3, 4) as usize];
    let channel = ["Drive-Thru", "Counter", "Delivery", "Kiosk"][part(9, 4) as usize];
    let manager = ["Ann Example", "Bob Sample", "Zoë Müster", "Li Wei"][part(15, 4) as usize];
    let comment = ["", "", "", "\"rain, few guests\"", "school holiday"][part(21, 5) as usize];
    let net = part(7, 250_000);
    let gross = net + net / 12;
    let _ = writeln!(
        text,
        "{:06},2025-{:02}-{:02},{},{daypart},{}.{:02},{}.{:02},{}.{:02},{}.{:02},{},{}.{:02},{channel},{manager},{comment}",
        101 + part(30, 400),
        1 + part(33, 12),
        1 + part(37, 28),
        part(41, 24),
        net / 100,
        net % 100,
        gross / 100,
        gross % 100,
        (gross - net) / 100,
        (gross - net) % 100,
        part(44, 20),
        part(46, 100),
        part(48, 90),
        part(50, 60),
        part(52, 100),
    );
}

/// Reads and checks, as a run does before it loads; answers with rows accepted and refused.
pub fn read_and_check<R: Read + Seek>(contract: &Contract, input: R) -> (u64, u64) {
    read_and(contract, input, |_| {})
}

/// Reads, checks and writes what a run hands to PostgreSQL, as long as it takes until a
/// piece is sent; answers with rows accepted and refused, and the bytes written.
pub fn read_and_encode<R: Read + Seek>(contract: &Contract, input: R) -> (u64, u64, u64) {
    let columns: Vec<usize> = (0..=contract.columns.len()).collect();
    let (mut piece, mut size_bytes) = (Vec::new(), 0);
    let (accepted, refused) = read_and(contract, input, |batch| {
        piece.clear();
        copy::encode(batch, &columns, &[1], &mut piece);
        size_bytes += black_box(&piece).len() as u64;
    });
    (accepted, refused, size_bytes)
}

fn read_and<R: Read + Seek>(contract: &Contract, input: R, mut take: impl FnMut(&RecordBatch)) -> (u64, u64) {
    let format: Format = toml::from_str("kind = \"csv\"").expect("a format");
    let names = |column: &contracts::Column| column.names().into_iter().map(str::to_owned).collect();
    let columns = contract.columns.iter().map(|column| (column.name.clone(), names(column), column.optional)).collect();
    let wanted = Wanted { columns, ..Wanted::default() };
    let (mut accepted, mut refused) = (0, 0);
    let facts = formats::read(&format, &wanted, 0, input, &mut |raw| {
        assert!(!contracts::undecided(contract, &raw), "the generated values can be read in one way");
        let checked: Checked = check(contract, &raw, &Reference::default());
        accepted += checked.accepted.num_rows() as u64;
        refused += checked.rejected.len() as u64;
        take(&checked.accepted);
        true
    })
    .expect("the generated file is whole");
    assert_eq!(facts.rows_read, accepted + refused, "a row was lost");
    (accepted, refused)
}

/// Parts a file into cells and no more; answers with how many.
pub fn split(bytes: &[u8]) -> u64 {
    let mut lines = Lines::new(bytes, Signs { delimiter: b',', quote: b'"', escape: b'"' });
    let mut cells = 0;
    while let Some(line) = lines.next().expect("the generated file is whole") {
        cells += line.cells.expect("and UTF-8").cells.len() as u64;
    }
    cells
}

/// The time that this thread spent on a processor: what others do on the machine does not count.
pub fn processor_time() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells the time of a thread");
    let nanoseconds = told.split(' ').next().and_then(|text| text.parse().ok());
    Duration::from_nanos(nanoseconds.expect("its first number is that time"))
}

/// The fastest of some rounds of each side, as the least disturbed. They go in turns,
/// so that whatever else the machine does slows both alike.
pub fn fastest_in_turns<A, B>(rounds: usize, ours: impl Fn() -> A, theirs: impl Fn() -> B) -> [Duration; 2] {
    let mut best = [Duration::MAX; 2];
    for _ in 0..rounds {
        let start = processor_time();
        black_box(ours());
        best[0] = best[0].min(processor_time() - start);
        let start = processor_time();
        black_box(theirs());
        best[1] = best[1].min(processor_time() - start);
    }
    best
}
