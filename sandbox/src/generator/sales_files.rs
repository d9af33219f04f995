//! The rows of the sales workbooks: the last week by channel, history by daypart.
//!
//! The daily file covers the last seven business days, the fiscal years' files
//! all before; no date is in both. Harbor's daily file has three bad rows, which
//! are extra: without them the sums are those of the ledger.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::brand::{Brand, Store};
use super::calendar::{DAYPARTS, before, comparable, days, fiscal_day};
use super::channels::{CHANNELS, deal};
use super::money::decimal;
use super::sales::{Ledger, Sold, fiscal_years};
use super::truth::{BadRow, FileTruth};

/// Name of the sheet in every sales workbook.
pub(super) const SHEET: &str = "Sales Channel";
/// Name of the workbook of the last seven business days.
const DAILY: &str = "Sales Channel - Daily.xlsx";
/// The columns, in order.
pub(super) const COLUMNS: [&str; 10] = [
    "Store Number Label",
    "Calendar Date",
    "Source Actor",
    "Source Channel",
    "Day Part",
    "TY Net Sales USD",
    "TY Orders",
    "Discounts USD",
    "LY Net Sales USD",
    "LY Orders",
];
/// Row of the header, counted from 1.
pub(super) const HEADER_ROW: u32 = 4;
/// Days in the daily file.
pub(super) const DAILY_DAYS: u64 = 7;

/// One sales workbook before it is written.
#[derive(Debug, Clone)]
pub(super) struct SalesFile {
    pub(super) name: String,
    pub(super) title: &'static str,
    /// None for the daily file.
    pub(super) fiscal_year: Option<i32>,
    pub(super) rows: Vec<SalesRow>,
}

/// One row of a sales workbook.
#[derive(Debug, Clone)]
pub(super) struct SalesRow {
    pub(super) store: String,
    pub(super) date: String,
    pub(super) actor: &'static str,
    pub(super) channel: &'static str,
    pub(super) daypart: &'static str,
    pub(super) this_year: Sold,
    pub(super) last_year: Sold,
    /// The cell that spoils the row.
    pub(super) fault: Option<Fault>,
}

/// What is wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    UnknownStore,
    ImpossibleDate,
    WordForMoney,
}

impl Fault {
    /// The column and the text of the cell.
    pub(super) fn cell(self) -> (usize, &'static str) {
        match self {
            Self::UnknownStore => (0, "000999"),
            Self::ImpossibleDate => (1, "13/45/25"),
            Self::WordForMoney => (5, "n/a?"),
        }
    }
}

/// Lists a brand's sales workbooks: the daily one, then history by year.
pub(super) fn sales_files(
    seed: u64,
    brand: &Brand,
    ledger: &Ledger,
    first: NaiveDate,
    today: NaiveDate,
) -> Vec<SalesFile> {
    let window = before(today, DAILY_DAYS).max(first);
    let mut daily = daily_rows(seed, brand, ledger, window, today);
    if brand.id == "harbor" {
        spoil(&mut daily);
    }
    let mut files = vec![SalesFile { rows: daily, ..SalesFile::daily() }];
    if first < window {
        for year in fiscal_years(first, window) {
            files.push(SalesFile {
                name: format!("Sales Channel - FY{year}.xlsx"),
                title: "Fiscal Year To Date",
                fiscal_year: Some(year),
                rows: history_rows(brand, ledger, year, first, window),
            });
        }
    }
    files
}

/// Lists the rows by channel of a span of days, store by store.
pub(super) fn daily_rows(
    seed: u64,
    brand: &Brand,
    ledger: &Ledger,
    first: NaiveDate,
    until: NaiveDate,
) -> Vec<SalesRow> {
    let mut rows = Vec::new();
    for (index, store) in brand.stores.iter().enumerate() {
        let key = brand.store_key(store);
        for date in days(first, until).filter(|date| store.trades_on(*date)) {
            let past = comparable(date);
            let this_year = ledger.day(index, date);
            let last_year = ledger.day(index, past);
            for part in 0..DAYPARTS.len() {
                let shares = &store.profile.channels;
                let this_year = deal(seed, &key, shares, date, part, this_year[part]);
                let last_year = deal(seed, &key, shares, past, part, last_year[part]);
                for channel in 0..CHANNELS.len() {
                    let (actor, name) = CHANNELS[channel];
                    rows.extend(row(
                        store,
                        date,
                        (actor, name, DAYPARTS[part].name),
                        this_year[channel],
                        last_year[channel],
                    ));
                }
            }
        }
    }
    rows
}

fn history_rows(brand: &Brand, ledger: &Ledger, year: i32, first: NaiveDate, until: NaiveDate) -> Vec<SalesRow> {
    let mut rows = Vec::new();
    for date in days(first, until).filter(|date| fiscal_day(*date).year == year) {
        for (index, store) in brand.stores.iter().enumerate() {
            if !store.trades_on(date) {
                continue;
            }
            let this_year = ledger.day(index, date);
            let last_year = ledger.day(index, comparable(date));
            for part in 0..DAYPARTS.len() {
                rows.extend(row(store, date, ("All", "All", DAYPARTS[part].name), this_year[part], last_year[part]));
            }
        }
    }
    rows
}

/// Makes a row, unless nothing was sold in either year.
fn row(
    store: &Store,
    date: NaiveDate,
    (actor, channel, daypart): (&'static str, &'static str, &'static str),
    this_year: Sold,
    last_year: Sold,
) -> Option<SalesRow> {
    if this_year.orders == 0 && last_year.orders == 0 {
        return None;
    }
    Some(SalesRow {
        store: store.number.clone(),
        date: date.format("%m/%d/%y").to_string(),
        actor,
        channel,
        daypart,
        this_year,
        last_year,
        fault: None,
    })
}

/// Puts one row of each fault among the good ones.
fn spoil(rows: &mut Vec<SalesRow>) {
    let faults = [Fault::UnknownStore, Fault::ImpossibleDate, Fault::WordForMoney];
    if rows.len() < 8 {
        return;
    }
    for (index, fault) in faults.into_iter().enumerate() {
        let place = rows.len() * (index + 1) / 4;
        let mut bad = rows[place].clone();
        bad.fault = Some(fault);
        match fault {
            Fault::UnknownStore => bad.store = fault.cell().1.to_owned(),
            Fault::ImpossibleDate => bad.date = fault.cell().1.to_owned(),
            // An actor of its own keeps the row from repeating its neighbour's key.
            Fault::WordForMoney => bad.actor = "Kiosk",
        }
        rows.insert(place + 1, bad);
    }
}

impl SalesFile {
    /// A daily file without rows.
    pub(super) fn daily() -> Self {
        Self { name: DAILY.to_owned(), title: "Last 7 Days", fiscal_year: None, rows: Vec::new() }
    }

    /// The truth about this file.
    pub(super) fn truth(&self, folder: &str) -> FileTruth {
        let mut sums = [0_i64; 5];
        for row in self.rows.iter().filter(|row| row.fault.is_none()) {
            for (sum, measure) in sums.iter_mut().zip(row.measures()) {
                *sum += measure;
            }
        }
        let sums = COLUMNS[5..]
            .iter()
            .zip(sums)
            .map(|(column, sum)| {
                let sum = if column.ends_with("USD") { decimal(sum) } else { sum.to_string() };
                ((*column).to_owned(), sum)
            })
            .collect::<BTreeMap<_, _>>();
        FileTruth {
            folder: folder.to_owned(),
            name: self.name.clone(),
            sheet: SHEET.to_owned(),
            header_row: HEADER_ROW,
            rows: self.rows.len(),
            other_rows: vec![sheet_row(self.rows.len())],
            sums,
        }
    }

    /// The rows that must be refused.
    pub(super) fn bad_rows(&self, folder: &str) -> Vec<BadRow> {
        let bad = |(index, row): (usize, &SalesRow)| {
            let (column, value) = row.fault?.cell();
            Some(BadRow {
                folder: folder.to_owned(),
                file: self.name.clone(),
                sheet: SHEET.to_owned(),
                row: sheet_row(index),
                column: COLUMNS[column].to_owned(),
                value: value.to_owned(),
            })
        };
        self.rows.iter().enumerate().filter_map(bad).collect()
    }
}

impl SalesRow {
    /// Net sales, orders, discounts, and last year's net sales and orders;
    /// money in cents.
    pub(super) fn measures(&self) -> [i64; 5] {
        [
            self.this_year.net_cents,
            i64::from(self.this_year.orders),
            self.this_year.discount_cents,
            self.last_year.net_cents,
            i64::from(self.last_year.orders),
        ]
    }
}

/// The spreadsheet's row number of a data row.
fn sheet_row(index: usize) -> u32 {
    HEADER_ROW + 1 + u32::try_from(index).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::brand::found;
    use super::super::calendar::{COMPARABLE_DAYS, day};
    use super::super::sales::total;
    use super::*;

    fn files(brand: usize) -> (Brand, Ledger, Vec<SalesFile>) {
        let brand = found(7, 1).swap_remove(brand);
        let today = day(2025, 11, 29);
        let first = before(today, 30);
        let ledger = Ledger::write(7, &brand, before(first, COMPARABLE_DAYS), today);
        let files = sales_files(7, &brand, &ledger, first, today);
        (brand, ledger, files)
    }

    #[test]
    fn both_files_together_hold_the_ledger_to_the_cent() {
        for index in [0, 1] {
            let (brand, ledger, files) = files(index);
            let mut expected = 0;
            for store in 0..brand.stores.len() {
                for date in days(day(2025, 10, 30), day(2025, 11, 29)) {
                    expected += total(&ledger.day(store, date)).net_cents;
                }
            }
            let sum: i64 = files
                .iter()
                .flat_map(|file| &file.rows)
                .filter(|row| row.fault.is_none())
                .map(|row| row.this_year.net_cents)
                .sum();
            assert_eq!(sum, expected);
        }
    }

    #[test]
    fn no_date_is_in_both_files() {
        let (_, _, files) = files(1);
        let daily: Vec<&str> = files[0].rows.iter().map(|row| row.date.as_str()).collect();
        assert!(!daily.is_empty());
        assert!(files[1].rows.iter().all(|row| !daily.contains(&row.date.as_str())));
    }

    #[test]
    fn a_key_comes_once() {
        let (_, _, files) = files(0);
        for file in files {
            let mut keys: Vec<_> =
                file.rows.iter().map(|row| (&row.store, &row.date, row.actor, row.channel, row.daypart)).collect();
            let count = keys.len();
            keys.sort();
            keys.dedup();
            assert_eq!(keys.len(), count);
        }
    }

    #[test]
    fn only_harbor_has_bad_rows() {
        assert_eq!(files(0).2[0].bad_rows("BI Import").len(), 3);
        assert!(files(1).2[0].bad_rows("BI Import").is_empty());
    }
}
