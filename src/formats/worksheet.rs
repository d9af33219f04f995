//! Worksheets. An XLSX sheet streams cell by cell, so that its size on paper
//! costs nothing; an XLS sheet is held in memory.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use calamine::{Data, DataRef, Reader, Xls, XlsError, Xlsx, XlsxCellReader, XlsxError};

use super::header::Wanted;
use super::package::{self, Package};
use super::rows::Collector;
use super::sheet_scan::{Area, SheetScan, area};
use super::sheets;
use super::{Error, Facts, Format, Hidden, Kind};

/// Columns that a sheet can have.
const COLUMNS: u32 = 16_384;
/// What a formula that was never calculated is handed over as.
const UNCALCULATED: &str = "#NOT CALCULATED";

pub(super) fn read_xlsx<R: Read + Seek>(
    format: &Format,
    wanted: &Wanted,
    limit_bytes: u64,
    mut input: R,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<Facts, Error> {
    let package = package::inspect(&mut input, limit_bytes)?;
    let mut workbook = open_xlsx(BufReader::new(input))?;
    let (sheet, clip) = place(format, workbook.sheets_metadata(), workbook.defined_names())?;
    let Package { mut sheets, stale } = package;
    let index = workbook.sheets_metadata().iter().position(|other| other.name == sheet);
    let scan = index.filter(|index| *index < sheets.len()).map(|index| sheets.swap_remove(index)).unwrap_or_default();
    let hidden = scan.hidden.len();
    let formulas = scan.formulas;
    let cells = workbook.worksheet_cells_reader(&sheet).map_err(xlsx_error)?;
    let mut facts =
        with_sheet_name(format, wanted, &sheet, sink, |wanted, sink| stream(format, wanted, cells, scan, clip, sink))?;
    if hidden > 0 && format.hidden == Hidden::Read {
        facts.notes.push(format!("{hidden} hidden rows of the sheet were read like others"));
    }
    if stale && formulas {
        facts.notes.push(
            "its formulas wait to be calculated: the values read are those saved last, save it in Excel to renew them"
                .to_owned(),
        );
    }
    facts.sheet = Some(sheet);
    Ok(facts)
}

pub(super) fn read_xls<R: Read + Seek>(
    format: &Format,
    wanted: &Wanted,
    limit_bytes: u64,
    input: R,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<Facts, Error> {
    let mut workbook = open_xls(input, limit_bytes)?;
    let (sheet, clip) = place(format, workbook.sheets_metadata(), workbook.defined_names())?;
    let range = workbook.worksheet_range(&sheet).map_err(xls_error)?;
    let (top, left) = range.start().unwrap_or_default();
    let mut facts = with_sheet_name(format, wanted, &sheet, sink, |wanted, sink| {
        let mut collector = Collector::new(wanted, format.header, sink);
        let mut cells: Vec<Option<String>> = Vec::new();
        for (row, texts) in (top..).zip(range.rows()) {
            if row < clip.rows.0 || row > clip.rows.1 {
                continue;
            }
            cells.clear();
            cells.extend((left..).zip(texts).map(|(column, cell)| {
                let inside = column >= clip.columns.0 && column <= clip.columns.1;
                inside.then(|| text_of(borrowed(cell))).flatten()
            }));
            if !collector.take(u64::from(row) + 1, &cells)? {
                break;
            }
        }
        collector.finish()
    })?;
    facts.sheet = Some(sheet);
    Ok(facts)
}

/// Names the sheets that a format of several asks for.
pub(super) fn names<R: Read + Seek>(format: &Format, limit_bytes: u64, mut input: R) -> Result<Vec<String>, Error> {
    if format.kind == Kind::Xls {
        return sheets::chosen(format, open_xls(input, limit_bytes)?.sheets_metadata());
    }
    package::inspect(&mut input, limit_bytes)?;
    sheets::chosen(format, open_xlsx(BufReader::new(input))?.sheets_metadata())
}

/// Whether merged cells of an XLSX sheet span several rows, at or below a row from 1
/// on which its header ends: one value then counts for rows that do not show it.
pub(super) fn merges_rows<R: Read + Seek>(
    sheet: &str,
    below: u64,
    limit_bytes: u64,
    mut input: R,
) -> Result<bool, Error> {
    let Package { sheets, .. } = package::inspect(&mut input, limit_bytes)?;
    let workbook = open_xlsx(BufReader::new(input))?;
    let index = workbook.sheets_metadata().iter().position(|other| other.name == sheet);
    let merged = index.and_then(|index| sheets.get(index)).map(|scan| scan.merged.as_slice()).unwrap_or_default();
    Ok(merged.iter().any(|area| u64::from(area.rows.0) >= below && area.rows.1 > area.rows.0))
}

fn open_xlsx<R: Read + Seek>(input: R) -> Result<Xlsx<R>, Error> {
    Xlsx::new(input).map_err(xlsx_error)
}

fn open_xls<R: Read + Seek>(mut input: R, limit_bytes: u64) -> Result<Xls<R>, Error> {
    let size_bytes = input.seek(SeekFrom::End(0)).map_err(Error::Read)?;
    input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    if size_bytes == 0 {
        return Err(Error::Empty);
    }
    if size_bytes > limit_bytes {
        return Err(Error::TooLarge { size_bytes, limit_bytes });
    }
    Xls::new(input).map_err(xls_error)
}

fn xlsx_error(error: XlsxError) -> Error {
    match error {
        XlsxError::Password => Error::Encrypted,
        error => Error::Corrupt { kind: "an XLSX workbook", reason: error.to_string() },
    }
}

fn xls_error(error: XlsError) -> Error {
    match error {
        XlsError::Password => Error::Encrypted,
        error => Error::Corrupt { kind: "an XLS workbook", reason: error.to_string() },
    }
}

/// Says which sheet is read, and which part of it.
fn place(format: &Format, sheets: &[calamine::Sheet], names: &[(String, String)]) -> Result<(String, Area), Error> {
    let whole = Area { rows: (0, u32::MAX), columns: (0, COLUMNS - 1) };
    let Some(wanted) = &format.range else {
        return Ok((first(format, sheets)?, whole));
    };
    if let Some(clip) = area(wanted) {
        return Ok((first(format, sheets)?, clip));
    }
    let missing = || Error::NoRange { wanted: wanted.clone() };
    let named = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).ok_or_else(missing)?;
    let (sheet, range) = named.1.trim_start_matches('=').rsplit_once('!').ok_or_else(missing)?;
    let sheet = sheet.trim_matches('\'').replace("''", "'");
    let clip = area(range).ok_or_else(missing)?;
    if format.sheet.as_ref().is_some_and(|wanted| !wanted.eq_ignore_ascii_case(&sheet)) {
        return Err(missing());
    }
    Ok((first(&Format { sheet: Some(sheet), ..format.clone() }, sheets)?, clip))
}

fn first(format: &Format, all: &[calamine::Sheet]) -> Result<String, Error> {
    Ok(sheets::chosen(format, all)?.swap_remove(0))
}

/// Reads without the column that takes the sheet's name, and puts it into each batch.
fn with_sheet_name(
    format: &Format,
    wanted: &Wanted,
    sheet: &str,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
    read: impl FnOnce(&Wanted, &mut dyn FnMut(RecordBatch) -> bool) -> Result<Facts, Error>,
) -> Result<Facts, Error> {
    let Some(column) = &format.sheet_as else {
        return read(wanted, sink);
    };
    let at = wanted.columns.iter().position(|(name, _, _)| name == column);
    let at = at.ok_or_else(|| Error::NoSheetColumn { column: column.clone() })?;
    let mut rest = wanted.clone();
    rest.columns.remove(at);
    let mut facts = read(&rest, &mut |batch| {
        let mut fields: Vec<Arc<Field>> = batch.schema().fields().to_vec();
        fields.insert(at, Arc::new(Field::new(column, DataType::Utf8, true)));
        let mut arrays = batch.columns().to_vec();
        let name: ArrayRef = Arc::new(StringArray::from(vec![sheet; batch.num_rows()]));
        arrays.insert(at, name);
        let whole = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays);
        sink(whole.expect("the column was made as long as the others"))
    })?;
    for (_, cells) in &mut facts.totals {
        cells.insert(at, None);
    }
    Ok(facts)
}

/// Reads the cells of an XLSX sheet row by row.
fn stream<R: Read + Seek>(
    format: &Format,
    wanted: &Wanted,
    mut cells: XlsxCellReader<'_, R>,
    scan: SheetScan,
    clip: Area,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<Facts, Error> {
    let corrupt = |reason: String| Error::Corrupt { kind: "an XLSX workbook", reason };
    let mut rows = Rows {
        collector: Collector::new(wanted, format.header, sink),
        merged: if format.fill_merged { Merged::new(scan.merged) } else { Merged::default() },
        hidden: if format.hidden == Hidden::Skip { scan.hidden } else { Vec::new() },
        skipped: Vec::new(),
    };
    let mut current = 0;
    let mut texts: Vec<Option<String>> = Vec::new();
    loop {
        let next = if scan.formulas {
            let cell = cells.next_cell_with_formula_metadata().map_err(xlsx_error)?;
            cell.map(|cell| match (&cell.value, &cell.formula) {
                (DataRef::Empty, Some(_)) => (cell.pos, Some(UNCALCULATED.to_owned())),
                _ => (cell.pos, text_of(cell.value)),
            })
        } else {
            let cell = cells.next_cell().map_err(xlsx_error)?;
            cell.map(|cell| (cell.get_position(), text_of(cell.get_value().clone())))
        };
        let Some(((row, column), text)) = next else { break };
        if row != current {
            if row < current {
                return Err(corrupt(format!("row {} stands below row {}", row + 1, current + 1)));
            }
            if !rows.take(current, &mut texts)? {
                return rows.finish();
            }
            texts.clear();
            current = row;
        }
        if column >= COLUMNS {
            return Err(corrupt(format!("row {} has a cell in column {}", row + 1, column + 1)));
        }
        let inside = row >= clip.rows.0 && row <= clip.rows.1 && column >= clip.columns.0 && column <= clip.columns.1;
        if inside && text.is_some() {
            let column = column as usize;
            if texts.len() <= column {
                texts.resize(column + 1, None);
            }
            texts[column] = text;
        }
    }
    rows.take(current, &mut texts)?;
    rows.finish()
}

/// Rows on their way to the collector.
struct Rows<'a> {
    collector: Collector<'a>,
    merged: Merged,
    /// Hidden rows that are left out.
    hidden: Vec<u32>,
    skipped: Vec<u64>,
}

impl Rows<'_> {
    fn take(&mut self, row: u32, texts: &mut Vec<Option<String>>) -> Result<bool, Error> {
        self.merged.fill(row, texts);
        let number = u64::from(row) + 1;
        if self.hidden.binary_search(&row).is_ok() {
            if texts.iter().any(Option::is_some) {
                self.skipped.push(number);
            }
            return Ok(true);
        }
        self.collector.take(number, texts)
    }

    fn finish(self) -> Result<Facts, Error> {
        let mut facts = self.collector.finish()?;
        for row in self.skipped {
            facts.leave_out("hidden", row);
        }
        Ok(facts)
    }
}

/// Merged cells that are filled: the value stands in the first cell only.
#[derive(Debug, Default)]
struct Merged {
    /// Those still to come, the uppermost last.
    waiting: Vec<Area>,
    /// Those that reach the current row, with their value.
    open: Vec<(Area, Option<String>)>,
}

impl Merged {
    fn new(mut areas: Vec<Area>) -> Self {
        areas.sort_by_key(|area| std::cmp::Reverse(area.rows.0));
        Self { waiting: areas, open: Vec::new() }
    }

    /// Fills a row that has a cell of its own; merged cells alone make no row.
    fn fill(&mut self, row: u32, texts: &mut Vec<Option<String>>) {
        self.open.retain(|(area, _)| area.rows.1 >= row);
        while self.waiting.last().is_some_and(|area| area.rows.0 <= row) {
            let Some(area) = self.waiting.pop() else { break };
            if area.rows.0 == row {
                let value = texts.get(area.columns.0 as usize).cloned().flatten();
                self.open.push((area, value));
            }
        }
        if texts.iter().all(Option::is_none) {
            return;
        }
        for (area, value) in self.open.iter().filter(|(_, value)| value.is_some()) {
            let (from, to) = (area.columns.0 as usize, (area.columns.1.min(COLUMNS - 1)) as usize);
            if texts.len() <= from {
                texts.resize(from + 1, None);
            }
            // Beyond the last cell a row has, there is nothing to fill.
            let to = to.min(texts.len() - 1);
            for cell in &mut texts[from..=to] {
                if cell.is_none() {
                    cell.clone_from(value);
                }
            }
        }
    }
}

/// A cell as text that loses nothing: numbers in their shortest exact form,
/// dates as year-month-day.
fn text_of(cell: DataRef<'_>) -> Option<String> {
    match cell {
        DataRef::Empty => None,
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => trimmed(&text),
        DataRef::SharedString(text) => trimmed(text),
        DataRef::Int(number) => Some(number.to_string()),
        DataRef::Float(number) => Some(number.to_string()),
        DataRef::Bool(flag) => Some(flag.to_string()),
        DataRef::Error(error) => Some(error.to_string()),
        DataRef::DateTime(moment) => {
            let serial = moment.as_f64();
            // A clock has no more than a day: what is longer, or below nothing, is no time of day.
            if moment.is_duration() && !(0.0..1.0).contains(&serial) {
                return Some(length(serial));
            }
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

/// A length of time, given in days, to the second.
fn length(days: f64) -> String {
    let seconds = (days.abs() * 86_400.0).round() as u64;
    let sign = if days < 0.0 { "-" } else { "" };
    format!("{sign}PT{}H{}M{}S", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// An XLS cell as the cells of an XLSX sheet come.
fn borrowed(cell: &Data) -> DataRef<'_> {
    match cell {
        Data::Empty => DataRef::Empty,
        Data::String(text) => DataRef::SharedString(text),
        Data::DateTimeIso(text) | Data::DurationIso(text) => DataRef::SharedString(text),
        Data::Int(number) => DataRef::Int(*number),
        Data::Float(number) => DataRef::Float(*number),
        Data::Bool(flag) => DataRef::Bool(*flag),
        Data::Error(error) => DataRef::Error(error.clone()),
        Data::DateTime(moment) => DataRef::DateTime(*moment),
    }
}

fn trimmed(text: &str) -> Option<String> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use calamine::{ExcelDateTime, ExcelDateTimeType};

    use super::*;

    #[test]
    fn a_length_of_time_keeps_the_hours_beyond_a_day() {
        let text = |days: f64, kind| text_of(DataRef::DateTime(ExcelDateTime::new(days, kind, false)));
        for (hours, wanted) in [
            (7.5, "T07:30:00"),
            (24.0, "PT24H0M0S"),
            (107.5, "PT107H30M0S"),
            (-1.25, "-PT1H15M0S"),
            (36.0, "PT36H0M0S"),
        ] {
            assert_eq!(text(hours / 24.0, ExcelDateTimeType::TimeDelta).as_deref(), Some(wanted), "{hours}");
        }
        // The same number under a date's format is a moment.
        assert_eq!(text(45_000.0, ExcelDateTimeType::DateTime).as_deref(), Some("2023-03-15"));
    }
}
