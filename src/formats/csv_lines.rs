//! Splits separated values into records and cells, without copying them.
//!
//! Invariant: each record is handed out whole and once; a file that ends inside
//! quotes is an error, because nobody can tell how many rows the quotes swallowed.
//!
//! Why not the `csv` crate, which reads whatever it is given: a file cut short inside
//! quotes ends there without a word, so that the rows lost show nowhere; a NUL is a
//! character like others, until PostgreSQL refuses it; it counts lines by LF, so that
//! a file that ends them with a lone CR has one; and it can't tell the last record
//! of a file that ends in the middle of it. To find all that out behind it is a second
//! pass over the bytes. `make bench` compares the two: this one is faster by half.

use std::io::Read;

use memchr::{memchr, memchr2, memchr2_iter};

use super::Error;
use super::row::{Cell, Row};

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

/// One record.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// Line of the file on which it begins, from 1.
    pub(super) row: u64,
    /// Its cells without white space around them; none if it is no UTF-8.
    pub(super) cells: Option<Row<'a>>,
    /// How many cells it has.
    pub(super) width: usize,
    /// Whether a NUL stood in it; cells show `?` in its place.
    pub(super) nul: bool,
    /// Whether the file ended before the line did.
    pub(super) unended: bool,
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
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    ended: bool,
    /// Whether a NUL was read; hardly any file has one, and then no record is searched for it.
    nuls: bool,
    /// Line of the file at which `at` stands, from 0.
    line: u64,
    cells: Vec<Cell>,
    /// Which of them are quoted.
    quoted: Vec<usize>,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R, signs: Signs) -> Self {
        Self {
            input,
            signs,
            buffer: vec![0; BUFFER_BYTES],
            at: 0,
            end: 0,
            ended: false,
            nuls: false,
            line: 0,
            cells: Vec::new(),
            quoted: Vec::new(),
        }
    }

    /// The next record; lines without a byte are no records.
    pub(super) fn next(&mut self) -> Result<Option<Line<'_>>, Error> {
        loop {
            match self.scan() {
                Scan::Record(end, next) if self.at == end => {
                    self.at = next;
                    self.line += 1;
                }
                Scan::Record(end, next) => return Ok(Some(self.take(end, next))),
                Scan::Short { in_quotes: true } if self.ended => {
                    let row = self.line + 1;
                    return Err(self.unclosed(row));
                }
                Scan::Short { .. } if self.ended => return Ok(None),
                Scan::Short { .. } => self.fill()?,
            }
        }
    }

    /// Takes the record that ends before `end`, its quotes and outer white space off.
    fn take(&mut self, end: usize, next: usize) -> Line<'_> {
        let (start, row) = (self.at, self.line + 1);
        self.at = next;
        self.line += 1;
        let record = &mut self.buffer[start..end];
        if !self.quoted.is_empty() {
            self.line += breaks(record);
            for at in &self.quoted {
                unquote(record, &mut self.cells[*at], self.signs);
            }
        }
        let nul = self.nuls && memchr(0, record).is_some();
        if nul {
            record.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b'?');
        }
        let text = std::str::from_utf8(record).ok();
        if let Some(text) = text {
            self.cells.iter_mut().for_each(|cell| trim(text, cell));
        }
        let cells = &self.cells;
        Line { row, cells: text.map(|text| Row { text, cells }), width: cells.len(), nul, unended: end == next }
    }

    /// Finds the record at `at` and its cells.
    fn scan(&mut self) -> Scan {
        let Signs { delimiter, quote, .. } = self.signs;
        let bytes = &self.buffer[..self.end];
        let base = self.at;
        self.cells.clear();
        self.quoted.clear();
        if base == bytes.len() {
            return Scan::Short { in_quotes: false };
        }
        let mut start = base;
        let mut ends = Ends::new(bytes, delimiter, base);
        loop {
            if bytes.get(start) == Some(&quote) {
                self.quoted.push(self.cells.len());
                match closing(bytes, start + 1, self.signs, self.ended) {
                    Some(closing) => ends = Ends::new(bytes, delimiter, closing + 1),
                    None => return Scan::Short { in_quotes: true },
                }
            }
            let end = ends.next();
            let cell = Cell { start: start - base, end: end - base };
            match bytes.get(end) {
                Some(byte) if *byte == delimiter => {
                    self.cells.push(cell);
                    start = end + 1;
                }
                Some(b'\n') => {
                    self.cells.push(cell);
                    return Scan::Record(end, end + 1);
                }
                // Only the next byte tells CR from CRLF.
                Some(_) if end + 1 < bytes.len() || self.ended => {
                    self.cells.push(cell);
                    return Scan::Record(end, if bytes.get(end + 1) == Some(&b'\n') { end + 2 } else { end + 1 });
                }
                None if self.ended => {
                    self.cells.push(cell);
                    return Scan::Record(bytes.len(), bytes.len());
                }
                _ => return Scan::Short { in_quotes: false },
            }
        }
    }

    fn unclosed(&self, row: u64) -> Error {
        let quote = char::from(self.signs.quote);
        let reason = format!("row {row} opens a quote `{quote}` that is never closed; the file is cut short there");
        Error::Corrupt { kind: "CSV", reason }
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
                    self.nuls |= memchr(0, &self.buffer[self.end..self.end + read]).is_some();
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

/// Where cells and lines end, found a word at a time: cells are so short that to search
/// for the end of each anew would cost more than the search.
struct Ends<'b> {
    bytes: &'b [u8],
    delimiters: u64,
    /// Where the word stands, and the high bit of each byte of it that is an end to come.
    word: usize,
    ends: u64,
}

impl<'b> Ends<'b> {
    const WORD: usize = 8;

    fn new(bytes: &'b [u8], delimiter: u8, from: usize) -> Self {
        let mut ends = Self { bytes, delimiters: u64::from_ne_bytes([delimiter; Self::WORD]), word: from, ends: 0 };
        ends.look();
        ends
    }

    /// Finds the ends in the word.
    #[inline]
    fn look(&mut self) {
        const LOW_BITS: u64 = u64::from_ne_bytes([0x7f; Ends::WORD]);
        let rest = self.bytes.get(self.word..).unwrap_or_default();
        let word = u64::from_le_bytes(rest.first_chunk().copied().unwrap_or_else(|| {
            let mut last = [0; Self::WORD];
            last[..rest.len()].copy_from_slice(rest);
            last
        }));
        // The high bit of each byte of it that differs.
        let differs = |sign: u64| ((word ^ sign) & LOW_BITS).wrapping_add(LOW_BITS) | (word ^ sign);
        let lines = differs(u64::from_ne_bytes([b'\n'; Self::WORD])) & differs(u64::from_ne_bytes([b'\r'; Self::WORD]));
        self.ends = !(differs(self.delimiters) & lines | LOW_BITS);
    }

    /// The next end, or where the bytes end.
    #[inline]
    fn next(&mut self) -> usize {
        while self.ends == 0 {
            self.word += Self::WORD;
            if self.word >= self.bytes.len() {
                return self.bytes.len();
            }
            self.look();
        }
        let at = self.word + self.ends.trailing_zeros() as usize / 8;
        self.ends &= self.ends - 1;
        at
    }
}

/// Where the quotes close that were opened before `from`; none if the bytes end first.
fn closing(bytes: &[u8], from: usize, signs: Signs, ended: bool) -> Option<usize> {
    let Signs { quote, escape, .. } = signs;
    let mut at = from;
    loop {
        at += memchr2(quote, escape, bytes.get(at..)?)?;
        if bytes[at] == escape && escape != quote {
            at += 2;
            continue;
        }
        match bytes.get(at + 1) {
            Some(next) if *next == quote && escape == quote => at += 2,
            // Whether it is doubled is not known yet.
            None if !ended => return None,
            _ => return Some(at),
        }
    }
}

/// Line breaks within a record, which only quotes can hold.
fn breaks(record: &[u8]) -> u64 {
    let breaks = memchr2_iter(b'\n', b'\r', record);
    breaks.filter(|at| record[*at] == b'\n' || record.get(at + 1) != Some(&b'\n')).count() as u64
}

/// Takes the quotes off, in place. What they leave behind becomes blank, so that
/// the record as a whole stays text.
fn unquote(record: &mut [u8], cell: &mut Cell, signs: Signs) {
    let Signs { quote, escape, .. } = signs;
    let (mut read, mut write, mut inside) = (cell.start + 1, cell.start, true);
    while read < cell.end {
        let byte = record[read];
        if inside && byte == escape && escape != quote && read + 1 < cell.end {
            read += 1;
        } else if inside && byte == quote {
            if escape == quote && record.get(read + 1) == Some(&quote) && read + 1 < cell.end {
                read += 1;
            } else {
                inside = false;
                read += 1;
                continue;
            }
        }
        record[write] = record[read];
        write += 1;
        read += 1;
    }
    record[write..cell.end].fill(b' ');
    cell.end = write;
}

/// Takes white space off both ends of a cell.
#[inline]
fn trim(record: &str, cell: &mut Cell) {
    let bytes = &record.as_bytes()[cell.start..cell.end];
    if let (Some(first), Some(last)) = (bytes.first(), bytes.last())
        && !(first.is_ascii_graphic() && last.is_ascii_graphic())
    {
        let text = &record[cell.start..cell.end];
        cell.start += text.len() - text.trim_start().len();
        cell.end = cell.start + text.trim().len();
    }
}
