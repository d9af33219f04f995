//! The workbook of the stores, the calendar and the opening hours.
//!
//! Every third store's number is a real number, so its zeros are lost, as
//! happens when somebody types it into Excel.

use chrono::{Datelike, NaiveDate};

use super::brand::{Brand, Store};
use super::calendar::{after, comparable, days, fiscal_day};
use super::truth::FileTruth;
use super::workbook::{Cell, Sheet};

/// Name of the workbook.
pub(super) const NAME: &str = "BI Dimensions.xlsx";

/// Days the calendar runs ahead.
const AHEAD_DAYS: u64 = 400;

/// Fills the sheets.
pub(super) fn sheets(brand: &Brand, first: NaiveDate, today: NaiveDate) -> Vec<Sheet> {
    vec![stores(brand), calendar(first, after(today, AHEAD_DAYS)), store_hours(brand), notes()]
}

/// The truth about the sheets that are meant to be read.
pub(super) fn truth(brand: &Brand, sheets: &[Sheet]) -> Vec<FileTruth> {
    sheets
        .iter()
        .filter(|sheet| !sheet.hidden)
        .map(|sheet| {
            let width = sheet.rows[0].len();
            let is_data = |row: &&Vec<Cell>| row.len() == width;
            let others = (1..)
                .zip(&sheet.rows)
                .filter(|(_, row)| row.len() != width && !row.is_empty())
                .map(|(row, _)| row)
                .collect();
            FileTruth {
                folder: brand.folder.clone(),
                name: NAME.to_owned(),
                sheet: sheet.name.to_owned(),
                header_row: 1,
                rows: sheet.rows.iter().filter(is_data).count() - 1,
                other_rows: others,
                ..FileTruth::default()
            }
        })
        .collect()
}

fn stores(brand: &Brand) -> Sheet {
    let mut rows =
        vec![header(&["Store Number", "Store Name", "Region", "Time Zone", "Open Date", "Close Date", "Cut Off Hour"])];
    for (index, store) in brand.stores.iter().enumerate() {
        rows.push(vec![
            number(store, index % 3 == 1),
            store.name.as_str().into(),
            store.region.as_str().into(),
            store.time_zone.as_str().into(),
            Cell::Date(store.opened_on),
            store.closed_on.map_or(Cell::Empty, Cell::Date),
            store.cut_off_hour.into(),
        ]);
    }
    sheet("Stores", rows)
}

fn calendar(first: NaiveDate, until: NaiveDate) -> Sheet {
    let mut rows = vec![header(&[
        "Calendar Date",
        "Fiscal Year",
        "Fiscal Period",
        "Fiscal Week",
        "Day Of Week",
        "Comparable Date",
    ])];
    for date in days(first, until) {
        let fiscal = fiscal_day(date);
        rows.push(vec![
            Cell::Date(date),
            Cell::Number(f64::from(fiscal.year)),
            fiscal.period.into(),
            fiscal.week.into(),
            date.weekday().number_from_monday().into(),
            Cell::Date(comparable(date)),
        ]);
    }
    sheet("Calendar", rows)
}

fn store_hours(brand: &Brand) -> Sheet {
    let mut rows = vec![header(&["Store Number", "Day Of Week", "Open HHMM", "Close HHMM"])];
    for (index, store) in brand.stores.iter().enumerate() {
        for (weekday, hours) in (1_u32..).zip(&store.hours) {
            rows.push(vec![
                number(store, index % 4 == 2),
                weekday.into(),
                clock(hours.open_minute).into(),
                clock(hours.close_minute).into(),
            ]);
        }
    }
    if brand.id == "harbor" {
        rows.push(Vec::new());
        rows.push(vec!["Note: holiday hours are not listed; a close before the open is after midnight.".into()]);
    }
    sheet("Store hours", rows)
}

fn notes() -> Sheet {
    let rows = vec![
        vec!["Do not edit. Refreshed by BI every night.".into()],
        vec!["Owner".into(), "Zoë D'Angelo".into()],
        vec!["Version".into(), Cell::Number(3.2)],
    ];
    Sheet { hidden: true, ..sheet("Notes", rows) }
}

fn sheet(name: &'static str, rows: Vec<Vec<Cell>>) -> Sheet {
    Sheet { name, hidden: false, rows }
}

fn header(names: &[&str]) -> Vec<Cell> {
    names.iter().map(|name| Cell::from(*name)).collect()
}

/// A store's number, with its zeros or without.
fn number(store: &Store, as_number: bool) -> Cell {
    match store.number.parse() {
        Ok(number) if as_number => Cell::Number(number),
        _ => store.number.as_str().into(),
    }
}

/// Minutes from midnight as `HHMM`: 2400 is midnight, 100 one hour past it.
fn clock(minute: u32) -> u32 {
    let minute = if minute > 1440 { minute - 1440 } else { minute };
    minute / 60 * 100 + minute % 60
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_past_midnight_starts_again() {
        assert_eq!(clock(480), 800);
        assert_eq!(clock(1350), 2230);
        assert_eq!(clock(1440), 2400);
        assert_eq!(clock(1500), 100);
    }
}
