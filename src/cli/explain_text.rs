//! The way back, as people read it.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};

use super::output::{counted, grouped, table};
use crate::app::relative;
use crate::pipelines::{
    Answer, Basis, Change, Earlier, FileAnswer, Found, RefusedRow, RowAnswer, Standing, TransformAnswer, Value,
    ViewAnswer,
};
use crate::warehouse::origins::{FileFacts, LoadFacts};

const WITHHELD: &str = "(personal)";
const NOTHING: &str = "(none)";

/// Answers, one below the other.
pub(super) fn answers(answers: &[Answer], definitions: &Path) -> String {
    let mut text = String::new();
    for answer in answers {
        for found in &answer.found {
            if !text.is_empty() {
                text.push_str("\n----\n\n");
            }
            text.push_str(&one(answer, found, definitions));
        }
    }
    text
}

fn one(answer: &Answer, found: &Found, definitions: &Path) -> String {
    let as_of = answer.as_of.map(|moment| format!(", as it was known at {}", at(moment))).unwrap_or_default();
    let mut text = format!("{} of {}: {}{as_of}\n", answer.table, found.brand, pairs(&found.asked));
    if let Some(view) = &found.view {
        text.push_str(&view_text(view, definitions));
    } else if found.rows.is_empty() && found.refused.is_empty() {
        text.push_str("\nThere is no such row, there was none, and none was refused.\n");
    } else if found.rows.is_empty() {
        text.push_str("\nThere is no such row. It was refused:\n");
    }
    for row in &found.rows {
        text.push('\n');
        text.push_str(&row_text(row, definitions, ""));
    }
    if found.more_rows {
        text.push_str(&format!("\nand more rows: --limit shows more than {}\n", found.rows.len()));
    }
    if !found.rows.is_empty() && !found.refused.is_empty() {
        text.push_str("\nRows of this key that were refused:\n");
    }
    for refused in &found.refused {
        text.push_str(&refused_text(refused));
    }
    text
}

fn row_text(row: &RowAnswer, definitions: &Path, indent: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let key = if row.key.is_empty() { "a row".to_owned() } else { pairs(&row.key) };
    lines.push(match row.standing {
        Standing::There => key,
        Standing::Removed => format!("{key}: was removed; these were its last values"),
        Standing::NotYet => format!("{key}: came later"),
    });
    lines.extend(indented(&values(&row.values, row.transform.is_some())));
    let mut facts: Vec<(&str, String)> = Vec::new();
    if row.standing != Standing::NotYet {
        if let Some(file) = &row.file {
            facts.push(("file", place(file, row.source_row)));
            facts.extend(origin(file).into_iter().map(|line| ("", line)));
        }
        if let Some(why) = &row.no_cells {
            facts.push(("cells", format!("not shown: {why}")));
        }
        if let Some(load) = &row.load {
            facts.push(("load", load_text(load)));
            facts.extend(undone(load).map(|line| ("", line)));
        }
    }
    if let Some(load) = &row.restored_by {
        facts.push(("restored", format!("by load {}", load_text(load))));
    }
    if let Some(load) = &row.removed_by {
        facts.push(("removed", format!("by load {}", load_text(load))));
    }
    facts.extend(row.transform.iter().map(|transform| ("made by", relative(definitions, Path::new(&transform.file)))));
    if row.later_versions > 0 {
        facts.push(("later", counted(row.later_versions, "further version", "further versions")));
    }
    lines.extend(facts.iter().map(|(name, fact)| format!("  {name:<9}{fact}")));
    for earlier in &row.earlier {
        lines.extend(indented(&earlier_text(earlier)));
    }
    lines.extend(row.forecast.iter().flat_map(|basis| indented(&basis_text(basis))));
    lines.extend(
        row.transform.iter().filter(|transform| !transform.told).flat_map(|transform| indented(&sql(transform))),
    );
    lines.iter().map(|line| format!("{indent}{line}").trim_end().to_owned() + "\n").collect()
}

/// The values of a row, each beside its cells; `transformed` says whether a transform made them.
fn values(values: &[Value], transformed: bool) -> String {
    let read = values.iter().flat_map(|value| value.cells.iter().flatten()).any(|cell| cell.read);
    let mut rows = Vec::new();
    let header =
        if read { vec!["column", "value", "cell", "text in the cell"] } else { vec!["column", "value", "cell"] };
    rows.push(header.into_iter().map(str::to_owned).collect::<Vec<_>>());
    for value in values {
        let shown = shown(&value.value, value.withheld);
        let mut row = vec![value.column.clone(), shown];
        match &value.cells {
            None if transformed => row.push("see the transform below".to_owned()),
            None => row.push("of no cell: made by a run".to_owned()),
            Some(cells) if cells.is_empty() => row.push("no cell: a constant".to_owned()),
            Some(cells) => {
                let name = |cell: &crate::pipelines::Cell| match &cell.source_column {
                    Some(name) => name.clone(),
                    None => format!("{} (not in this file)", cell.column),
                };
                row.push(cells.iter().map(name).collect::<Vec<_>>().join(" + "));
                if read {
                    let texts: Vec<String> = cells.iter().map(|cell| shown_cell(&cell.text, cell.withheld)).collect();
                    row.push(texts.join(" + "));
                }
            }
        }
        rows.push(row);
        if let Some(expression) = &value.expression {
            rows.push(vec![String::new(), format!("{} = {expression}", value.column)]);
        }
    }
    // A long expression is not a column of its own.
    let (wide, narrow): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row[0].is_empty());
    let mut text = table(&narrow, &[]);
    for row in wide {
        text.push_str(&format!("{}\n", row[1]));
    }
    text
}

fn shown(value: &Option<String>, withheld: bool) -> String {
    if withheld { WITHHELD.to_owned() } else { value.clone().unwrap_or_else(|| NOTHING.to_owned()) }
}

fn shown_cell(text: &Option<String>, withheld: bool) -> String {
    if withheld { WITHHELD.to_owned() } else { text.as_ref().map_or(NOTHING.to_owned(), |text| format!("`{text}`")) }
}

fn earlier_text(earlier: &Earlier) -> String {
    let until = earlier.until.as_ref().map(|load| format!("until {} (load {})", at(load.committed_at), load.load_id));
    let mut text = format!("before: {}\n", until.unwrap_or_else(|| "until then".to_owned()));
    let change = |change: &Change| {
        vec![
            String::new(),
            change.column.clone(),
            shown(&change.old, change.withheld),
            format!("-> {}", shown(&change.new, change.withheld)),
        ]
    };
    let changes: Vec<Vec<String>> = earlier.changed.iter().map(change).collect();
    if changes.is_empty() {
        text.push_str("  the same values in what is shown\n");
    }
    text.push_str(&table(&changes, &[]));
    if let Some(file) = &earlier.file {
        text.push_str(&format!("  file     {}\n", place(file, earlier.source_row)));
    }
    if let Some(load) = &earlier.load {
        text.push_str(&format!("  load     {}\n", load_text(load)));
        text.extend(undone(load).map(|line| format!("           {line}\n")));
    }
    if let Some(load) = &earlier.restored_by {
        text.push_str(&format!("  restored by load {}\n", load_text(load)));
    }
    text
}

fn basis_text(basis: &Basis) -> String {
    let days = match (basis.first_day, basis.last_day) {
        (Some(first), Some(last)) => format!(" from {first} to {last}"),
        _ => String::new(),
    };
    let total = basis.total.as_ref().map(|total| format!(", {} {total} in all", basis.value)).unwrap_or_default();
    let mut text = format!(
        "forecast from {} of `{}` of this store and daypart{days}{total}\n",
        counted(basis.rows, "row", "rows"),
        basis.table
    );
    if let Some(load) = &basis.up_to_load {
        let how = if basis.noted { "" } else { " (told by time: the forecast noted none)" };
        text.push_str(&format!("as known up to load {}{how}\n", load_text(load)));
    }
    let mut rows = vec![["day", basis.value.as_str(), "load", "file", "row"].map(str::to_owned).to_vec()];
    rows.extend(basis.same_season_day.iter().map(|row| {
        let sheet = row.sheet.as_ref().map(|sheet| format!(" [{sheet}]")).unwrap_or_default();
        vec![
            row.date.to_string(),
            row.value.clone(),
            row.load_id.to_string(),
            format!("{}{sheet}", row.file.clone().unwrap_or_default()),
            row.source_row.map(|row| row.to_string()).unwrap_or_default(),
        ]
    }));
    match basis.season_days {
        1 => text.push_str("the latest of those:\n"),
        days => text.push_str(&format!("the latest of those {days} days apart from this one:\n")),
    }
    text.push_str(&table(&rows, &[1, 2, 4]));
    text
}

fn sql(transform: &TransformAnswer) -> String {
    let lines: Vec<String> = transform.sql.trim_end().lines().map(|line| format!("  {line}")).collect();
    format!("which column feeds which cannot be told from its plan; it reads\n{}\n", lines.join("\n"))
}

fn view_text(view: &ViewAnswer, definitions: &Path) -> String {
    let mut text =
        format!("\na view; {}\n", counted(view.rows_total, "row has these values", "rows have these values"));
    for values in &view.rows {
        let rows: Vec<Vec<String>> =
            values.iter().map(|value| vec![value.column.clone(), shown(&value.value, value.withheld)]).collect();
        text.push('\n');
        text.extend(indented(&table(&rows, &[])).into_iter().map(|line| line + "\n"));
    }
    text.push_str("\nIt rests on rows of these tables. Those with the same values are shown; what the view\njoins by other conditions, such as the day a week before, is not.\n");
    for base in &view.bases {
        let name = format!("{}.{}", base.schema, base.table);
        match base.rows_total {
            Some(rows) => {
                text.push_str(&format!(
                    "\n{name}, by {}: {}\n",
                    base.matched_by.join(", "),
                    counted(rows, "row has these values", "rows have these values")
                ));
            }
            None if base.not_there.is_empty() => text.push_str(&format!("\n{name}: no table that pipelines load\n")),
            None => text.push_str(&format!("\n{name}: has no column that was asked for\n")),
        }
        for row in &base.rows {
            text.push_str(&row_text(row, definitions, "  "));
        }
        let rest = base.rows_total.unwrap_or(0).unsigned_abs().saturating_sub(base.rows.len() as u64);
        if rest > 0 {
            text.push_str(&format!("  and {} more: --limit shows them\n", grouped(rest)));
        }
    }
    text.push_str(&format!("\nIts text, as PostgreSQL has it:\n{}\n", view.sql.trim_end()));
    text
}

fn refused_text(refused: &RefusedRow) -> String {
    let sheet = refused.sheet.as_ref().map(|sheet| format!(", sheet `{sheet}`")).unwrap_or_default();
    let why = refused.handled_why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let column = if refused.column.is_empty() { String::new() } else { format!("{}: ", refused.column) };
    let mut text = format!("\n  {column}{} (rule `{}`)\n", refused.reason, refused.rule);
    text.push_str(&format!("  file     {}{sheet}, row {}\n", refused.file, refused.row));
    text.push_str(&format!("  run      {} of {}\n", refused.run_id, refused.pipeline));
    text.push_str(&format!("  state    {}{why}; id {} in `quarantine list`\n", refused.state, refused.id));
    if !refused.not_compared.is_empty() {
        let columns = refused.not_compared.join(", ");
        text.push_str(&format!("  compared without {columns}, which a row has only once it is transformed\n"));
    }
    let rows: Vec<Vec<String>> = refused
        .values
        .iter()
        .map(|(column, value)| {
            let text = match value {
                Json::Null => NOTHING.to_owned(),
                Json::String(text) => format!("`{text}`"),
                other => other.to_string(),
            };
            vec![String::new(), column.clone(), text]
        })
        .collect();
    text.push_str(&table(&rows, &[]));
    text
}

/// What files made.
pub(super) fn files(files: &[FileAnswer]) -> String {
    let mut text = String::new();
    for answer in files {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{}\n", place(&answer.file, None)));
        text.extend(origin(&answer.file).into_iter().map(|line| format!("  {line}\n")));
        text.push_str(&match (answer.kept, answer.pruned_at) {
            (true, _) => "  its bytes are kept\n".to_owned(),
            (false, Some(moment)) => format!("  its bytes were removed at {}\n", at(moment)),
            (false, None) => "  its bytes were not kept\n".to_owned(),
        });
        if let Some(load) = &answer.load {
            text.push_str(&format!("  load {}\n", load_text(load)));
            text.extend(undone(load).map(|line| format!("  {line}\n")));
        }
        let count = |rows: i64| grouped(rows.unsigned_abs());
        let mut rows = vec![vec!["rows".to_owned(), "read".to_owned(), count(answer.file.rows_read)]];
        let mut add = |what: &str, rows_of: i64| rows.push(vec![String::new(), what.to_owned(), count(rows_of)]);
        add("new", answer.rows.inserted);
        add("changed another", answer.rows.updated);
        for (state, rows) in &answer.refused {
            add(&format!("refused, {state}"), *rows);
        }
        add("without effect", answer.without_effect);
        for (reason, rows) in answer.left_out.iter().flatten() {
            add(&format!("no data: {reason}"), i64::try_from(*rows).unwrap_or(i64::MAX));
        }
        add("in the table now", answer.rows.current);
        add("replaced since", answer.rows.superseded);
        text.extend(indented(&table(&rows, &[2])).into_iter().map(|line| line + "\n"));
        if let Some(why) = &answer.not_read {
            text.push_str(&format!("  rows that are no data are not counted: {why}\n"));
        }
        if !answer.sample.is_empty() {
            let of = answer.table.as_deref().unwrap_or_default();
            text.push_str(&format!("  some rows of `{of}`:\n"));
        }
        for one in &answer.sample {
            let Json::Object(key) = &one["key"] else { continue };
            let row = one["row"].as_i64().map(|row| format!("row {row}: ")).unwrap_or_default();
            let gone = if one["current"] == Json::Bool(true) { "" } else { "  (replaced since)" };
            text.push_str(&format!("    {row}{}{gone}\n", pairs(key)));
        }
    }
    text
}

fn place(file: &FileFacts, row: Option<i64>) -> String {
    let sheet = file.sheet.as_ref().map(|sheet| format!(", sheet `{sheet}`")).unwrap_or_default();
    let row = row.map(|row| format!(", row {row}")).unwrap_or_default();
    format!("{}{sheet}{row}", file.name)
}

/// Who changed a file last, and what it is known by.
fn origin(file: &FileFacts) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(moment) = file.modified_at {
        let by = file.modified_by.as_ref().map(|person| format!(" by {person}")).unwrap_or_default();
        lines.push(format!("last changed {}{by}", at(moment)));
    }
    if let Some(item) = &file.item_id {
        let version = file.version.as_ref().map(|version| format!(", version {version}")).unwrap_or_default();
        // A folder's files are known by their paths.
        lines.push(match file.drive_id.as_deref() {
            Some(root) if root.starts_with('/') => format!("path {root}/{item}"),
            Some(drive) => format!("drive item {item} of {drive}{version}"),
            None => format!("item {item}{version}"),
        });
    }
    if !file.content_hash.is_empty() {
        lines.push(format!("content {}, {} bytes", file.content_hash, grouped(file.size_bytes.unsigned_abs())));
    }
    lines
}

fn load_text(load: &LoadFacts) -> String {
    format!(
        "{}, visible since {}; run {} of {}, started {} ({})",
        load.load_id,
        at(load.committed_at),
        load.run_id,
        load.pipeline,
        at(load.started_at),
        load.trigger
    )
}

fn undone(load: &LoadFacts) -> impl Iterator<Item = String> + use<> {
    let taken = load.undone_by.map(|by| format!("taken back by load {by}"));
    let takes = load.undoes.map(|other| format!("takes load {other} back"));
    taken.into_iter().chain(takes)
}

fn at(moment: DateTime<Utc>) -> String {
    moment.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn pairs(key: &Map<String, Json>) -> String {
    let one = |(column, value): (&String, &Json)| match value {
        Json::String(text) => format!("{column}={text}"),
        _ => format!("{column}="),
    };
    key.iter().map(one).collect::<Vec<_>>().join(" ")
}

fn indented(text: &str) -> Vec<String> {
    text.lines().map(|line| format!("  {line}")).collect()
}
