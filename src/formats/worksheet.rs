//! Worksheets. An XLSX sheet streams cell by cell, so that its size on paper
//! costs nothing; an XLS sheet is held in memory.

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use calamine::{Data, DataRef, Reader, Xls, XlsError, Xlsx, XlsxCellReader, XlsxError};

use super::header::Wanted;
use super::package::{self, Package};
use super::row::RowBuilder;
use super::rows::Collector;
use super::sheet_scan::{Area, SheetScan, area};
use super::sheets;
use super::{Error, Facts, Format, Hidden, Kind};
use crate::words::counted;

/// Columns that a sheet can have.
const COLUMNS: u32 = 16_384;
/// What a formula that was never calculated is handed over as.
static UNCALCULATED: DataRef<'static> = DataRef::SharedString("#NOT CALCULATED");

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
        facts.notes.push(format!(
            "{} read like others",
            counted(hidden, "hidden row of the sheet was", "hidden rows of the sheet were")
        ));
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
        let mut cells = RowBuilder::default();
        for (row, texts) in (top..).zip(range.rows()) {
            if row < clip.rows.0 || row > clip.rows.1 {
                continue;
            }
            cells.clear();
            for (at, (column, cell)) in (left..).zip(texts).enumerate() {
                if column >= clip.columns.0 && column <= clip.columns.1 {
                    put(&mut cells, at, &borrowed(cell));
                }
            }
            if !collector.take(u64::from(row) + 1, cells.row())? {
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
    let mut texts = RowBuilder::default();
    loop {
        let (plain, with_formula);
        let ((row, column), value) = if scan.formulas {
            let Some(cell) = cells.next_cell_with_formula_metadata().map_err(xlsx_error)? else { break };
            with_formula = cell;
            let uncalculated = with_formula.value == DataRef::Empty && with_formula.formula.is_some();
            (with_formula.pos, if uncalculated { &UNCALCULATED } else { &with_formula.value })
        } else {
            let Some(cell) = cells.next_cell().map_err(xlsx_error)? else { break };
            plain = cell;
            (plain.get_position(), plain.get_value())
        };
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
        if row >= clip.rows.0 && row <= clip.rows.1 && column >= clip.columns.0 && column <= clip.columns.1 {
            put(&mut texts, column as usize, value);
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
    fn take(&mut self, row: u32, texts: &mut RowBuilder) -> Result<bool, Error> {
        self.merged.fill(row, texts);
        let number = u64::from(row) + 1;
        if self.hidden.binary_search(&row).is_ok() {
            if !texts.row().is_blank() {
                self.skipped.push(number);
            }
            return Ok(true);
        }
        self.collector.take(number, texts.row())
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
    fn fill(&mut self, row: u32, texts: &mut RowBuilder) {
        self.open.retain(|(area, _)| area.rows.1 >= row);
        while self.waiting.last().is_some_and(|area| area.rows.0 <= row) {
            let Some(area) = self.waiting.pop() else { break };
            if area.rows.0 == row {
                let value = texts.row().cell(area.columns.0 as usize).map(str::to_owned);
                self.open.push((area, value));
            }
        }
        if texts.row().is_blank() {
            return;
        }
        for (area, value) in &self.open {
            let Some(value) = value else { continue };
            // Beyond the last cell a row has, there is nothing to fill.
            let last = texts.row().cells.len().max(area.columns.0 as usize + 1) - 1;
            for at in area.columns.0 as usize..=last.min(area.columns.1.min(COLUMNS - 1) as usize) {
                if !texts.row().fills(at) {
                    texts.put(at, value);
                }
            }
        }
    }
}

/// Writes a cell as text that loses nothing: numbers in their shortest exact form,
/// dates as year-month-day. An empty cell leaves what stands there.
fn put(row: &mut RowBuilder, at: usize, cell: &DataRef<'_>) {
    match cell {
        DataRef::Empty => {}
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => put_text(row, at, text),
        DataRef::SharedString(text) => put_text(row, at, text),
        DataRef::Int(number) => row.put(at, number),
        DataRef::Float(number) => row.put(at, number),
        DataRef::Bool(flag) => row.put(at, flag),
        DataRef::Error(error) => row.put(at, error),
        DataRef::DateTime(moment) => {
            let serial = moment.as_f64();
            // A clock has no more than a day: what is longer, or below nothing, is no time of day.
            if moment.is_duration() && !(0.0..1.0).contains(&serial) {
                return row.put(at, length(serial));
            }
            let Some(moment_at) = moment.as_datetime() else {
                return row.put(at, serial);
            };
            if moment.is_duration() || serial.abs() < 1.0 {
                row.put(at, moment_at.format("T%H:%M:%S"));
            } else if serial.fract() == 0.0 {
                // Writes like `%Y-%m-%d`, in a fraction of the time.
                row.put(at, moment_at.date());
            } else {
                row.put(at, moment_at.format("%Y-%m-%dT%H:%M:%S%.f"));
            }
        }
    }
}

fn put_text(row: &mut RowBuilder, at: usize, text: &str) {
    let text = text.trim();
    if !text.is_empty() {
        row.put_with(at, |cells| cells.push_str(text));
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

#[cfg(test)]
mod tests {
    use calamine::{ExcelDateTime, ExcelDateTimeType};

    use super::*;

    #[test]
    fn a_length_of_time_keeps_the_hours_beyond_a_day() {
        let text = |days: f64, kind| {
            let mut row = RowBuilder::default();
            put(&mut row, 0, &DataRef::DateTime(ExcelDateTime::new(days, kind, false)));
            row.row().owned().remove(0)
        };
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
