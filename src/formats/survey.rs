//! Looks at a file that nobody described: what it is, and where its columns are named.

use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};

use arrow::array::{AsArray as _, RecordBatch};
use arrow::datatypes::Int64Type;

use super::header::{Wanted, folded, joined};
use super::{Error, Format, Kind, csv, json_lines, parts, read, worksheet};
use crate::ids::ROW;

/// How far down a header is looked for.
const SEARCHED_ROWS: usize = 50;

/// How a file is encoded, and what its columns are called.
#[derive(Debug, Clone)]
pub struct Survey {
    /// The format, with nothing left to be found: sheet, header row, dialect.
    pub format: Format,
    /// The columns' names as the file spells them, from left to right. Each can be
    /// asked for in [`Wanted`].
    pub names: Vec<String>,
    /// Columns that no name leads to, each with the reason: the name stands twice, or is missing.
    pub unreachable: Vec<String>,
}

type Row = (u64, Vec<Option<String>>);

/// Finds out what a file is, by its bytes and not by its name, and which row
/// names its columns. Only the top of a file is looked at, but for JSON, where
/// any object may bring a further member. Of several sheets, the first is looked at.
/// `asked` says what the file cannot: sheets, range, hidden rows; its kind does not count.
///
/// # Errors
/// When the file cannot be read, or no row looks like a header.
pub fn survey<R: Read + Seek>(asked: &Format, worksheet_limit_bytes: u64, mut input: R) -> Result<Survey, Error> {
    let kind = kind_of(&mut input)?;
    let mut format = Format { kind, ..asked.clone() };
    let problems = format.problems();
    if !problems.is_empty() {
        return Err(Error::Options { problems: problems.join("; ") });
    }
    if kind == Kind::JsonLines {
        let names = json_lines::members(&mut input)?;
        return if names.is_empty() { Err(Error::Empty) } else { Ok(reachable(format, names.into_iter().map(Some))) };
    }
    if kind == Kind::Csv {
        csv::freeze(&mut format, &mut input)?;
    }
    let mut rows: Vec<Row> = Vec::new();
    let grid = Wanted { grid: true, ..Wanted::default() };
    let part = parts(&format, worksheet_limit_bytes, &mut input)?.swap_remove(0);
    input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    let looked = Format { sheet_as: None, ..part };
    let facts = read(&looked, &grid, worksheet_limit_bytes, &mut input, &mut |batch| {
        rows.extend(rows_of(&batch));
        false
    })?;
    let Some(at) = header_among(&rows) else {
        return Err(Error::NoNames { searched: rows.len().min(SEARCHED_ROWS) });
    };
    let (row, upper) = &rows[at];
    let lower = lower_half(&rows, at);
    let names = lower.map_or_else(|| upper.clone(), |lower| joined(upper, lower));
    let at = at + usize::from(lower.is_some());
    if kind == Kind::Xlsx {
        input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
        let sheet = facts.sheet.as_deref().unwrap_or_default();
        format.fill_merged |= worksheet::merges_rows(sheet, rows[at].0, worksheet_limit_bytes, &mut input)?;
    }
    if format.sheets.is_empty() {
        format.header = u32::try_from(*row).ok();
        format.sheet = facts.sheet;
    }
    let width = rows[at..].iter().map(|(_, cells)| cells.len()).max().unwrap_or(0);
    let below = &rows[at + 1..];
    let filled = |column: usize| below.iter().any(|(_, cells)| cells.get(column).is_some_and(Option::is_some));
    // The sheet's name is a column; another of its name in the file cannot be reached.
    let of_sheet = format.sheet_as.clone().map(Some);
    // A sheet's used range may be wider than what anybody filled.
    let names = (0..width)
        .filter(|column| filled(*column) || names.get(*column).is_some_and(Option::is_some))
        .map(|column| names.get(column).cloned().flatten());
    Ok(reachable(format, of_sheet.into_iter().chain(names)))
}

/// The row below a header's, where it names what the header leaves without a
/// name, and is too narrow to be a row of values.
fn lower_half(rows: &[Row], at: usize) -> Option<&[Option<String>]> {
    let ((row, upper), (next, lower)) = (rows.get(at)?, rows.get(at + 1)?);
    let below = rows.get(at + 2..)?;
    let named = |cells: &[Option<String>], at: usize| cells.get(at).is_some_and(Option::is_some);
    let words = lower.iter().flatten().all(|cell| !is_value(cell));
    let completes = (0..lower.len()).any(|at| named(lower, at) && !named(upper, at) && at > 0);
    // A row of values would fill what all rows below fill.
    let lacks = (0..upper.len()).any(|at| {
        named(upper, at)
            && !named(lower, at)
            && !below.is_empty()
            && below.iter().take(2).any(|(_, row)| named(row, at))
    });
    (next - row == 1 && words && completes && lacks && !is_among(lower, below)).then_some(lower.as_slice())
}

fn kind_of<R: Read + Seek>(input: &mut R) -> Result<Kind, Error> {
    let mut top = Vec::new();
    input.by_ref().take(4096).read_to_end(&mut top).map_err(Error::Read)?;
    input.seek(SeekFrom::Start(0)).map_err(Error::Read)?;
    let text = top.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&top);
    Ok(match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        None => return Err(Error::Empty),
        Some(_) if top.starts_with(b"PK\x03\x04") => Kind::Xlsx,
        Some(_) if top.starts_with(&[0xD0, 0xCF, 0x11, 0xE0]) => Kind::Xls,
        Some(b'{') => Kind::JsonLines,
        Some(_) => Kind::Csv,
    })
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let numbers = batch.column_by_name(ROW).expect("batches carry row numbers").as_primitive::<Int64Type>();
    let lists = batch.column(0).as_list::<i32>();
    (0..batch.num_rows())
        .map(|at| {
            let cells = lists.value(at);
            let cells = cells.as_string::<i32>().iter().map(|cell| cell.map(str::to_owned)).collect();
            (numbers.value(at).unsigned_abs(), cells)
        })
        .collect()
}

/// Tells columns with a name of their own from those that a name does not lead to.
fn reachable(format: Format, names: impl Iterator<Item = Option<String>>) -> Survey {
    let mut survey = Survey { format, names: Vec::new(), unreachable: Vec::new() };
    let mut known = HashSet::new();
    for (at, name) in names.enumerate() {
        match name {
            None => survey.unreachable.push(format!("column {} has values and no name", at + 1)),
            Some(name) if known.insert(folded(&name)) => survey.names.push(name),
            Some(name) => survey.unreachable.push(format!("column {} has the name of another: `{name}`", at + 1)),
        }
    }
    survey
}

/// The first row that is about as wide as the others, holds words that differ,
/// and whose words are not the values of the columns below.
fn header_among(rows: &[Row]) -> Option<usize> {
    let filled = |cells: &[Option<String>]| cells.iter().flatten().count();
    let mut widths: Vec<usize> = rows.iter().map(|(_, cells)| filled(cells)).collect();
    widths.sort_unstable();
    let typical = *widths.get(widths.len() / 2)?;
    let words_at = |at: &usize| {
        let names: Vec<&str> = rows[*at].1.iter().flatten().map(String::as_str).collect();
        let values = names.iter().filter(|name| is_value(name)).count();
        let distinct: HashSet<String> = names.iter().map(|name| folded(name)).collect();
        names.len() * 10 >= typical * 7 && values * 4 <= names.len() && distinct.len() * 2 >= names.len()
    };
    let at = (0..rows.len().saturating_sub(1).min(SEARCHED_ROWS)).find(words_at)?;
    (!is_among(&rows[at].1, &rows[at + 1..])).then_some(at)
}

/// Whether a text is a number, a date or a flag rather than somebody's word for one.
fn is_value(text: &str) -> bool {
    let letters = text.chars().filter(|c| c.is_alphabetic()).count();
    let digits = text.chars().filter(char::is_ascii_digit).count();
    letters == 0 || (text.starts_with(|c: char| c.is_ascii_digit()) && digits > letters) || {
        matches!(text.to_ascii_lowercase().as_str(), "true" | "false" | "yes" | "no")
    }
}

/// Whether a row's words stand below, in their columns, as values do. A header
/// that is repeated stands there as a whole, and does not count.
fn is_among(cells: &[Option<String>], below: &[Row]) -> bool {
    let mut columns = HashSet::new();
    for (_, row) in below {
        let same: Vec<usize> =
            (0..cells.len()).filter(|at| cells[*at].is_some() && row.get(*at) == Some(&cells[*at])).collect();
        if same.len() < cells.iter().flatten().count() {
            columns.extend(same);
        }
    }
    columns.len() * 3 >= cells.iter().flatten().count().max(1)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn surveyed(text: &str) -> Result<Survey, Error> {
        survey(&Format::new(Kind::Csv), 1 << 20, Cursor::new(text.as_bytes()))
    }

    #[test]
    fn a_header_is_found_below_titles() {
        let found = surveyed("My View\nLast 7 Days\n;;\nStore;Date;Sales\n1;2025-01-01;3,5\n2;2025-01-01;4\n").unwrap();
        assert_eq!(found.names, ["Store", "Date", "Sales"]);
        assert_eq!((found.format.header, found.format.delimiter), (Some(4), Some(';')));
    }

    #[test]
    fn values_are_no_header() {
        let error = surveyed("1;2025-01-01;3,5\n2;2025-01-01;4\n").unwrap_err();
        assert!(matches!(error, Error::NoNames { .. }), "{error:?}");
        let error = surveyed("Ann,Lunch\nBob,Lunch\nAnn,Dinner\n").unwrap_err();
        assert!(matches!(error, Error::NoNames { .. }), "{error:?}");
    }

    #[test]
    fn columns_that_no_name_leads_to_are_told() {
        let found = surveyed("a,b,A,\n1,2,3,4\n5,6,7,8\n").unwrap();
        assert_eq!(found.names, ["a", "b"]);
        assert_eq!(found.unreachable.len(), 2, "{:?}", found.unreachable);
    }

    #[test]
    fn members_of_any_object_are_columns() {
        let found = surveyed("{\"a\": 1}\n\n{\"a\": 2, \"b\": null}\n").unwrap();
        assert_eq!((found.format.kind, found.names), (Kind::JsonLines, vec!["a".to_owned(), "b".to_owned()]));
    }
}
