//! A row as it is answered: its values beside their cells, and what it was before.

use std::collections::BTreeMap;

use serde_json::Map;

use super::answer::{Cell, Earlier, RowAnswer, Standing, Value};
use super::cells::Cells;
use super::personal::Shown;
use super::rows::{Row, changes};
use crate::ids::BrandId;
use crate::pipelines::Pipeline;
use crate::pipelines::made::is_made;
use crate::transforms::Feed;
use crate::warehouse::lineage::Relation;
use crate::warehouse::origins::{FileFacts, LoadFacts};

/// Rows of one table, on their way to an answer.
pub(super) struct Draft {
    pub(super) brand: BrandId,
    pub(super) relation: Relation,
    pub(super) key: Vec<String>,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
    pub(super) more: bool,
}

/// A definition as a brand has it, with what feeds its columns.
pub(super) struct Known {
    pub(super) pipeline: Pipeline,
    pub(super) feeds: Result<Vec<Feed>, String>,
}

/// A row with everything but its past.
pub(super) fn one(
    draft: &Draft,
    row: &Row,
    shown: &Shown,
    known: Option<&Known>,
    loads: &BTreeMap<i64, LoadFacts>,
    file: Option<&FileFacts>,
    cells: Option<&Cells>,
) -> RowAnswer {
    let version = &row.meant;
    let load = |id: i64| loads.get(&id).cloned();
    let there = row.standing != Standing::NotYet;
    let pipeline = known.map(|known| &known.pipeline);
    let no_cells = match (cells, version.source_row) {
        _ if !there || is_made(&draft.relation.name) => None,
        (_, None) => Some("the transform keeps no row numbers (`_row`): only the file is known".to_owned()),
        (Some(Cells::Not(why)), _) => Some(why.clone()),
        (Some(Cells::Read(read)), Some(row)) if !read.has(row) => {
            Some("the definition as it is now no longer takes that row of the file for one".to_owned())
        }
        (Some(Cells::Read(_)), _) => None,
        (None, _) => Some("the ledger no longer has the file".to_owned()),
    };
    let read = match cells {
        Some(Cells::Read(read)) if no_cells.is_none() => Some(read),
        _ => None,
    };
    let cell = |column: &String| {
        let declared = pipeline
            .and_then(|pipeline| pipeline.definition.contract.columns.iter().find(|declared| declared.name == *column));
        let withheld = !shown.is_everything() && declared.is_none_or(|declared| declared.personal);
        let text = read.zip(version.source_row).and_then(|(read, row)| read.text(row, column));
        let first = declared.and_then(|declared| declared.names().first().map(|name| (*name).to_owned()));
        Cell {
            source_column: match read {
                Some(read) => read.source_column(column),
                None => first,
            },
            column: column.clone(),
            text: text.filter(|_| !withheld),
            read: read.is_some(),
            withheld,
        }
    };
    let value = |(name, _): &(String, String)| {
        let open = shown.has(name);
        let (inputs, expression) = inputs_of(known, name);
        let text = version.values.get(name).and_then(|value| value.as_str().map(str::to_owned));
        Value {
            column: name.clone(),
            value: text.filter(|_| open && there),
            withheld: !open,
            cells: inputs.map(|inputs| inputs.iter().map(cell).collect()),
            expression,
        }
    };
    let wanted = |(name, _): &&(String, String)| draft.columns.is_empty() || draft.columns.contains(name);
    let key: Map<String, serde_json::Value> = draft
        .key
        .iter()
        .filter(|name| shown.has(name))
        .filter_map(|name| Some((name.clone(), version.values.get(name)?.clone())))
        .collect();
    RowAnswer {
        key,
        standing: row.standing,
        values: if there { draft.relation.columns.iter().filter(wanted).map(value).collect() } else { Vec::new() },
        load: load(version.load_id),
        restored_by: version.restored_by.and_then(load),
        removed_by: if row.standing == Standing::Removed { version.superseded_by.and_then(load) } else { None },
        file: file.cloned(),
        source_row: version.source_row,
        no_cells,
        transform: None,
        earlier: Vec::new(),
        later_versions: row.later,
        forecast: None,
    }
}

/// The contract's columns that a value is made of, and how.
fn inputs_of(known: Option<&Known>, column: &str) -> (Option<Vec<String>>, Option<String>) {
    let Some(known) = known else { return (None, None) };
    if known.pipeline.transform.is_none() {
        return (Some(vec![column.to_owned()]), None);
    }
    let feed = known.feeds.as_ref().ok().and_then(|feeds| feeds.iter().find(|feed| feed.column == column));
    match feed {
        None => (None, None),
        Some(feed) => {
            let inputs = feed.inputs.as_ref().map(|inputs| inputs.iter().cloned().collect());
            (inputs, feed.expression.clone())
        }
    }
}

/// What a row was before.
pub(super) fn earlier(
    draft: &Draft,
    row: &Row,
    shown: &Shown,
    loads: &BTreeMap<i64, LoadFacts>,
    files: &BTreeMap<i64, FileFacts>,
) -> Vec<Earlier> {
    let load = |id: i64| loads.get(&id).cloned();
    let mut next = &row.meant;
    let mut all = Vec::new();
    for version in &row.earlier {
        let mut values = shown.of(&version.values);
        values.retain(|name, _| draft.columns.is_empty() || draft.columns.contains(name));
        all.push(Earlier {
            load: load(version.load_id),
            restored_by: version.restored_by.and_then(load),
            until: version.superseded_by.and_then(load),
            file: files.get(&version.file_id).cloned(),
            source_row: version.source_row,
            values,
            changed: changes(version, next, shown, &draft.columns),
        });
        next = version;
    }
    all
}
