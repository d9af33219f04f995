//! Finds the header and says where each wanted column stands.
//!
//! A header may take two rows: `Net` below a wide `Sales` is called `Sales / Net`.

use super::Error;
use super::row::Row;

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
    /// The header's own rows at those places, to recognise them when they are repeated.
    names: Vec<Vec<Option<String>>>,
    pub(super) ignored: Vec<String>,
    /// All names, as people see them.
    pub(super) header: Vec<String>,
}

impl Positions {
    /// Whether a row is the header, or a row of it, over again. A name may be
    /// missing where cells were merged.
    pub(super) fn repeats(&self, row: Row<'_>) -> bool {
        self.names.iter().any(|names| {
            let (mut equal, mut named) = (0, 0);
            for (at, name) in self.at.iter().zip(names) {
                let cell = at.and_then(|at| row.cell(at));
                named += usize::from(name.is_some());
                match (cell, name) {
                    (None, _) => {}
                    (Some(cell), Some(name)) if is_called(cell, name) => equal += 1,
                    (Some(_), _) => return false,
                }
            }
            equal > 0 && (equal == named || (equal >= 2 && self.names.len() > 1))
        })
    }
}

/// Takes rows from the top until one names all columns that must be there.
#[derive(Debug)]
pub(super) struct Finder<'w> {
    wanted: &'w Wanted,
    row: Option<u32>,
    seen: usize,
    nearest: Option<(usize, Vec<String>, String)>,
    /// The row above, which may be the upper half of a header.
    above: Option<(u64, Vec<Option<String>>)>,
}

impl<'w> Finder<'w> {
    pub(super) fn new(wanted: &'w Wanted, row: Option<u32>) -> Self {
        Self { wanted, row, seen: 0, nearest: None, above: None }
    }

    /// Offers a row with its number; answers with the positions if it is the header.
    pub(super) fn offer(&mut self, row: u64, cells: &[Option<String>]) -> Result<Option<Positions>, Error> {
        self.seen += 1;
        if self.row.is_some_and(|header| row != u64::from(header)) {
            let below = self.row.is_some_and(|header| row > u64::from(header));
            // The row that was named may be the upper half.
            let half = self
                .above
                .as_ref()
                .is_some_and(|(above, _)| Some(*above) == self.row.map(u64::from) && above + 1 == row);
            if !below || !half {
                return if below { Err(self.missing()) } else { Ok(None) };
            }
        }
        let mut names: Vec<Option<String>> = cells.iter().map(|cell| cell.as_deref().map(folded)).collect();
        let mut shown = cells.to_vec();
        let mut at = self.places(&names);
        let mut rows = vec![names.clone()];
        if self.lacks(&at)
            && let Some((above, upper)) = &self.above
            && above + 1 == row
        {
            let joined = joined(upper, cells);
            let joined_names: Vec<Option<String>> = joined.iter().map(|name| name.as_deref().map(folded)).collect();
            let joined_at = self.places(&joined_names);
            if !self.lacks(&joined_at) {
                rows = vec![upper.iter().map(|cell| cell.as_deref().map(folded)).collect(), names];
                (at, names, shown) = (joined_at, joined_names, joined);
            }
        }
        self.above = Some((row, cells.to_vec()));
        let missing: Vec<String> = self
            .wanted
            .columns
            .iter()
            .zip(&at)
            .filter(|((_, _, optional), at)| at.is_none() && !optional)
            .map(|((_, aliases, _), _)| format!("`{}`", aliases.join("` or `")))
            .collect();
        if missing.is_empty() && at.iter().any(Option::is_some) {
            let ignored: Vec<String> = shown
                .iter()
                .enumerate()
                .filter(|(index, _)| !at.contains(&Some(*index)))
                .filter_map(|(_, cell)| cell.clone())
                .collect();
            if self.wanted.freeze && !ignored.is_empty() {
                return Err(Error::NewColumns { columns: ignored.join(", ") });
            }
            debug_assert!(at.iter().flatten().all(|at| names[*at].is_some()));
            let names =
                rows.iter().map(|row| at.iter().map(|at| at.and_then(|at| row.get(at)?.clone())).collect()).collect();
            let header = shown.into_iter().flatten().collect();
            return Ok(Some(Positions { at, names, ignored, header }));
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

    /// Where each wanted column stands among names.
    fn places(&self, names: &[Option<String>]) -> Vec<Option<usize>> {
        let place = |alias: &String| {
            let alias = folded(alias);
            names.iter().position(|name| name.as_ref() == Some(&alias))
        };
        self.wanted.columns.iter().map(|(_, aliases, _)| aliases.iter().find_map(place)).collect()
    }

    /// Whether a column that must be there is not.
    fn lacks(&self, at: &[Option<usize>]) -> bool {
        self.wanted.columns.iter().zip(at).any(|((_, _, optional), at)| at.is_none() && !optional)
    }

    /// The answer when the file ends before a header.
    pub(super) fn missing(&self) -> Error {
        match (&self.nearest, self.row) {
            (None, _) if self.seen == 0 => Error::Empty,
            (nearest, Some(row)) => {
                let missing = nearest.as_ref().map(|(_, missing, _)| missing.join(", "));
                Error::HeaderElsewhere { row, missing: missing.unwrap_or_else(|| "any column".to_owned()) }
            }
            (None, None) => Error::Empty,
            (Some((_, missing, closest)), None) => {
                Error::NoHeader { missing: missing.join(", "), searched: self.seen, closest: closest.clone() }
            }
        }
    }
}

/// The names of a header of two rows: the upper name counts for the columns to
/// its right that have none of their own, and stands before the lower one.
pub(super) fn joined(upper: &[Option<String>], lower: &[Option<String>]) -> Vec<Option<String>> {
    let mut wide: Option<&str> = None;
    (0..upper.len().max(lower.len()))
        .map(|at| {
            let own = upper.get(at).and_then(Option::as_deref);
            let below = lower.get(at).and_then(Option::as_deref);
            wide = own.or(wide);
            match (own.or(wide.filter(|_| below.is_some())), below) {
                (Some(upper), Some(lower)) if folded(upper) != folded(lower) => Some(format!("{upper} / {lower}")),
                (Some(name), _) | (None, Some(name)) => Some(name.to_owned()),
                (None, None) => None,
            }
        })
        .collect()
}

/// Whether a cell is a name as [`folded`] writes it, told without copying.
fn is_called(cell: &str, name: &str) -> bool {
    if let (Some(cell), Some(name)) = (cell.bytes().next(), name.bytes().next())
        && cell.is_ascii_alphanumeric()
        && name.is_ascii()
        && cell.to_ascii_lowercase() != name
    {
        return false;
    }
    let first = |text: &str| text.chars().next().and_then(|c| c.to_lowercase().next());
    first(cell.trim_start()) == first(name) && folded(cell) == name
}

/// Names are compared without case, with white space folded.
pub(super) fn folded(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::super::row::RowBuilder;
    use super::*;

    fn row(line: &str) -> Vec<Option<String>> {
        line.split('|').map(|cell| (!cell.is_empty()).then(|| cell.to_owned())).collect()
    }

    fn repeats(positions: &Positions, line: &str) -> bool {
        let mut row = RowBuilder::default();
        line.split('|').enumerate().for_each(|(at, cell)| row.put(at, cell));
        positions.repeats(row.row())
    }

    fn wanted(names: &[&str]) -> Wanted {
        let columns = names.iter().map(|name| ((*name).to_owned(), vec![(*name).to_owned()], false)).collect();
        Wanted { columns, ..Wanted::default() }
    }

    #[test]
    fn an_upper_name_counts_for_the_columns_to_its_right() {
        assert_eq!(
            joined(&row("Store|Sales||Labor|"), &row("|Net|Orders|Net|Hours")),
            row("Store|Sales / Net|Sales / Orders|Labor / Net|Labor / Hours")
        );
        assert_eq!(joined(&row("Store|Sales|"), &row("Store|Net|")), row("Store|Sales / Net|"));
    }

    #[test]
    fn a_header_of_two_rows_is_found_and_each_row_of_it_is_known_again() {
        let wanted = wanted(&["store", "sales / net", "labor / net"]);
        let mut finder = Finder::new(&wanted, None);
        assert!(finder.offer(1, &row("My View")).unwrap().is_none());
        assert!(finder.offer(2, &row("Store|Sales||Labor|")).unwrap().is_none());
        let positions = finder.offer(3, &row("|Net|Orders|Net|Hours")).unwrap().unwrap();
        assert_eq!(positions.at, [Some(0), Some(1), Some(3)]);
        assert_eq!(positions.ignored, ["Sales / Orders", "Labor / Hours"]);
        assert!(repeats(&positions, "Store|Sales||Labor|"));
        assert!(repeats(&positions, "|Net|Orders|Net|Hours"));
        assert!(!repeats(&positions, "Store|12||Labor|"));
        assert!(!repeats(&positions, "|Net||12|"));
    }

    #[test]
    fn rows_that_do_not_touch_are_no_header_of_two_rows() {
        let wanted = wanted(&["store", "sales / net"]);
        let mut finder = Finder::new(&wanted, None);
        assert!(finder.offer(2, &row("Store|Sales")).unwrap().is_none());
        assert!(finder.offer(4, &row("|Net")).unwrap().is_none());
        assert!(finder.missing().to_string().contains("`sales / net`"));
    }

    #[test]
    fn a_header_row_that_was_named_may_be_the_upper_half() {
        let wanted = wanted(&["store", "sales / net"]);
        let mut finder = Finder::new(&wanted, Some(1));
        assert!(finder.offer(1, &row("Store|Sales")).unwrap().is_none());
        assert!(finder.offer(2, &row("|Net")).unwrap().is_some());
        let mut finder = Finder::new(&wanted, Some(1));
        assert!(finder.offer(1, &row("Title")).unwrap().is_none());
        assert!(finder.offer(2, &row("|Net")).unwrap().is_none());
        assert!(finder.offer(3, &row("Store|Sales")).is_err());
    }
}
