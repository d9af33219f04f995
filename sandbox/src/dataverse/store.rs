//! The rows of one organisation, and the order in which they were written.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::cell::Cell;
use super::changes::ChangeLink;
use super::key::{Key, Literal};
use super::query::PageLink;
use super::schema::{AlternateKey, Column, ColumnKind, Table};
use crate::wire::numbered_guid;

/// Row versions start where a used organisation might be.
const FIRST_VERSION: u64 = 915_000;

#[derive(Debug)]
pub(super) struct Store {
    pub(super) tables: Vec<Stored>,
    /// The version of the latest write to any table.
    pub(super) version: u64,
    /// Next links by their raw path and query.
    pub(super) page_links: HashMap<String, PageLink>,
    /// Change links by their raw path and query.
    pub(super) change_links: HashMap<String, ChangeLink>,
    /// Tables that do not take the messages for many rows.
    pub(super) without_bulk: HashSet<String>,
    pub(super) answers: u64,
    /// The time of the request in hand.
    pub(super) now: DateTime<Utc>,
}

/// One table and its rows by GUID.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) logical_name: String,
    pub(super) entity_set: String,
    pub(super) primary_id: String,
    pub(super) columns: Vec<Column>,
    pub(super) alternate_keys: Vec<AlternateKey>,
    pub(super) change_tracking: bool,
    pub(super) rows: BTreeMap<String, Row>,
    /// Deleted rows with the version of their delete, oldest first.
    pub(super) deletes: Vec<(u64, String)>,
    /// Change links from before this version are of no use any more.
    pub(super) tracked_from: u64,
    /// Columns that the application may not read: they come as null.
    pub(super) secured: HashSet<String>,
    index: HashMap<String, String>,
    created: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    pub(super) version: u64,
}

/// Why a write is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Conflict {
    /// A row with these values of the key is there already.
    Key(String),
    /// A row with this GUID is there already.
    Id,
}

impl Store {
    pub(super) fn new(tables: Vec<Table>, now: DateTime<Utc>) -> Self {
        let mut store = Self {
            tables: Vec::new(),
            version: FIRST_VERSION,
            page_links: HashMap::new(),
            change_links: HashMap::new(),
            without_bulk: HashSet::new(),
            answers: 0,
            now,
        };
        for table in tables {
            let Table { logical_name, entity_set, primary_id, columns, alternate_keys, change_tracking, rows } = table;
            let mut stored = Stored {
                logical_name,
                entity_set,
                primary_id,
                columns,
                alternate_keys,
                change_tracking,
                rows: BTreeMap::new(),
                deletes: Vec::new(),
                tracked_from: 0,
                secured: HashSet::new(),
                index: HashMap::new(),
                created: 0,
            };
            if stored.column(&stored.primary_id).is_none() {
                let name = stored.primary_id.clone();
                stored.columns.push(Column { name, kind: ColumnKind::Guid });
            }
            for row in &rows {
                stored.merge(row, &mut store.version, now);
            }
            store.tables.push(stored);
        }
        store
    }

    pub(super) fn table(&mut self, logical_name: &str) -> Option<(&mut Stored, &mut u64)> {
        let table = self.tables.iter_mut().find(|table| table.logical_name == logical_name)?;
        Some((table, &mut self.version))
    }
}

impl Stored {
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    pub(super) fn primary(&self) -> usize {
        self.column(&self.primary_id).expect("the constructor adds the column of the primary id")
    }

    /// Writes a row as a program inside the organisation would: found by id or by a key.
    ///
    /// Names that are no column, and values that do not fit theirs, are left out.
    pub(super) fn merge(&mut self, row: &Map<String, Value>, version: &mut u64, now: DateTime<Utc>) -> String {
        let mut values = Vec::new();
        for (name, value) in row {
            if let Some(column) = self.column(name)
                && let Ok(cell) = Cell::from_value(&self.columns[column].kind, value)
            {
                values.push((column, cell));
            }
        }
        let given = values.iter().find_map(|(column, cell)| match cell {
            Cell::Guid(id) if *column == self.primary() => Some(id.clone()),
            _ => None,
        });
        let id = given.or_else(|| self.find_by_values(&values)).unwrap_or_else(|| self.new_id());
        let created = !self.rows.contains_key(&id);
        self.stamp(&mut values, created, now);
        self.write(&id, values, version);
        id
    }

    fn find_by_values(&self, values: &[(usize, Cell)]) -> Option<String> {
        self.alternate_keys.iter().find_map(|key| {
            let cells = key.columns.iter().map(|name| {
                let column = self.column(name)?;
                values.iter().find(|(other, _)| *other == column).map(|(_, cell)| cell)
            });
            let text = index_text(&key.name, cells.collect::<Option<Vec<_>>>()?)?;
            self.index.get(&text).cloned()
        })
    }

    pub(super) fn new_id(&mut self) -> String {
        self.created += 1;
        numbered_guid(&format!("row of {}", self.logical_name), self.created)
    }

    /// Adds what the service fills in itself, unless it was given.
    pub(super) fn stamp(&self, values: &mut Vec<(usize, Cell)>, created: bool, now: DateTime<Utc>) {
        let mut fill = |name: &str, cell: Cell| {
            if let Some(column) = self.column(name)
                && !values.iter().any(|(other, cell)| *other == column && *cell != Cell::Null)
            {
                values.push((column, cell));
            }
        };
        fill("modifiedon", Cell::Moment(now));
        if created {
            fill("createdon", Cell::Moment(now));
            fill("statecode", Cell::Integer(0));
        }
    }

    /// Writes the values into a row, making it if there is none.
    pub(super) fn write(&mut self, id: &str, values: Vec<(usize, Cell)>, version: &mut u64) {
        *version += 1;
        let primary = self.primary();
        let blank = vec![Cell::Null; self.columns.len()];
        let mut row = self.rows.remove(id).map_or(blank, |row| {
            self.unindex(&row.cells);
            row.cells
        });
        for (column, cell) in values {
            row[column] = cell;
        }
        row[primary] = Cell::Guid(id.to_owned());
        for text in self.index_texts(&row) {
            self.index.insert(text, id.to_owned());
        }
        self.rows.insert(id.to_owned(), Row { cells: row, version: *version });
        // A row that is back is no longer told as gone.
        self.deletes.retain(|(_, deleted)| deleted != id);
    }

    pub(super) fn delete(&mut self, id: &str, version: &mut u64) -> bool {
        let Some(row) = self.rows.remove(id) else {
            return false;
        };
        self.unindex(&row.cells);
        *version += 1;
        self.deletes.push((*version, id.to_owned()));
        true
    }

    /// Adds a column that is null in every row; the definition has changed, so change links expire.
    pub(super) fn add_column(&mut self, column: Column, version: &mut u64) {
        self.columns.push(column);
        self.rows.values_mut().for_each(|row| row.cells.push(Cell::Null));
        // A change as any other: a link that is handed out from now on is good.
        *version += 1;
        self.tracked_from = *version;
    }

    /// Checks that no other row has the same GUID or the same values of an active key.
    pub(super) fn conflict(&self, id: &str, cells: &[Cell], created: bool) -> Option<Conflict> {
        if created && self.rows.contains_key(id) {
            return Some(Conflict::Id);
        }
        let taken = self.alternate_keys.iter().filter(|key| key.active).find(|key| {
            self.key_text(key, cells).is_some_and(|text| self.index.get(&text).is_some_and(|other| other != id))
        });
        taken.map(|key| Conflict::Key(key.name.clone()))
    }

    /// Finds the row a URL names. `Err` if the columns are no usable key of the table.
    pub(super) fn resolve(&self, key: &Key) -> Result<Option<String>, ()> {
        match key {
            Key::Id(id) => Ok(self.rows.contains_key(id).then(|| id.clone())),
            Key::Columns(parts) => {
                let (name, cells) = self.key_cells(parts)?;
                let text = index_text(&name, cells.iter().map(|(_, cell)| cell).collect());
                Ok(text.and_then(|text| self.index.get(&text)).cloned())
            }
        }
    }

    /// Reads the parts of a URL's key as cells, in the order of the table's own definition.
    pub(super) fn key_cells(&self, parts: &[(String, Literal)]) -> Result<(String, Vec<(usize, Cell)>), ()> {
        let key = self.alternate_keys.iter().filter(|key| key.active).find(|key| {
            key.columns.len() == parts.len()
                && key.columns.iter().all(|name| parts.iter().any(|(other, _)| other == name))
        });
        let key = key.ok_or(())?;
        let cells = key.columns.iter().map(|name| {
            let column = self.column(name).ok_or(())?;
            let kind = &self.columns[column].kind;
            let (_, literal) = parts.iter().find(|(other, _)| other == name).ok_or(())?;
            let text = match literal {
                Literal::Text(text) if *kind == ColumnKind::Text => text,
                Literal::Bare(text) if *kind != ColumnKind::Text => text,
                Literal::Text(_) | Literal::Bare(_) => return Err(()),
            };
            Cell::from_literal(kind, text).map(|cell| (column, cell)).map_err(|_| ())
        });
        Ok((key.name.clone(), cells.collect::<Result<_, ()>>()?))
    }

    fn unindex(&mut self, cells: &[Cell]) {
        for text in self.index_texts(cells) {
            self.index.remove(&text);
        }
    }

    fn index_texts(&self, cells: &[Cell]) -> Vec<String> {
        self.alternate_keys.iter().filter_map(|key| self.key_text(key, cells)).collect()
    }

    fn key_text(&self, key: &AlternateKey, cells: &[Cell]) -> Option<String> {
        let parts = key.columns.iter().map(|name| self.column(name).map(|column| &cells[column]));
        index_text(&key.name, parts.collect::<Option<Vec<_>>>()?)
    }
}

/// The values of a key as one text; rows with a null among them are not unique.
fn index_text(key: &str, cells: Vec<&Cell>) -> Option<String> {
    let mut text = key.to_owned();
    for cell in cells {
        let part = match cell {
            Cell::Null => return None,
            // Matching does not regard case.
            Cell::Text(text) => text.to_lowercase(),
            other => format!("{other:?}"),
        };
        text.push('\u{1f}');
        text.push_str(&part);
    }
    Some(text)
}
