//! The text of a drafted definition, and its example.

use std::fmt::Write as _;

use super::examples::csv_of;
use crate::contracts::{ColumnType, DateOrder, DecimalMark, DraftColumn};
use crate::formats::{Format, Hidden, Kind};
use crate::words::counted;

/// What a definition is written from.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    pub(super) pipeline: String,
    pub(super) file: String,
    pub(super) kind: Kind,
    pub(super) format: Format,
    pub(super) rows: u64,
    pub(super) rows_refused: u64,
    pub(super) left_out: Vec<String>,
    pub(super) unreachable: Vec<String>,
    pub(super) columns: Vec<DraftColumn>,
    /// Columns that no two rows share, the best first.
    pub(super) keys: Vec<Vec<String>>,
}

/// The first rows, in the columns' order.
pub(super) type Example = Vec<Vec<Option<String>>>;

impl Layout {
    /// Writes `pipeline.toml`.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        comment(
            &mut text,
            &format!(
                "Drafted from {}: {}, {}. Every decision says why, and was tried on every row; what is \
                 wrong is changed here. Then: storekeeper check, storekeeper contract test {name}, storekeeper run \
                 {name} --brand BRAND --file FILE.",
                quoted(&self.file),
                counted(self.rows, "row", "rows"),
                counted(self.columns.len(), "column", "columns"),
                name = self.pipeline
            ),
        );
        if !self.left_out.is_empty() {
            comment(&mut text, &format!("Rows left out, as in a run: {}.", self.left_out.join(", ")));
        }
        if self.rows_refused > 0 {
            comment(
                &mut text,
                &format!("{} of this file will go to quarantine.", counted(self.rows_refused, "row", "rows")),
            );
        }
        let title = self.pipeline.replace('_', " ");
        let title: String = title.chars().take(1).flat_map(char::to_uppercase).chain(title.chars().skip(1)).collect();
        let _ = writeln!(text, "title = {}\n\n[source]", quoted(&title));
        comment(
            &mut text,
            "Files are handed over with --file. To fetch them instead: kind = \"drive\" or \"folder\", with folder = \
             \"…\" and pattern = \"…*\".",
        );
        text.push_str("kind = \"upload\"\n");
        comment(&mut text, "As it was found in the file, and frozen: nothing is left to be guessed at the next one.");
        let _ = writeln!(text, "format = {{ {} }}", format_keys(&self.format).join(", "));
        text.push_str("\n[contract]\n");
        for column in &self.unreachable {
            comment(&mut text, &format!("NOT LOADED: {column}. Name it in the file, then draft again."));
        }
        self.write_key(&mut text);
        for column in &self.columns {
            write_column(&mut text, column);
        }
        self.write_destination(&mut text);
        text
    }

    fn write_key(&self, text: &mut String) {
        let Some((key, others)) = self.keys.split_first() else {
            comment(
                text,
                "No key: no combination of up to four of the likelier columns is filled and unique in all rows. \
                 Rows of a file that comes again are added again.",
            );
            return;
        };
        comment(
            text,
            &format!(
                "Unique and never empty in all {} rows, and no smaller choice of columns is. A later row with the \
                 same key updates the row; of two in one file the last counts.",
                self.rows - self.rows_refused.min(self.rows)
            ),
        );
        for other in others {
            comment(text, &format!("Unique as well: {}.", other.join(", ")));
        }
        let key: Vec<String> = key.iter().map(|name| quoted(name)).collect();
        let _ = writeln!(text, "key = [{}]", key.join(", "));
    }

    fn write_destination(&self, text: &mut String) {
        text.push_str("\n[destination]\n");
        if !self.columns.iter().any(|column| column.name == "store_id") {
            comment(text, "No column `store_id`: everybody of the brand reads this table.");
        }
        let _ = writeln!(text, "table = {}", quoted(&self.pipeline));
        if self.keys.is_empty() {
            comment(text, "Or \"replace\", where one file tells the whole table.");
            text.push_str("write_disposition = \"append\"\n");
        } else {
            comment(
                text,
                "Or \"replace\", where one file tells the whole table; or \"replace_window\", where it is the truth \
                 for the days it covers.",
            );
            text.push_str("write_disposition = \"merge\"\n");
        }
    }
}

fn write_column(text: &mut String, column: &DraftColumn) {
    text.push_str("\n[[contract.columns]]\n");
    comment(text, &format!("{}.", sentence(&column.why)));
    for remark in &column.remarks {
        comment(text, &format!("LOOK: {remark}"));
    }
    let _ = writeln!(text, "name = {}", quoted(&column.name));
    let _ = writeln!(text, "from = {}", quoted(&column.from));
    let _ = writeln!(text, "type = {}", quoted(&column.column_type.to_string()));
    if let Some(order) = column.date_order {
        let order = match order {
            DateOrder::Ymd => "ymd",
            DateOrder::Mdy => "mdy",
            DateOrder::Dmy => "dmy",
        };
        let _ = writeln!(text, "date_order = \"{order}\"");
    }
    if let Some(mark) = column.decimal_mark {
        let mark = if mark == DecimalMark::Comma { "comma" } else { "point" };
        let _ = writeln!(text, "decimal_mark = \"{mark}\"");
    }
    if let Some(reason) = &column.personal {
        comment(text, &format!("Suspected: {reason}. Its values stay out of logs, mails and reasons."));
        text.push_str("personal = true\n");
    }
}

fn format_keys(format: &Format) -> Vec<String> {
    let kind = match format.kind {
        Kind::Csv => "csv",
        Kind::Xlsx => "xlsx",
        Kind::Xls => "xls",
        Kind::JsonLines => "json_lines",
    };
    let mut keys = vec![format!("kind = \"{kind}\"")];
    keys.extend(format.sheet.as_ref().map(|sheet| format!("sheet = {}", quoted(sheet))));
    if !format.sheets.is_empty() {
        let sheets: Vec<String> = format.sheets.iter().map(|sheet| quoted(sheet)).collect();
        keys.push(format!("sheets = [{}]", sheets.join(", ")));
    }
    keys.extend(format.sheet_as.as_ref().map(|column| format!("sheet_as = {}", quoted(column))));
    keys.extend(format.range.as_ref().map(|range| format!("range = {}", quoted(range))));
    keys.extend(format.fill_merged.then(|| "fill_merged = true".to_owned()));
    keys.extend((format.hidden == Hidden::Skip).then(|| "hidden = \"skip\"".to_owned()));
    keys.extend(format.header.map(|row| format!("header = {row}")));
    keys.extend(format.delimiter.map(|delimiter| format!("delimiter = {}", quoted(&delimiter.to_string()))));
    keys.extend(format.quote.map(|quote| format!("quote = {}", quoted(&quote.to_string()))));
    keys.extend(format.escape.map(|escape| format!("escape = {}", quoted(&escape.to_string()))));
    keys.extend(format.encoding.as_ref().map(|encoding| format!("encoding = {}", quoted(encoding))));
    keys
}

/// Writes what comes in: the header in its row, and the first rows. What may be
/// personal is replaced by something made up.
pub(super) fn example_input(layout: &Layout, example: &Example) -> Vec<u8> {
    let rows: Example = example.iter().enumerate().map(|(at, row)| masked(layout, at + 1, row)).collect();
    if layout.kind == Kind::JsonLines {
        let mut text = String::new();
        for row in &rows {
            let member = |(column, cell): (&DraftColumn, &Option<String>)| (column.from.clone(), json(cell.as_deref()));
            let object: serde_json::Map<String, serde_json::Value> =
                layout.columns.iter().zip(row).map(member).collect();
            let _ = writeln!(text, "{}", serde_json::Value::Object(object));
        }
        return text.into_bytes();
    }
    let above = layout.format.header.unwrap_or(1).saturating_sub(1);
    let mut lines: Vec<Vec<String>> = (0..above).map(|_| vec!["above the header".to_owned()]).collect();
    lines.push(layout.columns.iter().map(|column| column.from.clone()).collect());
    lines.extend(rows.into_iter().map(|row| row.into_iter().map(Option::unwrap_or_default).collect()));
    let stands_in = layout.kind != Kind::Csv;
    let byte = |sign: Option<char>| sign.and_then(|sign| u8::try_from(sign).ok()).filter(|_| !stands_in);
    let delimiter = byte(layout.format.delimiter);
    let (quote, escape) = (byte(layout.format.quote), byte(layout.format.escape));
    // The byte order mark says UTF-8, whatever the encoding of the real file is.
    let mark = if layout.format.encoding.as_deref().is_none_or(|label| label == "utf-8") { "" } else { "\u{feff}" };
    let text = match (delimiter, quote, escape) {
        (None | Some(b','), None, None) => csv_of(&lines),
        _ => {
            let mut builder = csv::WriterBuilder::new();
            builder.flexible(true).delimiter(delimiter.unwrap_or(b',')).quote(quote.unwrap_or(b'"'));
            if let Some(escape) = escape {
                builder.double_quote(false).escape(escape);
            }
            let mut writer = builder.from_writer(Vec::new());
            for line in &lines {
                writer.write_record(line).expect("memory takes each line");
            }
            String::from_utf8_lossy(&writer.into_inner().expect("memory takes the rest")).into_owned()
        }
    };
    format!("{mark}{text}").into_bytes()
}

fn json(cell: Option<&str>) -> serde_json::Value {
    match cell {
        None => serde_json::Value::Null,
        Some(text) => match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => number.into(),
            _ => text.into(),
        },
    }
}

fn masked(layout: &Layout, number: usize, row: &[Option<String>]) -> Vec<Option<String>> {
    let mask = |column: &DraftColumn| match column.column_type {
        ColumnType::Integer | ColumnType::Decimal { .. } | ColumnType::StoreId => number.to_string(),
        ColumnType::Date => format!("2000-01-{number:02}"),
        ColumnType::Timestamp => format!("2000-01-{number:02}T00:00:00Z"),
        ColumnType::Time => format!("08:{number:02}"),
        ColumnType::Boolean => "true".to_owned(),
        ColumnType::Duration => format!("{number}:00:00"),
        ColumnType::Json => "{}".to_owned(),
        ColumnType::Text => format!("Made up {number}"),
    };
    let cell = |(cell, column): (&Option<String>, &DraftColumn)| match (cell, &column.personal) {
        (Some(_), Some(_)) => Some(mask(column)),
        (cell, _) => cell.clone(),
    };
    row.iter().zip(&layout.columns).map(cell).collect()
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn sentence(text: &str) -> String {
    text.chars().take(1).flat_map(char::to_uppercase).chain(text.chars().skip(1)).collect()
}

/// Writes a comment in lines of a width that people read. What came from a file
/// cannot leave the comment.
fn comment(text: &mut String, words: &str) {
    let clean: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut line = String::from("#");
    for word in clean.split_whitespace() {
        if line.chars().count() + word.chars().count() > 99 && line.len() > 1 {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}
