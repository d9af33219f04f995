//! The modules under measurement, and the file they are measured on: one made of
//! thirteen columns, as a restaurant's cash register exports an hour's sales.

#![allow(dead_code, unused_imports, missing_docs)]

#[path = "../../src/contracts/mod.rs"]
pub mod contracts;
#[path = "../../src/formats/mod.rs"]
pub mod formats;
#[path = "../../src/ids.rs"]
pub mod ids;
#[path = "../../src/pattern.rs"]
pub mod pattern;

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};

use contracts::{Checked, Contract, Reference, check};
use formats::{Format, Wanted};

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
pub fn read_and_check<R: std::io::Read + std::io::Seek>(contract: &Contract, input: R) -> (u64, u64) {
    let format: Format = toml::from_str("kind = \"csv\"").expect("a format");
    let names = |column: &contracts::Column| column.names().into_iter().map(str::to_owned).collect();
    let columns = contract.columns.iter().map(|column| (column.name.clone(), names(column), column.optional)).collect();
    let wanted = Wanted { columns, ..Wanted::default() };
    let (mut accepted, mut refused) = (0, 0);
    let facts = formats::read(&format, &wanted, 0, input, &mut |raw| {
        let checked: Checked = check(contract, &raw, &Reference::default());
        accepted += checked.accepted.num_rows() as u64;
        refused += checked.rejected.len() as u64;
        true
    })
    .expect("the generated file is whole");
    assert_eq!(facts.rows_read, accepted + refused, "a row was lost");
    (accepted, refused)
}

/// The fastest of some rounds of each side, as the least disturbed. They go in turns,
/// so that whatever else the machine does slows both alike.
pub fn fastest_in_turns<A, B>(rounds: usize, ours: impl Fn() -> A, theirs: impl Fn() -> B) -> [Duration; 2] {
    let mut best = [Duration::MAX; 2];
    for _ in 0..rounds {
        let start = Instant::now();
        black_box(ours());
        best[0] = best[0].min(start.elapsed());
        let start = Instant::now();
        black_box(theirs());
        best[1] = best[1].min(start.elapsed());
    }
    best
}
