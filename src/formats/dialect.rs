//! Finds how a file of separated values is written, from its first bytes.

use std::cmp::Reverse;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};
use memchr::memchr_iter;

use super::csv_lines::{Lines, Signs};
use super::{Error, Format};

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Records looked at.
const RECORDS: usize = 100;

/// How a file of separated values is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Its label, e.g. `utf-8` or `windows-1252`.
    pub encoding: &'static Encoding,
    /// What parts cells: comma, semicolon, tab or bar.
    pub delimiter: char,
    /// What stands around cells that hold any of these signs.
    pub quote: char,
    /// What stands before a quote that is meant; the quote itself when it is doubled.
    pub escape: char,
}

impl Dialect {
    /// Finds a dialect in the first bytes of a file, which may end anywhere. A file
    /// that shows none is taken for UTF-8 with commas and doubled quotes.
    pub fn find(sample: &[u8]) -> Self {
        let encoding = Encoding::for_bom(sample).map_or_else(|| guess(sample), |(encoding, _)| encoding);
        let text = encoding.decode(sample).0;
        let quote = quote_of(&text);
        let escape = escape_of(&text, quote);
        Self { encoding, delimiter: char::from(delimiter_of(&text, quote, escape)), quote, escape }
    }

    /// The dialect a file is read with: what the format says, and else what is found.
    pub(super) fn of(format: &Format, sample: &[u8]) -> Result<Self, Error> {
        // A byte order mark is part of the file, and knows better than a definition.
        let encoding = match (&format.encoding, Encoding::for_bom(sample)) {
            (_, Some((encoding, _))) => encoding,
            (Some(label), None) => {
                Encoding::for_label(label.as_bytes()).ok_or_else(|| Error::UnknownEncoding { label: label.clone() })?
            }
            (None, None) => guess(sample),
        };
        let text = encoding.decode(sample).0;
        for (name, sign) in [("delimiter", format.delimiter), ("quote", format.quote), ("escape", format.escape)] {
            if let Some(sign) = sign.filter(|sign| !sign.is_ascii() || matches!(sign, '\0' | '\r' | '\n')) {
                let reason = format!("{name} `{}` is not a single ASCII sign", sign.escape_debug());
                return Err(Error::Corrupt { kind: "CSV", reason });
            }
        }
        let quote = format.quote.unwrap_or_else(|| quote_of(&text));
        let escape = format.escape.unwrap_or_else(|| escape_of(&text, quote));
        let delimiter = format.delimiter.unwrap_or_else(|| char::from(delimiter_of(&text, quote, escape)));
        Ok(Self { encoding, delimiter, quote, escape })
    }

    pub(super) fn signs(self) -> Signs {
        // Both ways to make one let ASCII through only.
        let byte = |sign: char| u8::try_from(sign).unwrap_or(b',');
        Signs { delimiter: byte(self.delimiter), quote: byte(self.quote), escape: byte(self.escape) }
    }
}

/// Without a mark: UTF-16 shows by the zeros of plain text, and UTF-8 by being it.
fn guess(sample: &[u8]) -> &'static Encoding {
    let pairs = sample.len() / 2;
    let zeros = |from: usize| sample.iter().skip(from).step_by(2).filter(|byte| **byte == 0).count();
    let (high, low) = (zeros(0), zeros(1));
    if pairs >= 4 && low * 2 > pairs && high * 20 < pairs {
        return UTF_16LE;
    }
    if pairs >= 4 && high * 2 > pairs && low * 20 < pairs {
        return UTF_16BE;
    }
    match std::str::from_utf8(sample) {
        // A sample may end inside a character.
        Err(error) if error.error_len().is_some() => WINDOWS_1252,
        _ => UTF_8,
    }
}

fn is_edge(byte: Option<u8>) -> bool {
    byte.is_none_or(|byte| DELIMITERS.contains(&byte) || matches!(byte, b'\n' | b'\r'))
}

/// Single quotes only if they stand around whole cells, as no apostrophe does, and
/// double quotes do not.
fn quote_of(text: &str) -> char {
    let bytes = text.as_bytes();
    let around = |quote: u8| {
        let edges = |at: usize| {
            let before = at.checked_sub(1).map(|before| bytes[before]);
            (is_edge(before), is_edge(bytes.get(at + 1).copied()))
        };
        let (opens, closes) = memchr_iter(quote, bytes).fold((0, 0), |(opens, closes), at| match edges(at) {
            (true, false) => (opens + 1, closes),
            (false, true) => (opens, closes + 1),
            _ => (opens, closes),
        });
        if opens == 0 || closes == 0 { 0 } else { usize::min(opens, closes) }
    };
    if around(b'\'') >= 2 && around(b'"') == 0 { '\'' } else { '"' }
}

/// A backslash, if one stands before a quote that does not end its cell.
fn escape_of(text: &str, quote: char) -> char {
    let pattern = format!("\\{quote}");
    let bytes = text.as_bytes();
    let meant = |at: usize| !is_edge(bytes.get(at + 2).copied()) && bytes.get(at + 2) != Some(&(quote as u8));
    if text.match_indices(&pattern).any(|(at, _)| meant(at)) { '\\' } else { quote }
}

/// The separator that parts most records alike; among equals the one that does so
/// from further up, since a header holds no decimal commas; then the one with more cells.
fn delimiter_of(text: &str, quote: char, escape: char) -> u8 {
    let scored = DELIMITERS.iter().enumerate().filter_map(|(rank, delimiter)| {
        let sign = |sign: char| u8::try_from(sign).unwrap_or(b'"');
        let signs = Signs { delimiter: *delimiter, quote: sign(quote), escape: sign(escape) };
        let mut lines = Lines::new(text.as_bytes(), signs);
        let mut widths = Vec::new();
        // The sample may end inside a record, which then counts for nothing.
        while let Ok(Some(line)) = lines.next() {
            if !line.unended || widths.len() < 2 {
                widths.push(line.width);
            }
            if widths.len() == RECORDS {
                break;
            }
        }
        let alike = |width: usize| widths.iter().filter(|other| **other == width).count();
        let width = widths.iter().copied().filter(|width| *width > 1).max_by_key(|width| (alike(*width), *width))?;
        let first = widths.iter().position(|other| *other == width)?;
        let share = (alike(width) * 10).div_ceil(widths.len());
        Some(((share, Reverse(first), width, Reverse(rank)), *delimiter))
    });
    scored.max().map_or(b',', |(_, delimiter)| delimiter)
}
