//! Which of a workbook's sheets are read.

use calamine::{Sheet, SheetType, SheetVisible};

use super::{Error, Format};
use crate::pattern::Pattern;

/// Names the sheets that a format asks for, in the workbook's order.
///
/// A pattern means visible sheets only: people hide what is no data. A name
/// means that very sheet.
pub(super) fn chosen(format: &Format, sheets: &[Sheet]) -> Result<Vec<String>, Error> {
    let all: Vec<&Sheet> = sheets.iter().filter(|sheet| sheet.typ == SheetType::WorkSheet).collect();
    let visible = |sheet: &&Sheet| sheet.visible == SheetVisible::Visible;
    let missing = |wanted: &str| {
        let names: Vec<String> = all.iter().map(|sheet| format!("`{}`", sheet.name)).collect();
        Error::NoSheet { wanted: wanted.to_owned(), found: names.join(", ") }
    };
    if format.sheets.is_empty() {
        let found = match &format.sheet {
            Some(wanted) => all.iter().find(|sheet| sheet.name.eq_ignore_ascii_case(wanted)),
            None => all.iter().find(|sheet| visible(sheet)),
        };
        let sheet = found.ok_or_else(|| missing(format.sheet.as_deref().unwrap_or("(a visible one)")))?;
        return Ok(vec![sheet.name.clone()]);
    }
    let (without, with): (Vec<&str>, Vec<&str>) =
        format.sheets.iter().map(String::as_str).partition(|pattern| pattern.starts_with('!'));
    let fits = |pattern: &str, sheet: &Sheet| {
        if pattern.contains(['*', '?']) {
            sheet.visible == SheetVisible::Visible && Pattern::new(pattern).matches(&sheet.name)
        } else {
            sheet.name.eq_ignore_ascii_case(pattern)
        }
    };
    for pattern in &with {
        if !all.iter().any(|sheet| fits(pattern, sheet)) {
            return Err(missing(pattern));
        }
    }
    let excluded = |sheet: &Sheet| without.iter().any(|pattern| Pattern::new(&pattern[1..]).matches(&sheet.name));
    let chosen: Vec<String> = all
        .iter()
        .filter(|sheet| with.iter().any(|pattern| fits(pattern, sheet)) && !excluded(sheet))
        .map(|sheet| sheet.name.clone())
        .collect();
    if chosen.is_empty() { Err(missing(&format.sheets.join("`, `"))) } else { Ok(chosen) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(patterns: &[&str]) -> String {
        let sheet = |name: &str, visible| Sheet { name: name.to_owned(), typ: SheetType::WorkSheet, visible };
        let sheets = [
            sheet("Lists", SheetVisible::Hidden),
            sheet("North 1", SheetVisible::Visible),
            sheet("North 22", SheetVisible::Visible),
            sheet("About", SheetVisible::Visible),
        ];
        let mut format = Format::new(crate::formats::Kind::Xlsx);
        format.sheets = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        chosen(&format, &sheets).map_or_else(|error| error.to_string(), |names| names.join(", "))
    }

    #[test]
    fn a_pattern_means_visible_sheets_and_a_name_means_that_sheet() {
        assert_eq!(named(&["*"]), "North 1, North 22, About");
        assert_eq!(named(&["*", "!about"]), "North 1, North 22");
        assert_eq!(named(&["north ?"]), "North 1");
        assert_eq!(named(&["*2", "lists"]), "Lists, North 22");
        assert_eq!(named(&[]), "North 1");
    }

    #[test]
    fn a_name_that_no_sheet_has_is_refused_with_those_there_are() {
        assert_eq!(
            named(&["North 1", "South"]),
            "the workbook has no sheet `South`; it has `Lists`, `North 1`, `North 22`, `About`"
        );
        assert!(named(&["About", "!*"]).starts_with("the workbook has no sheet"));
    }
}
