//! An answer with the settings it is drawn by. Pure.

use serde_json::{Map, Value, json};

use crate::warehouse::ask::Answer;

/// What is drawn, and how.
pub(super) struct Drawn<'a> {
    pub(super) answer: &'a Answer,
    pub(super) display: &'a str,
    /// `visualization_settings`, as they are sent.
    pub(super) settings: &'a Value,
}

impl Drawn<'_> {
    /// The settings of a column.
    pub(super) fn column(&self, name: &str) -> &Value {
        &self.settings["column_settings"][json!(["name", name]).to_string()]
    }

    /// A column's name for readers.
    pub(super) fn title(&self, name: &str) -> String {
        self.column(name)["column_title"].as_str().unwrap_or(name).to_owned()
    }

    /// The names that a setting lists.
    pub(super) fn names(&self, key: &str) -> Vec<&str> {
        self.settings[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Columns that a setting names and the answer does not have.
    pub(super) fn missing(&self) -> Vec<String> {
        let mut names: Vec<&str> = self.names("graph.dimensions");
        names.extend(self.names("graph.metrics"));
        names.extend(self.settings["scalar.field"].as_str());
        for comparison in self.settings["scalar.comparisons"].as_array().into_iter().flatten() {
            names.extend(comparison["column"].as_str());
        }
        names.extend(self.settings["progress.value"].as_str());
        let listed = self.settings["table.columns"].as_array().into_iter().flatten();
        names.extend(listed.filter_map(|column| column["name"].as_str()));
        let there = |name: &&str| !self.answer.columns.iter().any(|column| column == name);
        let mut missing: Vec<String> = names.into_iter().filter(there).map(str::to_owned).collect();
        missing.sort();
        missing.dedup();
        missing
    }
}

/// Reads a cell as a number.
pub(super) fn number(value: &Value) -> Option<f64> {
    value.as_f64().filter(|number| number.is_finite())
}

/// Reads a cell of a row.
pub(super) fn cell<'a>(row: &'a Map<String, Value>, column: &str) -> &'a Value {
    const NONE: &Value = &Value::Null;
    row.get(column).unwrap_or(NONE)
}
