//! The labor plans: one text file a week, each saved by another program.
//!
//! One begins with a byte order mark and has lost the stores' zeros, as Excel
//! leaves it; one is in Windows-1252 and names its planner.

use chrono::NaiveDate;

use super::brand::{Brand, Store, open_shares};
use super::calendar::{DAYPARTS, after, before, comparable, monday};
use super::money::{decimal, scaled, whole};
use super::random::Stream;
use super::sales::{Ledger, shut};
use super::truth::FileTruth;

/// Folder below the folder of imports.
pub(super) const FOLDER: &str = "Labor Planning Export";

/// Weeks with a file, the current one included.
const WEEKS: u64 = 5;

/// A week's file.
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) week: NaiveDate,
    pub(super) rows: usize,
    pub(super) content: Vec<u8>,
}

/// Writes the plans, newest first: next week's is made by the middle of this one.
pub(super) fn plans(seed: u64, brand: &Brand, ledger: &Ledger, today: NaiveDate) -> Vec<Plan> {
    let current = monday(before(today, 1));
    let coming = std::iter::once(plan(seed, brand, ledger, after(current, 7), 0));
    coming.chain((0..WEEKS).map(|age| plan(seed, brand, ledger, before(current, 7 * age), age))).collect()
}

impl Plan {
    /// The truth about this file.
    pub(super) fn truth(&self, folder: &str) -> FileTruth {
        FileTruth {
            folder: format!("{folder}/{FOLDER}"),
            name: self.name.clone(),
            header_row: 1,
            rows: self.rows,
            ..FileTruth::default()
        }
    }
}

fn plan(seed: u64, brand: &Brand, ledger: &Ledger, week: NaiveDate, age: u64) -> Plan {
    let zeros_lost = age == 2;
    let planner = (age == 3).then_some("José Núñez");
    let mut text =
        String::from("Store Number,Week Start,Day Of Week,Day Part,Planned Headcount,Planned Hours,Wage,Labor %");
    if planner.is_some() {
        text.push_str(",Planner");
    }
    text.push_str("\r\n");
    let mut rows = 0;
    for (index, store) in brand.stores.iter().enumerate() {
        for weekday in 1..=7_u64 {
            let date = after(week, weekday - 1);
            if !store.trades_on(date) || shut(brand, date) {
                continue;
            }
            let expected = ledger.day(index, comparable(date));
            let subject = brand.store_key(store);
            let mut stream = Stream::on(seed, &["plan", &subject], date);
            let open = open_shares(store.hours_on(chrono::Datelike::weekday(&date)));
            for part in (0..DAYPARTS.len()).filter(|part| open[*part] > 0.0) {
                let cells = shift(&mut stream, store, part, expected[part].net_cents);
                let number = if zeros_lost { store.number.trim_start_matches('0') } else { &store.number };
                text.push_str(&format!(
                    "{number},{},{weekday},{},{cells}",
                    week.format("%m/%d/%Y"),
                    DAYPARTS[part].name,
                ));
                if let Some(planner) = planner {
                    text.push(',');
                    text.push_str(planner);
                }
                text.push_str("\r\n");
                rows += 1;
            }
        }
    }
    let content = match age {
        2 => ["\u{feff}", text.as_str()].concat().into_bytes(),
        3 => windows_1252(&text),
        _ => text.into_bytes(),
    };
    Plan { name: format!("Labor Plan {week}.csv"), week, rows, content }
}

/// Headcount, hours, hourly wage and share of sales for one daypart.
fn shift(stream: &mut Stream, store: &Store, part: usize, expected_cents: i64) -> String {
    let length = f64::from(DAYPARTS[part].to_minute - DAYPARTS[part].from_minute).min(240.0) / 60.0;
    let wage_cents = 1450 + 5 * i64::from(stream.below(70));
    let budget = expected_cents as f64 * store.profile.labor_share * stream.between(0.95, 1.08);
    let heads = whole((budget / (wage_cents as f64 * length)).ceil()).max(2);
    let hours = whole(heads as f64 * length * stream.between(0.82, 1.0) * 4.0) * 25;
    let share = if expected_cents > 0 {
        let cost = hours as f64 / 100.0 * wage_cents as f64;
        format!("{}%", scaled(whole(cost / expected_cents as f64 * 1000.0), 1))
    } else {
        "-".to_owned()
    };
    format!("{heads},{},{},{share}", decimal(hours), decimal(wage_cents))
}

/// Encodes text whose letters are all below U+0100 and outside the block in
/// which Windows-1252 differs from Latin-1.
fn windows_1252(text: &str) -> Vec<u8> {
    text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap_or(b'?')).collect()
}
