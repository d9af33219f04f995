//! Prints rows as the service does: annotations first, exact numbers bare.

use serde_json::Value;

use super::cell::Cell;
use super::schema::ColumnKind;
use super::store::{Row, Stored};

/// The currency every amount of money is in.
const CURRENCY_ID: &str = "228f42f8-e646-e111-8eb7-78e7d162ced1";
const FORMATTED: &str = "OData.Community.Display.V1.FormattedValue";
const LOOKUP_TABLE: &str = "Microsoft.Dynamics.CRM.lookuplogicalname";

/// Which columns of a row are printed, and whether for people too.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// The columns asked for; without `$select`, all.
    pub(super) select: Option<Vec<usize>>,
    /// Whether formatted values were asked for.
    pub(super) formatted: bool,
    /// Whether the tables of lookups were asked for.
    pub(super) lookup_tables: bool,
}

impl Shape {
    /// The part of a context URL that names the columns.
    pub(super) fn fragment(&self, table: &Stored) -> String {
        match &self.select {
            None => String::new(),
            Some(columns) => {
                let names: Vec<&str> = columns.iter().map(|column| table.columns[*column].name.as_str()).collect();
                format!("({})", names.join(","))
            }
        }
    }

    /// Prints a row as a JSON object; `context` comes first, if there is one.
    pub(super) fn print(&self, table: &Stored, row: &Row, context: Option<&str>) -> String {
        let mut members = Vec::new();
        if let Some(context) = context {
            members.push(member("@odata.context", context));
        }
        members.push(member("@odata.etag", &e_tag(row.version)));
        let all: Vec<usize>;
        let columns = match &self.select {
            Some(columns) => columns,
            None => {
                all = (0..table.columns.len()).collect();
                &all
            }
        };
        let mut has_money = false;
        for column in columns {
            self.print_cell(table, row, *column, &mut members);
            has_money |= table.columns[*column].kind == ColumnKind::Money;
        }
        if has_money && table.column("transactioncurrencyid").is_none() {
            let name = "_transactioncurrencyid_value";
            if self.formatted {
                members.push(member(&format!("{name}@{FORMATTED}"), "US Dollar"));
            }
            members.push(member(name, CURRENCY_ID));
        }
        let primary = table.primary();
        if !columns.contains(&primary) {
            self.print_cell(table, row, primary, &mut members);
        }
        format!("{{{}}}", members.join(","))
    }

    fn print_cell(&self, table: &Stored, row: &Row, column: usize, members: &mut Vec<String>) {
        let definition = &table.columns[column];
        let hidden = table.secured.contains(&definition.name);
        let cell = if hidden { &Cell::Null } else { &row.cells[column] };
        if self.lookup_tables
            && let Cell::Reference { table, .. } = cell
        {
            members.push(member(&format!("{}@{LOOKUP_TABLE}", definition.name), table));
        }
        if self.formatted
            && *cell != Cell::Null
            && let Some(text) = cell.formatted(&definition.kind)
        {
            members.push(member(&format!("{}@{FORMATTED}", definition.name), &text));
        }
        let name = Value::from(definition.name.as_str());
        members.push(format!("{name}:{}", cell.to_json(&definition.kind)));
    }
}

pub(super) fn e_tag(version: u64) -> String {
    format!("W/\"{version}\"")
}

/// Prints one member of a JSON object whose value is a text.
pub(super) fn member(name: &str, value: &str) -> String {
    format!("{}:{}", Value::from(name), Value::from(value))
}
