//! One JSON object a line. Numbers keep the very digits they came with.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io::{BufRead as _, BufReader, Read};

use arrow::array::RecordBatch;
use serde_json::value::RawValue;

use super::header::Wanted;
use super::row::RowBuilder;
use super::rows::Collector;
use super::{Error, Facts};

pub(super) fn read<R: Read>(
    wanted: &Wanted,
    input: R,
    sink: &mut dyn FnMut(RecordBatch) -> bool,
) -> Result<Facts, Error> {
    let mut collector = Collector::new(wanted, None, sink);
    let mut names: Vec<String> = Vec::new();
    let mut cells = RowBuilder::default();
    for (index, line) in BufReader::new(input).lines().enumerate() {
        let line = line.map_err(Error::Read)?;
        let row = index as u64 + 1;
        if line.trim().is_empty() {
            continue;
        }
        let object: HashMap<String, &RawValue> = serde_json::from_str(&line)
            .map_err(|error| Error::Corrupt { kind: "JSON lines", reason: format!("row {row}: {error}") })?;
        if names.is_empty() {
            // The first row's members are the header; a member it lacks is looked for too.
            names = object.keys().cloned().collect();
            names.extend(
                wanted
                    .columns
                    .iter()
                    .flat_map(|(_, aliases, _)| aliases)
                    .filter(|alias| !object.contains_key(*alias))
                    .cloned(),
            );
            names.iter().enumerate().for_each(|(at, name)| cells.put(at, name));
            collector.take(0, cells.row())?;
        }
        cells.clear();
        for (at, name) in names.iter().enumerate() {
            if let Some(text) = object.get(name).and_then(|value| text_of(value.get())) {
                cells.put_with(at, |cells| cells.push_str(&text));
            }
        }
        if !collector.take(row, cells.row())? {
            break;
        }
    }
    collector.finish()
}

/// Lists the members that any object has, in the order in which they turn up.
pub(super) fn members<R: Read>(input: R) -> Result<Vec<String>, Error> {
    let mut names: Vec<String> = Vec::new();
    let mut known = HashSet::new();
    for (index, line) in BufReader::new(input).lines().enumerate() {
        let line = line.map_err(Error::Read)?;
        if line.trim().is_empty() {
            continue;
        }
        let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line)
            .map_err(|error| Error::Corrupt { kind: "JSON lines", reason: format!("row {}: {error}", index + 1) })?;
        for name in object.into_iter().map(|(name, _)| name) {
            if known.insert(name.clone()) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

fn text_of(raw: &str) -> Option<Cow<'_, str>> {
    match raw {
        "null" => None,
        text if text.starts_with('"') => serde_json::from_str::<String>(text).ok().map(Cow::Owned),
        text => Some(Cow::Borrowed(text)),
    }
}
