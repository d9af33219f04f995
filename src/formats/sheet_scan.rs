//! Finds in a sheet's XML what the cell reader does not tell: hidden rows,
//! merged cells, and whether there are formulas.
//!
//! It looks at tags only and keeps nothing else, at the speed of the search for
//! the next `<`: every workbook passes it while its real size is counted.

use memchr::{memchr, memchr_iter};

/// A tag longer than this is none that is looked for.
const TAG_BYTES: usize = 4096;

/// Cells that are merged, rows and columns from 0, ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) rows: (u32, u32),
    pub(super) columns: (u32, u32),
}

/// What a sheet's XML says besides its cells.
#[derive(Debug, Clone, Default)]
pub(super) struct SheetScan {
    /// Rows that are hidden, from 0, ascending as far as the file is.
    pub(super) hidden: Vec<u32>,
    pub(super) merged: Vec<Area>,
    pub(super) formulas: bool,
    rows: u32,
    /// A tag that the last piece of text ended within.
    open: Option<Vec<u8>>,
}

impl SheetScan {
    /// Takes the next piece of the XML.
    pub(super) fn feed(&mut self, mut piece: &[u8]) {
        if let Some(mut open) = self.open.take() {
            let end = memchr(b'>', piece);
            open.extend_from_slice(&piece[..end.unwrap_or(piece.len()).min(TAG_BYTES)]);
            match end {
                Some(end) => {
                    self.tag(&open);
                    piece = &piece[end + 1..];
                }
                None => {
                    open.truncate(TAG_BYTES);
                    self.open = Some(open);
                    return;
                }
            }
        }
        for start in memchr_iter(b'<', piece) {
            let rest = &piece[start + 1..];
            // Most tags are cells and their values.
            if matches!(rest, [b'c' | b'v', b' ' | b'>', ..] | [b'/', ..]) {
                continue;
            }
            match memchr(b'>', &rest[..rest.len().min(TAG_BYTES)]) {
                Some(end) => self.tag(&rest[..end]),
                None if rest.len() < TAG_BYTES => self.open = Some(rest.to_vec()),
                None => {}
            }
        }
    }

    fn tag(&mut self, tag: &[u8]) {
        let end = tag.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b'/').unwrap_or(tag.len());
        let name = tag[..end].rsplit(|byte| *byte == b':').next().unwrap_or_default();
        match name {
            b"f" => self.formulas = true,
            b"row" => {
                let number = attribute(tag, "r").and_then(|text| text.parse::<u32>().ok());
                self.rows = number.unwrap_or(self.rows.saturating_add(1));
                if matches!(attribute(tag, "hidden"), Some("1" | "true")) {
                    self.hidden.push(self.rows.saturating_sub(1));
                }
            }
            b"mergeCell" => self.merged.extend(attribute(tag, "ref").and_then(area)),
            _ => {}
        }
    }
}

/// An attribute's text as it stands in a tag.
pub(super) fn attribute<'t>(tag: &'t [u8], name: &str) -> Option<&'t str> {
    let text = std::str::from_utf8(tag).ok()?;
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let before = rest[..at].chars().next_back();
        let after = rest[at + name.len()..].trim_start();
        rest = &rest[at + name.len()..];
        let Some(value) = after.strip_prefix('=').map(str::trim_start) else { continue };
        if !before.is_some_and(char::is_whitespace) {
            continue;
        }
        let quote = value.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        return value[1..].split(quote).next();
    }
    None
}

/// An area such as `A3:F200`, `$A$3:$F$200`, `A:F` or `B2`.
pub(super) fn area(text: &str) -> Option<Area> {
    let (from, to) = text.split_once(':').unwrap_or((text, text));
    let ((left, top), (right, bottom)) = (corner(from)?, corner(to)?);
    let rows = match (top, bottom) {
        (Some(top), Some(bottom)) => (top, bottom),
        (None, None) if text.contains(':') => (0, u32::MAX),
        _ => return None,
    };
    (rows.0 <= rows.1 && left <= right).then_some(Area { rows, columns: (left, right) })
}

/// A corner's column, and its row where it has one, from 0.
fn corner(text: &str) -> Option<(u32, Option<u32>)> {
    let text = text.trim().strip_prefix('$').unwrap_or(text.trim());
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (letters, rest) = text.split_at(end);
    if letters.is_empty() || letters.len() > 3 {
        return None;
    }
    let column = letters.bytes().fold(0, |sum, byte| sum * 26 + u32::from(byte.to_ascii_uppercase() - b'A') + 1) - 1;
    let digits = rest.strip_prefix('$').unwrap_or(rest);
    if digits.is_empty() {
        return Some((column, None));
    }
    let row: u32 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()?;
    Some((column, Some(row.checked_sub(1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = "<x:sheetData><x:row r=\"1\"><c r='A1'><v>1</v></c></x:row>\
        <row r=\"7\" ht=\"12\" hidden=\"1\"/><row hidden='true' spans=\"1:2\"><c><f t=\"shared\"/></c></row>\
        <row r=\"9\" hidden=\"0\"></row></x:sheetData><mergeCells><mergeCell ref=\"A2:B3\"/></mergeCells>";

    #[test]
    fn hidden_rows_merged_cells_and_formulas_are_found_wherever_the_text_is_cut() {
        for cut in 0..XML.len() {
            let mut scan = SheetScan::default();
            scan.feed(&XML.as_bytes()[..cut]);
            scan.feed(&XML.as_bytes()[cut..]);
            assert_eq!(scan.hidden, [6, 7], "cut at {cut}");
            assert_eq!(scan.merged, [Area { rows: (1, 2), columns: (0, 1) }], "cut at {cut}");
            assert!(scan.formulas, "cut at {cut}");
        }
    }

    #[test]
    fn a_tag_that_never_ends_is_not_kept() {
        let mut scan = SheetScan::default();
        scan.feed(b"<row ");
        for _ in 0..1000 {
            scan.feed(&[b'x'; 1024]);
        }
        assert!(scan.open.is_none_or(|open| open.len() <= TAG_BYTES));
    }

    #[test]
    fn areas_are_read_as_spreadsheets_write_them() {
        assert_eq!(area("A3:F200"), Some(Area { rows: (2, 199), columns: (0, 5) }));
        assert_eq!(area("$AA$1:$AB$2"), Some(Area { rows: (0, 1), columns: (26, 27) }));
        assert_eq!(area("a:c"), Some(Area { rows: (0, u32::MAX), columns: (0, 2) }));
        for text in ["", "A", "3:5", "A0:B1", "F3:A1", "A5:B2", "ABCD1", "A1B2", "sales"] {
            assert_eq!(area(text), None, "{text}");
        }
    }
}
