//! What changed in the columns of a file, against the file before it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization as _;

use super::contract::{Contract, is_plain};
use super::values;

/// How alike two names must be for one to be taken for the other renamed.
const ALIKE: f64 = 0.6;

/// A column of a file's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenColumn {
    /// As the file spells it.
    pub name: String,
    /// The type that its values look like; `None` where nobody looked.
    pub looks_like: Option<String>,
}

/// What changed between two headers. Empty lists mean: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Columns that were not there before, with what their values look like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<SeenColumn>,
    /// Columns that are gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Columns that are gone where another came that resembles them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<Renamed>,
    /// Columns that stand elsewhere. Harmless: columns are found by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub moved: Vec<String>,
}

/// A column that seems to have a new name. Nothing is read by it until the
/// contract says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renamed {
    /// The name it had.
    pub from: String,
    /// The name it seems to have now.
    pub to: String,
    /// The contract's column whose `from` could take the new name, where it has one.
    pub column: Option<String>,
    /// What speaks for it, in words.
    pub because: String,
}

impl Drift {
    /// Compares a header with the one before it; without one, with the contract.
    pub fn between(contract: &Contract, before: Option<&[SeenColumn]>, now: &[SeenColumn]) -> Self {
        let declared: Vec<SeenColumn>;
        let before = match before {
            Some(before) => before,
            None => {
                declared = contract.columns.iter().filter_map(|column| expected(column, now)).collect();
                &declared
            }
        };
        let (old, new) = (folded_names(before), folded_names(now));
        let gone: Vec<usize> = (0..old.len()).filter(|at| !new.contains(&old[*at])).collect();
        let mut came: Vec<usize> = (0..new.len()).filter(|at| !old.contains(&new[*at])).collect();
        let mut drift = Self::default();
        for at in gone {
            // A column that the contract knows by its new name too was renamed on purpose.
            let found = came.iter().copied().filter_map(|new_at| {
                let (alike, because) = resembles(&before[at], at, &now[new_at], new_at)?;
                Some((alike, new_at, because))
            });
            match found.max_by(|left, right| left.0.total_cmp(&right.0)) {
                Some((_, new_at, because)) => {
                    came.retain(|other| *other != new_at);
                    let column = named(contract, &before[at].name).map(|column| column.name.clone());
                    let (from, to) = (before[at].name.clone(), now[new_at].name.clone());
                    drift.renamed.push(Renamed { from, to, column, because });
                }
                None => drift.missing.push(before[at].name.clone()),
            }
        }
        drift.added = came.into_iter().map(|at| now[at].clone()).collect();
        drift.moved = moved(&old, &new).into_iter().map(|at| now[at].name.clone()).collect();
        drift
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The changes for people, a line each.
    pub fn lines(&self, contract: &Contract) -> Vec<String> {
        let mut lines = Vec::new();
        for renamed in &self.renamed {
            let known = named(contract, &renamed.to).is_some();
            let advice = match &renamed.column {
                Some(column) if !known => {
                    format!("; if it is the same, add \"{}\" to `from` of column `{column}`", renamed.to)
                }
                _ => String::new(),
            };
            let (from, to) = (&renamed.from, &renamed.to);
            lines.push(format!("column `{from}` seems to be called `{to}` now ({}){advice}", renamed.because));
        }
        for added in &self.added {
            let looks = added.looks_like.as_ref().map(|kind| format!(", its values look like {kind}"));
            lines.push(format!("new column `{}`{}", added.name, looks.unwrap_or_default()));
        }
        lines.extend(self.missing.iter().map(|name| format!("column `{name}` is gone")));
        if !self.moved.is_empty() {
            let names: Vec<String> = self.moved.iter().map(|name| format!("`{name}`")).collect();
            lines.push(format!("columns that moved, which does no harm: {}", names.join(", ")));
        }
        lines
    }
}

/// A contract's column as a header would have it: by the name that is there, else its first.
fn expected(column: &super::Column, now: &[SeenColumn]) -> Option<SeenColumn> {
    let names = column.names();
    let there = now.iter().find(|seen| names.iter().any(|name| folded(name) == folded(&seen.name)));
    let name = match there {
        Some(seen) => seen.name.clone(),
        None if column.optional => return None,
        None => (*names.first()?).to_owned(),
    };
    Some(SeenColumn { name, looks_like: None })
}

fn named<'c>(contract: &'c Contract, name: &str) -> Option<&'c super::Column> {
    contract.columns.iter().find(|column| column.names().iter().any(|other| folded(other) == folded(name)))
}

/// How much speaks for a column having been renamed, and what.
fn resembles(old: &SeenColumn, old_at: usize, new: &SeenColumn, new_at: usize) -> Option<(f64, String)> {
    let alike = strsim::normalized_levenshtein(&folded(&old.name), &folded(&new.name));
    let contained = |left: &str, right: &str| left.len() >= 3 && right.starts_with(left);
    let (left, right) = (folded(&old.name), folded(&new.name));
    if alike >= ALIKE || contained(&left, &right) || contained(&right, &left) {
        return Some((alike + 1.0, "the names are alike".to_owned()));
    }
    let same_kind = old.looks_like.is_some() && old.looks_like == new.looks_like;
    (old_at == new_at && same_kind).then(|| {
        let kind = new.looks_like.clone().unwrap_or_default();
        (alike, format!("it stands in the same place and holds {kind}"))
    })
}

/// Positions, in the new order, of the fewest columns whose move explains the change.
fn moved(old: &[String], new: &[String]) -> Vec<usize> {
    let common: Vec<(usize, usize)> = new
        .iter()
        .enumerate()
        .filter_map(|(at, name)| Some((at, old.iter().position(|other| other == name)?)))
        .collect();
    // Columns on the longest rising row of old positions stayed in order.
    let mut best: Vec<(usize, Option<usize>)> = Vec::with_capacity(common.len());
    for (at, (_, position)) in common.iter().enumerate() {
        let before = (0..at).filter(|other| common[*other].1 < *position).max_by_key(|other| best[*other].0);
        best.push((before.map_or(1, |before| best[before].0 + 1), before));
    }
    let mut stayed = BTreeSet::new();
    let mut at = (0..common.len()).max_by_key(|at| best[*at].0);
    while let Some(here) = at {
        stayed.insert(common[here].0);
        at = best[here].1;
    }
    common.into_iter().map(|(at, _)| at).filter(|at| !stayed.contains(at)).collect()
}

fn folded_names(columns: &[SeenColumn]) -> Vec<String> {
    columns.iter().map(|column| folded(&column.name)).collect()
}

/// Names are compared as headers are read: without case, with white space folded.
fn folded(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The type that all values look like; `text` where they look like nothing else,
/// `None` where there are none.
pub fn looks_like<'t>(texts: impl Iterator<Item = &'t str>) -> Option<&'static str> {
    let texts: Vec<&str> = texts.map(str::trim).filter(|text| !values::is_null(text)).collect();
    if texts.is_empty() {
        return None;
    }
    let all = |fits: &dyn Fn(&str) -> bool| texts.iter().all(|text| fits(text));
    let digits = |text: &str| text.bytes().any(|byte| byte.is_ascii_digit());
    let day = |text: &str| {
        [None, Some(super::DateOrder::Mdy), Some(super::DateOrder::Dmy)]
            .into_iter()
            .any(|order| values::date(text, order).is_ok())
    };
    Some(if all(&|text| !digits(text) && values::boolean(text).is_ok()) {
        "boolean"
    } else if all(&|text| values::integer(text).is_ok()) {
        "integer"
    } else if all(&|text| values::decimal(text, 38, 6).is_ok()) {
        "decimal"
    } else if all(&|text| !text.contains([' ', 'T']) && day(text)) {
        "date"
    } else if all(&|text| day(text)) {
        "timestamp"
    } else if all(&|text| text.contains(':') && values::time(text).is_ok()) {
        "time"
    } else {
        "text"
    })
}

/// Makes a column's name of a header's: lower case, `_` between words, none of `taken`.
pub fn plain_name(header: &str, position: usize, taken: &BTreeSet<String>) -> String {
    let mut name = String::new();
    for c in header.nfkd().filter(|c| c.is_ascii()) {
        if c.is_ascii_alphanumeric() {
            name.push(c.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('_') {
            name.push('_');
        }
    }
    name.truncate(50);
    let mut name = name.trim_end_matches('_').to_owned();
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name = if name.is_empty() { format!("column_{position}") } else { format!("column_{name}") };
    }
    let mut free = name.clone();
    let mut count = 2;
    while taken.contains(&free) {
        free = format!("{name}_{count}");
        count += 1;
    }
    debug_assert!(is_plain(&free));
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contract() -> Contract {
        toml::from_str(
            r#"columns = [
                { name = "store_id", from = "Store", type = "store_id" },
                { name = "sold_on", from = "Date", type = "date" },
                { name = "net_sales", from = "Net Sales USD", type = "decimal(12,2)" },
                { name = "remark", from = "Remark", type = "text", optional = true },
            ]"#,
        )
        .unwrap()
    }

    fn header(columns: &[(&str, &str)]) -> Vec<SeenColumn> {
        let seen = |(name, kind): &(&str, &str)| SeenColumn {
            name: (*name).to_owned(),
            looks_like: (!kind.is_empty()).then(|| (*kind).to_owned()),
        };
        columns.iter().map(seen).collect()
    }

    #[test]
    fn added_missing_renamed_and_moved_columns_are_told_apart() {
        let before =
            header(&[("Store", "integer"), ("Date", "date"), ("Net Sales USD", "decimal"), ("Manager", "text")]);
        let now =
            header(&[("Date", "date"), ("store ", "integer"), ("Net Sales", "decimal"), ("Delivery Fee", "decimal")]);
        let drift = Drift::between(&contract(), Some(&before), &now);
        insta::assert_snapshot!(drift.lines(&contract()).join("\n"), @r#"
        column `Net Sales USD` seems to be called `Net Sales` now (the names are alike); if it is the same, add "Net Sales" to `from` of column `net_sales`
        new column `Delivery Fee`, its values look like decimal
        column `Manager` is gone
        columns that moved, which does no harm: `Date`
        "#);
    }

    #[test]
    fn a_column_in_the_same_place_with_the_same_kind_of_values_may_be_renamed() {
        let before = header(&[("Store", "integer"), ("Date", "date")]);
        let now = header(&[("Store", "integer"), ("Business Day", "date")]);
        let drift = Drift::between(&contract(), Some(&before), &now);
        assert_eq!(drift.renamed[0].because, "it stands in the same place and holds date");
        let elsewhere = header(&[("Business Day", "date"), ("Store", "integer")]);
        let drift = Drift::between(&contract(), Some(&before), &elsewhere);
        assert_eq!((drift.renamed.len(), drift.added.len(), drift.missing.len()), (0, 1, 1));
    }

    #[test]
    fn the_first_file_is_compared_with_the_contract() {
        let now = header(&[("Date", ""), ("Store", ""), ("Net Sales (USD)", ""), ("Tips", "decimal")]);
        let drift = Drift::between(&contract(), None, &now);
        assert_eq!(drift.renamed[0].to, "Net Sales (USD)");
        assert_eq!(drift.added.len(), 1, "{drift:?}");
        let same = header(&[("Store", ""), ("Date", ""), ("Net Sales USD", "")]);
        assert!(Drift::between(&contract(), None, &same).is_empty());
    }

    #[test]
    fn names_become_plain_and_stay_apart() {
        let taken = BTreeSet::from(["fee".to_owned(), "load_id".to_owned()]);
        for (header, wanted) in [
            ("Delivery Fee (USD)", "delivery_fee_usd"),
            ("Fee", "fee_2"),
            ("Gebühr", "gebuhr"),
            ("2nd Shift", "column_2nd_shift"),
            ("合計", "column_7"),
            ("Load ID", "load_id_2"),
        ] {
            assert_eq!(plain_name(header, 7, &taken), wanted);
        }
    }

    #[test]
    fn values_look_like_the_narrowest_type_they_all_are() {
        let kind = |texts: &[&'static str]| looks_like(texts.iter().copied());
        assert_eq!(kind(&["1", "2", "-"]), Some("integer"));
        assert_eq!(kind(&["1", "2.5"]), Some("decimal"));
        assert_eq!(kind(&["11/28/25", "1/2/25"]), Some("date"));
        assert_eq!(kind(&["2025-11-28 08:00"]), Some("timestamp"));
        assert_eq!(kind(&["8:05", "13:10"]), Some("time"));
        assert_eq!(kind(&["yes", "no"]), Some("boolean"));
        assert_eq!(kind(&["yes", "maybe"]), Some("text"));
        assert_eq!(kind(&["", "N/A"]), None);
    }
}
