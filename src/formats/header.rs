//! Finds the header and says where each wanted column stands.

use super::Error;

/// How far down a header is looked for.
const SEARCHED_ROWS: usize = 50;

/// The columns that somebody wants from a file.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Name from here on, what the file may call it, whether it may be missing.
    pub columns: Vec<(String, Vec<String>, bool)>,
    /// Whether columns that nobody wants make the file unreadable.
    pub freeze: bool,
    /// Whether rows are wanted as they stand, before anybody knows a header: each
    /// batch then holds a list of cells a row, and nothing is left out.
    pub grid: bool,
}

/// Where each wanted column stands in the file.
#[derive(Debug, Clone)]
pub(super) struct Positions {
    /// Index in the file's row for each wanted column.
    pub(super) at: Vec<Option<usize>>,
    /// The header's own texts there, to recognise it when it is repeated.
    names: Vec<Option<String>>,
    pub(super) ignored: Vec<String>,
}

impl Positions {
    /// Whether a row is the header over again.
    pub(super) fn repeats(&self, cells: &[Option<String>]) -> bool {
        let mut compared = 0;
        for (at, name) in self.at.iter().zip(&self.names) {
            if let (Some(at), Some(name)) = (at, name) {
                if cells.get(*at).and_then(Option::as_deref).map(folded).as_ref() != Some(name) {
                    return false;
                }
                compared += 1;
            }
        }
        compared > 0
    }
}

/// Takes rows from the top until one names all columns that must be there.
#[derive(Debug)]
pub(super) struct Finder<'w> {
    wanted: &'w Wanted,
    row: Option<u32>,
    seen: usize,
    nearest: Option<(usize, Vec<String>, String)>,
}

impl<'w> Finder<'w> {
    pub(super) fn new(wanted: &'w Wanted, row: Option<u32>) -> Self {
        Self { wanted, row, seen: 0, nearest: None }
    }

    /// Offers a row with its number; answers with the positions if it is the header.
    pub(super) fn offer(&mut self, row: u64, cells: &[Option<String>]) -> Result<Option<Positions>, Error> {
        self.seen += 1;
        if self.row.is_some_and(|header| row != u64::from(header)) {
            return if self.row.is_some_and(|header| row > u64::from(header)) { Err(self.missing()) } else { Ok(None) };
        }
        let names: Vec<Option<String>> = cells.iter().map(|cell| cell.as_deref().map(folded)).collect();
        let at: Vec<Option<usize>> = self
            .wanted
            .columns
            .iter()
            .map(|(_, aliases, _)| {
                aliases.iter().find_map(|alias| {
                    let alias = folded(alias);
                    names.iter().position(|name| name.as_ref() == Some(&alias))
                })
            })
            .collect();
        let missing: Vec<String> = self
            .wanted
            .columns
            .iter()
            .zip(&at)
            .filter(|((_, _, optional), at)| at.is_none() && !optional)
            .map(|((_, aliases, _), _)| format!("`{}`", aliases.join("` or `")))
            .collect();
        if missing.is_empty() && at.iter().any(Option::is_some) {
            let ignored: Vec<String> = cells
                .iter()
                .enumerate()
                .filter(|(index, _)| !at.contains(&Some(*index)))
                .filter_map(|(_, cell)| cell.clone())
                .collect();
            if self.wanted.freeze && !ignored.is_empty() {
                return Err(Error::NewColumns { columns: ignored.join(", ") });
            }
            let names = at.iter().map(|at| at.and_then(|at| names[at].clone())).collect();
            return Ok(Some(Positions { at, names, ignored }));
        }
        let found = at.iter().flatten().count();
        if self.nearest.as_ref().is_none_or(|(most, _, _)| found > *most) {
            let shown: Vec<&str> = cells.iter().flatten().map(String::as_str).take(12).collect();
            let shown =
                if found == 0 { String::new() } else { format!("; row {row} comes nearest: {}", shown.join(" | ")) };
            self.nearest = Some((found, missing, shown));
        }
        if self.seen >= SEARCHED_ROWS { Err(self.missing()) } else { Ok(None) }
    }

    /// The answer when the file ends before a header.
    pub(super) fn missing(&self) -> Error {
        match &self.nearest {
            None => Error::Empty,
            Some((_, missing, closest)) => {
                Error::NoHeader { missing: missing.join(", "), searched: self.seen, closest: closest.clone() }
            }
        }
    }
}

/// Names are compared without case, with white space folded.
pub(super) fn folded(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}
