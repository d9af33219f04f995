//! Worksheets. A sheet is held in memory, so its size is bounded beforehand.

use std::io::{Read, Seek, SeekFrom};

use arrow::array::RecordBatch;
use calamine::{Data, Range, Reader, SheetVisible, Xls, XlsError, Xlsx, XlsxError};

use super::header::Wanted;
use super::rows::Collector;
use super::{Error, Facts, Format};

pub(super) fn read_xlsx<R: Read + Seek>(
    format: &Format,
    wanted: &Wanted,
    limit_bytes: u64,
    mut input: R,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<Facts, Error> {
    let corrupt = |reason: String| Error::Corrupt { kind: "an XLSX workbook", reason };
    let mut magic = [0_u8; 8];
    let read = input.read(&mut magic).map_err(Error::Read)?;
    input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    if read == 0 {
        return Err(Error::Empty);
    }
    // An encrypted workbook is no ZIP archive but an OLE container.
    if magic == [0xD0, 0xCF, 0x11, 0xE0, 0xA1, 0xB1, 0x1A, 0xE1] {
        return Err(Error::Encrypted);
    }
    let mut archive = zip::ZipArchive::new(&mut input).map_err(|error| corrupt(error.to_string()))?;
    let mut size_bytes = 0_u64;
    for index in 0..archive.len() {
        size_bytes += archive.by_index_raw(index).map_err(|error| corrupt(error.to_string()))?.size();
    }
    drop(archive);
    if size_bytes > limit_bytes {
        return Err(Error::TooLarge { size_bytes, limit_bytes });
    }
    input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    let workbook = Xlsx::new(input).map_err(|error| match error {
        XlsxError::Password => Error::Encrypted,
        error => corrupt(error.to_string()),
    })?;
    read_workbook(format, wanted, workbook, |error: XlsxError| corrupt(error.to_string()), sink)
}

pub(super) fn read_xls<R: Read + Seek>(
    format: &Format,
    wanted: &Wanted,
    limit_bytes: u64,
    mut input: R,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<Facts, Error> {
    let corrupt = |reason: String| Error::Corrupt { kind: "an XLS workbook", reason };
    let size_bytes = input.seek(SeekFrom::End(0)).map_err(Error::Read)?;
    input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    if size_bytes == 0 {
        return Err(Error::Empty);
    }
    if size_bytes > limit_bytes {
        return Err(Error::TooLarge { size_bytes, limit_bytes });
    }
    let workbook = Xls::new(input).map_err(|error| match error {
        XlsError::Password => Error::Encrypted,
        error => corrupt(error.to_string()),
    })?;
    read_workbook(format, wanted, workbook, |error: XlsError| corrupt(error.to_string()), sink)
}

fn read_workbook<RS, W, E>(
    format: &Format,
    wanted: &Wanted,
    mut workbook: W,
    corrupt: impl Fn(E) -> Error,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<Facts, Error>
where
    RS: Read + Seek,
    W: Reader<RS, Error = E>,
{
    let sheets = workbook.sheets_metadata();
    let found = match &format.sheet {
        Some(wanted) => sheets.iter().find(|sheet| sheet.name.eq_ignore_ascii_case(wanted)),
        None => sheets.iter().find(|sheet| sheet.visible == SheetVisible::Visible),
    };
    let Some(sheet) = found.map(|sheet| sheet.name.clone()) else {
        let names: Vec<String> = sheets.iter().map(|sheet| format!("`{}`", sheet.name)).collect();
        let wanted = format.sheet.clone().unwrap_or_else(|| "(a visible one)".to_owned());
        return Err(Error::NoSheet { wanted, found: names.join(", ") });
    };
    let range: Range<Data> = workbook.worksheet_range(&sheet).map_err(corrupt)?;
    let mut collector = Collector::new(wanted, format.header, sink);
    let top = range.start().map_or(0, |(row, _)| u64::from(row));
    let mut cells: Vec<Option<String>> = Vec::new();
    for (index, row) in range.rows().enumerate() {
        cells.clear();
        cells.extend(row.iter().map(text_of));
        if !collector.take(top + index as u64 + 1, &cells)? {
            break;
        }
    }
    let mut facts = collector.finish()?;
    facts.sheet = Some(sheet);
    Ok(facts)
}

/// A cell as text that loses nothing: numbers in their shortest exact form,
/// dates as year-month-day.
fn text_of(cell: &Data) -> Option<String> {
    match cell {
        Data::Empty => None,
        Data::String(text) | Data::DateTimeIso(text) | Data::DurationIso(text) => {
            let text = text.trim();
            (!text.is_empty()).then(|| text.to_owned())
        }
        Data::Int(number) => Some(number.to_string()),
        Data::Float(number) => Some(number.to_string()),
        Data::Bool(flag) => Some(flag.to_string()),
        Data::Error(error) => Some(error.to_string()),
        Data::DateTime(moment) => {
            let serial = moment.as_f64();
            let Some(at) = moment.as_datetime() else {
                return Some(serial.to_string());
            };
            Some(if moment.is_duration() || serial.abs() < 1.0 {
                at.format("T%H:%M:%S").to_string()
            } else if serial.fract() == 0.0 {
                at.format("%Y-%m-%d").to_string()
            } else {
                at.format("%Y-%m-%dT%H:%M:%S%.f").to_string()
            })
        }
    }
}
