//! Which columns of a table are asked for, and what a line makes of their values.
//!
//! A name may end in what is wanted of the column: `sk_status@label` is the
//! label of a choice, or the labels of several with `; ` between; `@label:1031`
//! in another language; `sk_tags@json` the numbers as a JSON list;
//! `_sk_region_value@name` and `@table` the name and the table of the row that
//! a lookup points at.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::dataverse::{Dataverse, TableQuery};
use super::error::Error;
use super::file::hex;
use super::metadata::{Attribute, Definition, Labels};
use super::service::encoded;

const NAME: &str = "OData.Community.Display.V1.FormattedValue";
const TABLE: &str = "Microsoft.Dynamics.CRM.lookuplogicalname";

/// A row as it came: values by name, annotations among them.
pub(super) type Row<'a> = BTreeMap<String, &'a RawValue>;

/// A query whose columns are known.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) entity_set: String,
    pub(super) columns: Vec<Picked>,
    /// The column of the rows' ids; unknown where the definition was not given.
    pub(super) primary_id: Option<String>,
    pub(super) tracks_changes: bool,
    filter: Option<String>,
    order_by: Option<String>,
}

/// One column of the lines.
#[derive(Debug, Clone)]
pub(super) struct Picked {
    /// What lines call it: the first name that was asked for.
    pub(super) name: String,
    /// What rows call it.
    pub(super) property: String,
    /// Its name in the definition, its kind, and the language of its labels.
    logical_name: String,
    kind: String,
    want: Want,
    shape: Shape,
    pub(super) secured: bool,
    pub(super) optional: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Want {
    Value,
    Label(Option<u32>),
    Json,
    Name,
    Table,
}

/// What a line makes of a value.
#[derive(Debug, Clone)]
enum Shape {
    /// As it stands.
    Plain,
    /// Without the `Z`, which does not mean UTC here.
    WallClock,
    Labels(Labels),
    Json,
    /// Another member of the row.
    Annotation(String),
}

/// Splits `name@want`; `None` for a want that nobody knows.
fn split(name: &str) -> Option<(&str, Want)> {
    let Some((column, want)) = name.split_once('@') else { return Some((name, Want::Value)) };
    let want = match want {
        "label" => Want::Label(None),
        "json" => Want::Json,
        "name" => Want::Name,
        "table" => Want::Table,
        other => Want::Label(Some(other.strip_prefix("label:")?.parse().ok()?)),
    };
    Some((column, want))
}

/// Whether a name, with or without a want, could be a column's.
pub(super) fn is_name(name: &str) -> bool {
    let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    split(name).is_some_and(|(column, _)| word(column))
}

/// Finds each column under one of its names; else all problems, in words.
pub(super) fn resolve(query: &TableQuery, definition: &Definition) -> Result<Vec<Picked>, Vec<String>> {
    let mut picked = Vec::new();
    let mut problems = Vec::new();
    for first in &query.select {
        let aliases = query.aliases.get(first).into_iter().flatten();
        let mut found = None;
        let mut first_problem = None;
        for name in [first].into_iter().chain(aliases) {
            match pick(name, definition) {
                Ok(column) => {
                    found = Some(column);
                    break;
                }
                Err(problem) => first_problem = first_problem.or(Some(problem)),
            }
        }
        let optional = query.optional.contains(first);
        match found {
            // Readers of lines take the first name for there, whatever stands in it.
            Some(column) => picked.push(Picked { name: first.clone(), optional, ..column }),
            None if optional => {}
            None => problems.extend(first_problem),
        }
    }
    if picked.is_empty() && problems.is_empty() {
        problems.push("none of its columns is there".to_owned());
    }
    if problems.is_empty() { Ok(picked) } else { Err(problems) }
}

fn pick(name: &str, definition: &Definition) -> Result<Picked, String> {
    let Some((column, want)) = split(name) else { return Err(format!("`{name}` is no column's name")) };
    // A lookup `x` is asked for as `_x_value`.
    let inner = column.strip_prefix('_').and_then(|rest| rest.strip_suffix("_value"));
    let known = |name: &str| definition.attributes.iter().find(|known| known.logical_name == name);
    let Some(attribute) = inner.and_then(known).or_else(|| known(column)) else {
        let near = nearest(&definition.attributes, column);
        let near = near.map(|near| format!("; `{near}` is spelled most alike")).unwrap_or_default();
        return Err(format!("there is no column `{column}`{near}"));
    };
    if !attribute.readable() {
        return Err(format!("column `{column}` cannot be read"));
    }
    let kind = attribute.kind();
    let has_labels = matches!(kind, "Picklist" | "State" | "Status" | "Boolean" | "MultiSelectPicklist");
    let fits = match want {
        Want::Value => true,
        Want::Label(_) => has_labels,
        Want::Json => kind == "MultiSelectPicklist",
        Want::Name | Want::Table => attribute.is_lookup(),
    };
    if !fits {
        return Err(format!("column `{column}` is of type {kind} and has no `{}`", &name[column.len()..]));
    }
    let property = if attribute.is_lookup() { format!("_{}_value", attribute.logical_name) } else { column.to_owned() };
    let shape = match want {
        Want::Value | Want::Label(_) => Shape::Plain,
        Want::Json => Shape::Json,
        Want::Name => Shape::Annotation(format!("{property}@{NAME}")),
        Want::Table => Shape::Annotation(format!("{property}@{TABLE}")),
    };
    let (logical_name, kind) = (attribute.logical_name.clone(), kind.to_owned());
    let secured = attribute.secured();
    Ok(Picked { name: name.to_owned(), property, logical_name, kind, want, shape, secured, optional: false })
}

fn nearest<'a>(attributes: &'a [Attribute], column: &str) -> Option<&'a str> {
    let names = attributes.iter().filter(|attribute| attribute.readable()).map(|attribute| &*attribute.logical_name);
    names
        .map(|name| (strsim::damerau_levenshtein(name, column), name))
        .min()
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, name)| name)
}

impl Dataverse {
    /// Finds out what the columns of a query are.
    ///
    /// # Errors
    /// When the table or a column is missing, or the definition did not come.
    pub(super) async fn reading(&self, query: &TableQuery) -> Result<Reading, Error> {
        query.validate()?;
        let wrong = |message: String| Error::Query { entity_set: query.entity_set.clone(), message };
        let definition = match self.definition(&query.entity_set).await {
            Ok(Some(definition)) => definition,
            Ok(None) => return Err(Error::TableNotFound { entity_set: query.entity_set.clone() }),
            // Some may read rows but no definitions.
            Err(Error::Refused { .. } | Error::TableForbidden { .. })
                if !query.select.iter().any(|c| c.contains('@')) =>
            {
                tracing::warn!(table = query.entity_set, "table definition was not given");
                let columns = query.select.iter().map(|name| Picked::unknown(name)).collect();
                return Ok(Reading::of(query, columns, None));
            }
            Err(error) => return Err(error),
        };
        let mut columns = resolve(query, &definition).map_err(|problems| wrong(problems.join("; ")))?;
        if columns.iter().any(|column| column.kind == "DateTime") {
            let wall = self.wall_clocks(&definition.table).await?;
            for column in columns.iter_mut().filter(|column| wall.contains(&column.logical_name)) {
                column.shape = Shape::WallClock;
            }
        }
        let wanted = |column: &Picked| match column.want {
            Want::Label(language) => Some((column.kind.clone(), language)),
            _ => None,
        };
        let kinds: BTreeSet<(String, Option<u32>)> = columns.iter().filter_map(wanted).collect();
        for (kind, language) in kinds {
            let mut labels = self.labels(&definition.table, &kind, language).await?;
            for column in &mut columns {
                if column.kind == kind && column.want == Want::Label(language) {
                    column.shape = Shape::Labels(labels.remove(&column.logical_name).unwrap_or_default());
                }
            }
        }
        Ok(Reading::of(query, columns, Some(&definition)))
    }
}

impl Picked {
    /// A column of which nothing is known but its name.
    fn unknown(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            property: name.to_owned(),
            logical_name: name.to_owned(),
            kind: String::new(),
            want: Want::Value,
            shape: Shape::Plain,
            secured: false,
            optional: false,
        }
    }
}

impl Reading {
    pub(super) fn of(query: &TableQuery, columns: Vec<Picked>, definition: Option<&Definition>) -> Self {
        Self {
            entity_set: query.entity_set.clone(),
            columns,
            primary_id: definition.map(|definition| definition.table.primary_id_attribute.clone()),
            tracks_changes: definition.is_some_and(|definition| definition.table.tracks_changes()),
            filter: query.filter.clone(),
            order_by: query.order_by.clone(),
        }
    }

    /// Where the rows are asked for. Pages are no snapshot: only an order without
    /// ties keeps rows from being passed over, and gives an unchanged table an
    /// unchanged file.
    pub(super) fn path(&self) -> String {
        let named = |id: &String, order: &str| order.split(',').any(|part| part.split_whitespace().next() == Some(id));
        let order = match (&self.order_by, &self.primary_id) {
            (Some(order), Some(id)) if !named(id, order) => Some(format!("{order},{id}")),
            (Some(order), _) => Some(order.clone()),
            (None, id) => id.clone(),
        };
        let mut path = self.tracked_path();
        for (option, value) in [("$filter", &self.filter), ("$orderby", &order)] {
            if let Some(value) = value {
                path.push_str(&format!("&{option}={}", encoded(value)));
            }
        }
        path
    }

    /// The same where changes are tracked, which goes with neither order nor condition.
    pub(super) fn tracked_path(&self) -> String {
        let mut properties: Vec<&str> = Vec::new();
        for column in &self.columns {
            if !properties.contains(&column.property.as_str()) {
                properties.push(&column.property);
            }
        }
        format!("/api/data/v9.2/{}?$select={}", self.entity_set, properties.join(","))
    }

    /// What to prefer on each page; every page wants the same.
    pub(super) fn preference(&self, page_size: u32, track: bool) -> String {
        let mut preferences = Vec::new();
        if track {
            preferences.push("odata.track-changes".to_owned());
        }
        preferences.push(format!("odata.maxpagesize={page_size}"));
        let wants = |want| self.columns.iter().any(|column| column.want == want);
        let names = [(Want::Name, NAME), (Want::Table, TABLE)];
        let names: Vec<&str> = names.into_iter().filter(|(want, _)| wants(*want)).map(|(_, name)| name).collect();
        if !names.is_empty() {
            preferences.push(format!("odata.include-annotations=\"{}\"", names.join(",")));
        }
        preferences.join(",")
    }

    /// Changes with whatever makes lines of the same rows other lines: columns,
    /// labels, kinds of dates.
    pub(super) fn fingerprint(&self, origin: &str) -> String {
        let mut digest = Sha256::new();
        digest.update(format!("{origin}{}", self.tracked_path()));
        for column in &self.columns {
            digest.update(format!("\n{} {:?}", column.name, column.shape));
        }
        hex(&digest.finalize())[..16].to_owned()
    }

    /// Writes a row as one line, numbers digit by digit as they came. `filled`
    /// learns which columns hold anything.
    pub(super) fn write_line(&self, row: &Row<'_>, lines: &mut Vec<u8>, filled: &mut [bool]) {
        lines.push(b'{');
        for (at, column) in self.columns.iter().enumerate() {
            if at > 0 {
                lines.push(b',');
            }
            lines.extend_from_slice(Value::from(column.name.as_str()).to_string().as_bytes());
            lines.push(b':');
            let member = match &column.shape {
                Shape::Annotation(name) => name,
                _ => &column.property,
            };
            let raw = row.get(member).map_or("null", |value| value.get());
            filled[at] |= raw != "null";
            match shaped(&column.shape, raw) {
                Some(text) => lines.extend_from_slice(text.as_bytes()),
                // Between tokens only; inside a text JSON has no raw line break.
                None => lines.extend(raw.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r'))),
            }
        }
        lines.extend_from_slice(b"}\n");
    }
}

/// Another JSON text for a value, where its shape wants one.
fn shaped(shape: &Shape, raw: &str) -> Option<String> {
    if raw == "null" {
        return None;
    }
    let text = || serde_json::from_str::<String>(raw).unwrap_or_else(|_| raw.to_owned());
    match shape {
        Shape::Plain | Shape::Annotation(_) => None,
        Shape::WallClock => Some(Value::from(text().trim_end_matches('Z')).to_string()),
        Shape::Labels(labels) => {
            let text = text();
            // An option that was taken off the list is still in old rows.
            let label = |value: &str| labels.get(value).cloned().unwrap_or_else(|| value.to_owned());
            let labels: Vec<String> = text.split(',').map(|value| label(value.trim())).collect();
            Some(Value::from(labels.join("; ")).to_string())
        }
        // A text, for a line has one level.
        Shape::Json => Some(Value::from(format!("[{}]", text())).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(shape: &Shape, raw: &str) -> String {
        shaped(shape, raw).unwrap_or_else(|| raw.to_owned())
    }

    #[test]
    fn a_wall_clock_loses_its_letter_and_an_instant_keeps_it() {
        assert_eq!(shown(&Shape::WallClock, "\"2025-11-28T19:00:00Z\""), "\"2025-11-28T19:00:00\"");
        assert_eq!(shown(&Shape::Plain, "\"2025-11-28T19:00:00Z\""), "\"2025-11-28T19:00:00Z\"");
        assert_eq!(shown(&Shape::WallClock, "null"), "null");
    }

    #[test]
    fn a_number_without_a_label_stays_a_number() {
        let labels = Labels::from([("2".to_owned(), "Dine \"in\"".to_owned()), ("3".to_owned(), "Pickup".to_owned())]);
        let shape = Shape::Labels(labels);
        assert_eq!(shown(&shape, "3"), "\"Pickup\"");
        assert_eq!(shown(&shape, "\"2,3,8\""), "\"Dine \\\"in\\\"; Pickup; 8\"");
        assert_eq!(shown(&Shape::Json, "\"2,3,8\""), "\"[2,3,8]\"");
    }

    #[test]
    fn only_known_wants_are_names() {
        for right in ["a", "_a_value", "a@label", "a@label:1031", "a@json", "_a_value@name", "_a_value@table"] {
            assert!(is_name(right), "{right}");
        }
        for wrong in ["", "@label", "a@", "a@lable", "a@label:x", "a&$top=1", "a/b", "a@label@json"] {
            assert!(!is_name(wrong), "{wrong}");
        }
    }
}
