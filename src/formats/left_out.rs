//! Tells rows that are no data: totals and footnotes.
//!
//! Only what cannot be a row is left out. A row that is merely odd goes to the
//! contract, which refuses it where people can see it.

use super::row::Row;
use crate::digits::{Digits, digits};

/// Words that make a total where they stand alone in the first filled cell.
const TOTALS: [&str; 7] = ["total", "totals", "grand total", "subtotal", "sub total", "sub-total", "sum"];
/// Words that make a total within a longer label, such as `Harbor Total`.
const WITHIN: [&str; 7] = ["total", "totals", "subtotal", "sub-total", "summe", "gesamt", "zwischensumme"];
/// How footnotes begin.
const MARKS: [&str; 12] = [
    "note:",
    "notes:",
    "*",
    "†",
    "‡",
    "source:",
    "sources:",
    "footnote",
    "as of ",
    "generated ",
    "exported ",
    "printed ",
];
/// A text of so many words alone in its row is a sentence.
const SENTENCE_WORDS: usize = 4;

/// What the rows above had in common.
#[derive(Debug, Default)]
pub(super) struct Seen {
    rows: u64,
    rows_of_group: u64,
    columns: Vec<Column>,
}

/// One column of the rows above.
#[derive(Debug, Clone, Copy)]
struct Column {
    /// Whether every row filled it.
    always: bool,
    /// Whether all that stood there were numbers.
    numeric: bool,
    sum: f64,
    sum_of_group: f64,
    /// Sizes summed up, which say how exact the sums are.
    size: f64,
}

impl Seen {
    /// Says why a row is no data, or takes it into account as data.
    pub(super) fn judge(&mut self, row: Row<'_>) -> Option<&'static str> {
        let reason = self.reason(row);
        match reason {
            None => self.add(row),
            Some("footnote") => {}
            Some(_) => {
                self.rows_of_group = 0;
                self.columns.iter_mut().for_each(|column| column.sum_of_group = 0.0);
            }
        }
        reason
    }

    fn reason(&self, row: Row<'_>) -> Option<&'static str> {
        let mut filled = row.filled();
        let (first, text) = filled.next()?;
        let label = text.trim().trim_end_matches(':').trim_end();
        // A row of data begins with what it is about, which is mostly short and no word of ours.
        if label.len() <= 16 && TOTALS.iter().any(|word| label.eq_ignore_ascii_case(word)) {
            return Some("total");
        }
        if self.rows == 0 {
            return None;
        }
        let missing = self.columns.iter().enumerate().filter(|(at, column)| column.always && !row.fills(*at)).count();
        if missing == 0 {
            // Nothing that the rows above had is missing: only a label next to
            // sums can tell a total in a table as narrow as this.
            return (self.columns.len() <= 3 && labelled(label) && self.sums_up(row, Some(first))).then_some("total");
        }
        let words = |at: usize, text: &str| !self.is_number(at, text);
        if !words(first, text) {
            let all_numbers = filled.all(|(at, text)| !words(at, text));
            return (all_numbers && self.sums_up(row, None)).then_some("total by its sums");
        }
        let Some((at, next)) = filled.next() else {
            let lower = text.trim().to_lowercase();
            let marked = MARKS.iter().any(|mark| lower.starts_with(mark));
            let sentence = lower.split_whitespace().count() >= SENTENCE_WORDS;
            return (missing >= 2 && (marked || sentence)).then_some("footnote");
        };
        let only_label = !words(at, next) && filled.all(|(at, text)| !words(at, text));
        (only_label && labelled(label) && (missing >= 2 || self.sums_up(row, Some(first)))).then_some("total")
    }

    /// Whether all numbers of a row are the sums of the rows above, or of those
    /// since the last total. `label` is a cell that is none.
    fn sums_up(&self, row: Row<'_>, label: Option<usize>) -> bool {
        let equal = |sum_of: &dyn Fn(&Column) -> f64| {
            let mut telling = false;
            for (at, text) in row.filled() {
                if label == Some(at) {
                    continue;
                }
                let (Some(column), Some(value)) = (self.columns.get(at), number(text)) else {
                    return false;
                };
                let sum = sum_of(column);
                // Totals are shown to the cent, and floats lose a little with each term.
                if !column.numeric || (sum - value).abs() > 0.005 + column.size * 1e-9 {
                    return false;
                }
                telling |= value != 0.0;
            }
            telling
        };
        (self.rows_of_group >= 2 && equal(&|column| column.sum_of_group))
            || (self.rows >= 2 && equal(&|column| column.sum))
    }

    /// A number in a column of texts, such as a store's, is a name.
    fn is_number(&self, at: usize, text: &str) -> bool {
        self.columns.get(at).is_none_or(|column| column.numeric) && number(text).is_some()
    }

    fn add(&mut self, row: Row<'_>) {
        let width = row.cells.len();
        if self.columns.len() < width {
            let fresh = Column { always: self.rows == 0, numeric: true, sum: 0.0, sum_of_group: 0.0, size: 0.0 };
            self.columns.resize(width, fresh);
        }
        self.rows += 1;
        self.rows_of_group += 1;
        for (at, column) in self.columns.iter_mut().enumerate() {
            match row.cell(at) {
                None => column.always = false,
                Some(text) if column.numeric => match number(text) {
                    Some(value) => {
                        column.sum += value;
                        column.sum_of_group += value;
                        column.size += value.abs();
                    }
                    None => column.numeric = false,
                },
                Some(_) => {}
            }
        }
    }
}

/// Whether a label speaks of a total at its beginning or its end.
fn labelled(label: &str) -> bool {
    let label = label.to_lowercase();
    let mut words = label.split_whitespace();
    let first = words.next().unwrap_or_default();
    let last = words.next_back().unwrap_or(first);
    WITHIN.contains(&first) || WITHIN.contains(&last)
}

/// A number as exports write it. Broken or absent ones are none.
#[inline]
fn number(text: &str) -> Option<f64> {
    plain_number(text.as_bytes()).or_else(|| other_number(text))
}

fn other_number(text: &str) -> Option<f64> {
    let text = text.trim();
    match text.as_bytes().first()? {
        b'0'..=b'9' | b'-' | b'.' | b'+' => {}
        b'$' | b'(' => {}
        _ => return None,
    }
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let (sign, body) = match text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(inner) => (-1.0, inner),
        None => (1.0, text),
    };
    let plain: String = body.chars().filter(|c| !matches!(c, '$' | ',' | ' ')).collect();
    let plain_number = plain.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-'));
    plain_number.then(|| plain.parse::<f64>().ok()).flatten().map(|number| sign * number)
}

/// A plain number whose digits and power of ten are exact floats, so that the quotient is
/// the nearest one to it.
#[inline]
fn plain_number(text: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let Digits { value, places } = digits(text)?;
    let power = POWERS.get(places as usize)?;
    (value < 1 << f64::MANTISSA_DIGITS).then(|| value as f64 / power)
}

#[cfg(test)]
mod tests {
    use super::super::row::RowBuilder;
    use super::{Seen, number};

    #[test]
    fn a_number_read_the_short_way_is_the_one_read_the_long_way() {
        for text in
            ["0", "7", "12.50", "0.1", "000125", "5.", ".5", "123456789012.345", "99999999999999.9", "0.0000001"]
        {
            assert_eq!(number(text), text.parse::<f64>().ok(), "{text}");
        }
        for text in ["", ".", "1.2.3", "12a", "1-2"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(number("(1,250.50)"), Some(-1250.5));
    }

    fn judged(lines: &[&str]) -> Vec<Option<&'static str>> {
        let mut seen = Seen::default();
        lines
            .iter()
            .map(|line| {
                let mut row = RowBuilder::default();
                line.split('|').enumerate().for_each(|(at, cell)| row.put(at, cell));
                seen.judge(row.row())
            })
            .collect()
    }

    #[test]
    fn a_total_without_a_word_is_known_by_its_sums() {
        let lines = [
            "000125|App|10.10|1",
            "000125|Web|20.20|2",
            "||30.30|3",
            "000719|App|1|1",
            "000719|Web|2|2",
            "||3|3",
            "||33.3|6",
        ];
        let total = Some("total by its sums");
        assert_eq!(judged(&lines), [None, None, total, None, None, total, total]);
    }

    #[test]
    fn a_row_without_a_key_whose_numbers_are_no_sums_is_for_the_contract() {
        assert_eq!(judged(&["000125|App|10|1", "000125|Web|20|2", "||30|4", "||31|3"]), [None; 4]);
        // A single row above is no evidence, and zeros are none either.
        assert_eq!(judged(&["000125|App|10|1", "||10|1"]), [None; 2]);
        assert_eq!(judged(&["000125|App|0|0", "000125|Web|0|0", "||0|0"]), [None; 3]);
    }

    #[test]
    fn a_row_that_names_what_it_is_about_is_never_a_total_by_sums() {
        assert_eq!(judged(&["000125|App|10|1", "000125|Web|20|2", "000719||30|3", "|App|60|6"]), [None; 4]);
    }

    #[test]
    fn a_label_makes_a_total_only_where_all_else_is_missing() {
        let above = ["Harbor|App|10|1", "Harbor|Web|20|2"];
        for (last, wanted) in [
            ("Total Harbor||30|3", Some("total")),
            ("Harbor Total|||", None),
            ("Harbor Total||29|3", None),
            ("Harbor Total|App|30|3", None),
            ("Harbor||30|3", None),
        ] {
            assert_eq!(judged(&[above[0], above[1], last])[2], wanted, "{last}");
        }
        let wide = ["Harbor|2025-11-11|App|10", "Harbor|2025-11-11|Web|20", "Harbor Total|||29"];
        assert_eq!(judged(&wide), [None, None, Some("total")]);
        let goods = ["Oat Bran|cereal|10", "Total Crunch|cereal|20", "Sum Total|cereal|30", "Half Total|cereal|"];
        assert_eq!(judged(&goods), [None; 4]);
    }

    #[test]
    fn the_word_alone_makes_a_total() {
        assert_eq!(judged(&["000125|App|10", "Total:||99", "|Grand Total|99"]), [None, Some("total"), Some("total")]);
    }

    #[test]
    fn a_lone_sentence_or_mark_below_wide_rows_is_a_footnote() {
        let lines = ["000125|App|10", "Note: provisional.||", "Days close at four in the morning||", "* net|"];
        assert_eq!(judged(&lines), [None, Some("footnote"), Some("footnote"), Some("footnote")]);
    }

    #[test]
    fn a_lone_text_that_could_be_a_row_is_no_footnote() {
        assert_eq!(judged(&["000125|App|10", "000719||", "Harbor Street||"]), [None; 3]);
        // Two columns: the second may well be a comment that is missing.
        assert_eq!(judged(&["Cafe|good", "*Star Cafe|", "The Cafe At The Corner|"]), [None; 3]);
        // Nobody knows yet how wide the rows are.
        assert_eq!(judged(&["Note: provisional.||"]), [None]);
    }

    #[test]
    fn store_numbers_written_as_numbers_do_not_hide_a_total() {
        let lines = ["125|10|1", "126|20|2", "|30|3"];
        assert_eq!(judged(&lines), [None, None, Some("total by its sums")]);
    }
}
