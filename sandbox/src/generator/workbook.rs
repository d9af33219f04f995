//! Writes workbooks: the same rows give the same bytes.
//!
//! The creation time in the document's properties is the world's, not the
//! clock's; the archive inside carries no times.

use chrono::{DateTime, Datelike, NaiveDate, Timelike, Utc};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Format, Workbook, Worksheet, XlsxError};

use super::money::noisy;
use super::sales_files::{COLUMNS, HEADER_ROW, SHEET, SalesFile};

/// A cell's content.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Empty,
    Text(String),
    Number(f64),
    Date(NaiveDate),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Self::Number(f64::from(number))
    }
}

/// A sheet's content, from the first row on.
#[derive(Debug, Clone)]
pub(super) struct Sheet {
    pub(super) name: &'static str,
    pub(super) hidden: bool,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// Writes a workbook of small sheets.
pub(super) fn write_sheets(sheets: &[Sheet], created_at: DateTime<Utc>) -> Result<Vec<u8>, XlsxError> {
    let mut workbook = workbook(created_at)?;
    let date_format = Format::new().set_num_format("mm/dd/yyyy");
    for sheet in sheets {
        let worksheet = workbook.add_worksheet();
        worksheet.set_name(sheet.name)?.set_hidden(sheet.hidden);
        for (row, cells) in (0..).zip(&sheet.rows) {
            for (column, cell) in (0..).zip(cells) {
                match cell {
                    Cell::Empty => {}
                    Cell::Text(text) => {
                        worksheet.write_string(row, column, text)?;
                    }
                    Cell::Number(number) => {
                        worksheet.write_number(row, column, *number)?;
                    }
                    Cell::Date(date) => {
                        let date = excel_date(*date)?;
                        worksheet.write_datetime_with_format(row, column, date, &date_format)?;
                    }
                }
            }
        }
    }
    workbook.save_to_buffer()
}

/// Writes a sales workbook: filter rows, an empty row, the header, the rows, and
/// the total of all rows above it, the bad ones included.
pub(super) fn write_sales(file: &SalesFile, created_at: DateTime<Utc>) -> Result<Vec<u8>, XlsxError> {
    let mut workbook = workbook(created_at)?;
    let sheet = workbook.add_worksheet();
    sheet.set_name(SHEET)?;
    sheet.write_string(0, 0, "My View")?;
    sheet.write_string(1, 0, file.title)?;
    for (column, name) in (0..).zip(COLUMNS) {
        sheet.write_string(HEADER_ROW - 1, column, name)?;
    }
    let mut sums = [0.0; 5];
    let mut line = HEADER_ROW;
    for (salt, row) in file.rows.iter().enumerate() {
        let texts = [row.store.as_str(), &row.date, row.actor, row.channel, row.daypart];
        for (column, text) in (0..).zip(texts) {
            sheet.write_string(line, column, text)?;
        }
        let fault = row.fault.map(super::sales_files::Fault::cell);
        for (index, measure) in row.measures().into_iter().enumerate() {
            let column = 5 + index as u16;
            match fault {
                Some((spoilt, text)) if spoilt == usize::from(column) => {
                    sheet.write_string(line, column, text)?;
                }
                _ => {
                    let value = if is_count(index) { measure as f64 } else { noisy(measure, salt + index) };
                    sums[index] += value;
                    sheet.write_number(line, column, value)?;
                }
            }
        }
        line += 1;
    }
    write_total(sheet, line, &sums)?;
    workbook.save_to_buffer()
}

fn write_total(sheet: &mut Worksheet, line: u32, sums: &[f64; 5]) -> Result<(), XlsxError> {
    sheet.write_string(line, 0, "Total")?;
    for (column, sum) in (5..).zip(sums) {
        sheet.write_number(line, column, *sum)?;
    }
    Ok(())
}

/// Whether a measure is a number of orders.
fn is_count(index: usize) -> bool {
    index == 1 || index == 4
}

fn workbook(created_at: DateTime<Utc>) -> Result<Workbook, XlsxError> {
    let date = excel_date(created_at.date_naive())?.and_hms(
        created_at.hour() as u16,
        created_at.minute() as u8,
        f64::from(created_at.second()),
    )?;
    let properties = DocProperties::new().set_author("Business Intelligence").set_creation_datetime(&date);
    let mut workbook = Workbook::new();
    workbook.set_properties(&properties);
    workbook.set_zip_compression_level(1);
    Ok(workbook)
}

fn excel_date(date: NaiveDate) -> Result<ExcelDateTime, XlsxError> {
    ExcelDateTime::from_ymd(date.year() as u16, date.month() as u8, date.day() as u8)
}
