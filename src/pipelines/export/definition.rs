//! `[export]` of a pipeline, and `export.sql` beside it.

use std::path::Path;

use serde::Deserialize;

use crate::sources::Lookup;

/// `[export]`: where the rows of `export.sql` go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportTo {
    /// The name under which the table's rows are addressed, e.g. `sk_salesforecasts`.
    pub entity_set: String,
    /// Columns of the alternate key by which a row is found.
    pub key: Vec<String>,
    /// After what it runs by itself. Default: `load`.
    #[serde(default)]
    pub follows: Follows,
    /// What happens to rows that the query does not select any more. Default: `keep`.
    #[serde(default)]
    pub missing: Missing,
    /// Columns that point to rows of other tables.
    #[serde(default)]
    pub lookups: Vec<Lookup>,
}

/// After what an export runs by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Follows {
    /// The pipeline's load.
    #[default]
    Load,
    /// The pipeline's forecasts.
    Forecast,
    /// The pipeline's hours of work.
    Staffing,
}

/// What happens to rows that were exported and are selected no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// They stay.
    #[default]
    Keep,
    /// They are deleted: only those that an export wrote.
    Delete,
}

/// What is wrong with an export, before anything is asked.
pub(in super::super) fn problems(export: &ExportTo, forecasts: bool, staffs: bool) -> Vec<String> {
    let mut problems = Vec::new();
    let is_name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name(&export.entity_set) {
        problems.push("`[export]`: `entity_set` is a word of letters, digits and `_`".to_owned());
    }
    if export.key.is_empty() {
        problems.push("`[export]` needs `key`, the columns of an alternate key of the table".to_owned());
    }
    for name in export.key.iter().filter(|name| !is_name(name)) {
        problems.push(format!("`[export]`: key column `{name}` is no column's name"));
    }
    for (at, name) in export.key.iter().enumerate() {
        if export.key[..at].contains(name) {
            problems.push(format!("`[export]`: key column `{name}` stands there twice"));
        }
    }
    for lookup in &export.lookups {
        let names = [&lookup.column, &lookup.navigation, &lookup.entity_set];
        if !names.into_iter().chain(&lookup.key).all(|name| is_name(name)) {
            problems.push(format!("`[export]`: lookup of `{}` has a name that is none", lookup.column));
        }
        if export.key.contains(&lookup.column) {
            problems.push(format!("`[export]`: key column `{}` cannot be a lookup", lookup.column));
        }
    }
    if export.follows == Follows::Staffing && !staffs {
        problems.push("`[export]` follows hours of work, and there is no `[staffing]`".to_owned());
    }
    if export.follows == Follows::Forecast && !forecasts {
        problems.push("`[export]` follows a forecast, and there is no `[forecast]`".to_owned());
    }
    problems
}

/// Reads `export.sql`, without its last semicolon.
pub(in super::super) fn read_query(folder: &Path) -> Result<String, String> {
    let sql = std::fs::read_to_string(folder.join("export.sql"))
        .map_err(|error| format!("`[export]` needs `export.sql` beside it: {error}"))?;
    let sql = sql.trim_end().trim_end_matches(';').trim_end().to_owned();
    if sql.is_empty() { Err("`export.sql` is empty".to_owned()) } else { Ok(sql) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_of_an_export_are_told_at_once() {
        let export: ExportTo = toml::from_str(
            "entity_set = \"a/b\"\nkey = [\"k\", \"k\", \"a b\"]\nfollows = \"forecast\"\n\
             lookups = [{ column = \"k\", navigation = \"n\", entity_set = \"s\" }]",
        )
        .unwrap();
        insta::assert_snapshot!(problems(&export, false, false).join("\n"), @r"
        `[export]`: `entity_set` is a word of letters, digits and `_`
        `[export]`: key column `a b` is no column's name
        `[export]`: key column `k` stands there twice
        `[export]`: key column `k` cannot be a lookup
        `[export]` follows a forecast, and there is no `[forecast]`
        ");
        let fine: ExportTo = toml::from_str("entity_set = \"ab\"\nkey = [\"k\"]").unwrap();
        assert_eq!(problems(&fine, false, false), Vec::<String>::new());
        assert_eq!((fine.follows, fine.missing), (Follows::Load, Missing::Keep));
    }
}
