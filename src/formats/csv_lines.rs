//! Splits separated values into records and cells, without copying them.
//!
//! Invariant: each record is handed out whole and once; a file that ends inside
//! quotes is an error, because nobody can tell how many rows the quotes swallowed.

use std::io::Read;

use super::Error;

const BUFFER_BYTES: usize = 256 << 10;
/// No record is so long; what seems to be is a quote that nobody closed.
const RECORD_LIMIT_BYTES: usize = 16 << 20;

/// The signs that part cells and rows; all are ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signs {
    pub(super) delimiter: u8,
    pub(super) quote: u8,
    /// What stands before a quote that is meant; the quote itself when it is doubled.
    pub(super) escape: u8,
}

/// Where a cell stands in its record.
#[derive(Debug, Clone, Copy)]
struct Cell {
    start: usize,
    end: usize,
    quoted: bool,
}

/// One record.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Line of the file on which it begins, from 1.
    pub(super) row: u64,
    bytes: &'a [u8],
    cells: &'a [Cell],
    /// Whether a NUL stood in it; cells show `?` in its place.
    pub(super) nul: bool,
    /// Whether the file ended before the line did.
    pub(super) unended: bool,
}

impl<'a> Line<'a> {
    /// The record as text; none if it is no UTF-8.
    pub(super) fn decode(&self) -> Option<Text<'a>> {
        std::str::from_utf8(self.bytes).ok().map(|text| Text { text, cells: self.cells })
    }

    pub(super) fn width(&self) -> usize {
        self.cells.len()
    }
}

/// The cells of one record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    text: &'a str,
    cells: &'a [Cell],
}

impl<'a> Text<'a> {
    pub(super) fn width(&self) -> usize {
        self.cells.len()
    }

    /// A cell without white space around it; none if it is empty or not there.
    #[inline]
    pub(super) fn cell(&self, at: usize) -> Option<&'a str> {
        let cell = self.cells.get(at)?;
        let text = &self.text[cell.start..cell.end];
        let (Some(first), Some(last)) = (text.as_bytes().first(), text.as_bytes().last()) else {
            return None;
        };
        if first.is_ascii_graphic() && last.is_ascii_graphic() {
            return Some(text);
        }
        let text = text.trim();
        (!text.is_empty()).then_some(text)
    }
}

/// How the search for a record's end went.
enum Scan {
    /// It ends before this position, and the next begins at the other.
    Record(usize, usize),
    /// The buffer ended first: inside quotes, or not.
    Short { in_quotes: bool },
}

/// Reads records, whatever ends their lines: LF, CRLF or CR.
#[derive(Debug)]
pub(super) struct Lines<R> {
    input: R,
    signs: Signs,
    /// Bytes at which a cell or a line may end, or that are none of a text.
    special: [bool; 256],
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    ended: bool,
    /// Line of the file at which `at` stands, from 0.
    line: u64,
    cells: Vec<Cell>,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R, signs: Signs) -> Self {
        let mut special = [false; 256];
        for byte in [signs.delimiter, b'\n', b'\r', 0] {
            special[usize::from(byte)] = true;
        }
        let buffer = vec![0; BUFFER_BYTES];
        Self { input, signs, special, buffer, at: 0, end: 0, ended: false, line: 0, cells: Vec::new() }
    }

    /// The next record; lines without a byte are no records.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, Error> {
        loop {
            let mut breaks = 0;
            let mut nul = false;
            match self.scan(&mut breaks, &mut nul) {
                Scan::Record(end, next) => {
                    let start = self.at;
                    let row = self.line + 1;
                    self.at = next;
                    self.line += breaks + 1;
                    if start == end {
                        continue;
                    }
                    self.tidy(start, end, nul);
                    return Ok(Some(Line {
                        row,
                        bytes: &self.buffer[start..end],
                        cells: &self.cells,
                        nul,
                        unended: end == next,
                    }));
                }
                Scan::Short { in_quotes: true } if self.ended => {
                    let row = self.line + 1;
                    return Err(self.unclosed(row));
                }
                Scan::Short { .. } if self.ended => return Ok(None),
                Scan::Short { .. } => self.fill()?,
            }
        }
    }

    fn unclosed(&self, row: u64) -> Error {
        let quote = char::from(self.signs.quote);
        let reason = format!("row {row} opens a quote `{quote}` that is never closed; the file is cut short there");
        Error::Corrupt { kind: "CSV", reason }
    }

    /// Finds the record at `at`, its cells, the line breaks within its quotes, and NULs.
    #[inline]
    fn scan(&mut self, breaks: &mut u64, nul: &mut bool) -> Scan {
        let Signs { delimiter, quote, escape } = self.signs;
        let bytes = &self.buffer[..self.end];
        let base = self.at;
        self.cells.clear();
        if base == bytes.len() {
            return Scan::Short { in_quotes: false };
        }
        let mut at = base;
        loop {
            let start = at;
            let quoted = bytes.get(at) == Some(&quote);
            if quoted {
                at += 1;
                loop {
                    let Some(&byte) = bytes.get(at) else { return Scan::Short { in_quotes: true } };
                    if byte == escape && escape != quote {
                        at += 2;
                    } else if byte == quote {
                        match bytes.get(at + 1) {
                            Some(next) if *next == quote && escape == quote => at += 2,
                            // Whether it is doubled is not known yet.
                            None if !self.ended => return Scan::Short { in_quotes: true },
                            _ => break,
                        }
                    } else {
                        *breaks += u64::from(byte == b'\n' || (byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')));
                        *nul |= byte == 0;
                        at += 1;
                    }
                }
                at += 1;
            }
            loop {
                while at < bytes.len() && !self.special[usize::from(bytes[at])] {
                    at += 1;
                }
                if bytes.get(at) == Some(&0) {
                    *nul = true;
                    at += 1;
                } else {
                    break;
                }
            }
            let cell = Cell { start: start - base, end: at.min(bytes.len()) - base, quoted };
            match bytes.get(at) {
                Some(byte) if *byte == delimiter => {
                    self.cells.push(cell);
                    at += 1;
                }
                Some(b'\n') => {
                    self.cells.push(cell);
                    return Scan::Record(at, at + 1);
                }
                // Only the next byte tells CR from CRLF.
                Some(_) if at + 1 < bytes.len() || self.ended => {
                    self.cells.push(cell);
                    return Scan::Record(at, if bytes.get(at + 1) == Some(&b'\n') { at + 2 } else { at + 1 });
                }
                None if self.ended => {
                    self.cells.push(cell);
                    return Scan::Record(bytes.len(), bytes.len());
                }
                _ => return Scan::Short { in_quotes: false },
            }
        }
    }

    /// Takes the quotes off, in place. What they leave behind becomes blank, so that
    /// the record as a whole stays text.
    fn tidy(&mut self, start: usize, end: usize, nul: bool) {
        let Signs { quote, escape, .. } = self.signs;
        let bytes = &mut self.buffer[start..end];
        for cell in self.cells.iter_mut().filter(|cell| cell.quoted) {
            let (mut read, mut write, mut inside) = (cell.start + 1, cell.start, true);
            while read < cell.end {
                let byte = bytes[read];
                if inside && byte == escape && escape != quote && read + 1 < cell.end {
                    read += 1;
                } else if inside && byte == quote {
                    if escape == quote && bytes.get(read + 1) == Some(&quote) && read + 1 < cell.end {
                        read += 1;
                    } else {
                        inside = false;
                        read += 1;
                        continue;
                    }
                }
                bytes[write] = bytes[read];
                write += 1;
                read += 1;
            }
            bytes[write..cell.end].fill(b' ');
            cell.end = write;
        }
        if nul {
            bytes.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b'?');
        }
    }

    fn fill(&mut self) -> Result<(), Error> {
        self.buffer.copy_within(self.at..self.end, 0);
        self.end -= self.at;
        self.at = 0;
        if self.end == self.buffer.len() {
            if self.end >= RECORD_LIMIT_BYTES {
                return Err(self.unclosed(self.line + 1));
            }
            self.buffer.resize(self.end * 2, 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(read) => {
                    self.end += read;
                    self.ended = read == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
    }
}
