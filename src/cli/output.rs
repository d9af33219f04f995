//! Printing: text for people, JSON for programs. No colour, ever, where nobody looks.

use std::io::Write as _;

use clap::ValueEnum;
use serde::Serialize;

use super::Failure;
pub(super) use crate::words::{counted, grouped};

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

#[derive(Debug)]
pub(super) struct Output {
    format: Format,
}

impl Output {
    pub(super) fn new(format: Format) -> Self {
        Self { format }
    }

    /// Prints an answer: the JSON, or the text.
    pub(super) fn answer<T: Serialize>(&self, json: &T, text: impl FnOnce() -> String) {
        let text = match self.format {
            Format::Json => serde_json::to_string_pretty(json).unwrap_or_default(),
            Format::Text => text(),
        };
        // A reader that went away, as `head` does, is no failure of ours.
        let _closed = writeln!(std::io::stdout(), "{}", text.trim_end());
    }

    /// Prints a text that has a format of its own.
    pub(super) fn print(&self, text: &str) {
        let _closed = write!(std::io::stdout(), "{text}");
    }

    /// Prints what was done before something failed, and what failed: the answer's
    /// `error` and `hint`. What was done stays done, so it is told either way.
    pub(super) fn answer_until(
        &self,
        mut json: serde_json::Value,
        failed: Option<&Failure>,
        text: impl FnOnce() -> String,
    ) {
        let Some(failure) = failed else { return self.answer(&json, text) };
        match self.format {
            Format::Json => {
                json["error"] = failure.message.clone().into();
                json["hint"] = failure.hint.clone().into();
                self.answer(&json, String::new);
            }
            Format::Text => {
                self.answer(&json, text);
                self.failure(failure);
            }
        }
    }

    /// Says what went wrong.
    pub(super) fn failure(&self, failure: &Failure) {
        let mut out = std::io::stderr();
        let _closed = match (self.format, &failure.hint) {
            (Format::Json, hint) => {
                let json = serde_json::json!({ "error": failure.message, "hint": hint });
                writeln!(std::io::stdout(), "{json}")
            }
            (Format::Text, Some(hint)) => writeln!(out, "error: {}\n hint: {hint}", failure.message),
            (Format::Text, None) => writeln!(out, "error: {}", failure.message),
        };
    }
}

/// Lays rows out in columns; the first row is the header. Columns named in
/// `right` are set to the right, as numbers are.
pub(super) fn table(rows: &[Vec<String>], right: &[usize]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[column].saturating_sub(cell.chars().count()));
            if right.contains(&column) {
                line.push_str(&pad);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&pad);
            }
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = [["name", "rows"], ["a", "1,200"], ["longer", "7"]];
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        insta::assert_snapshot!(table(&rows, &[1]), @r"
        name     rows
        a       1,200
        longer      7
        ");
    }
}
