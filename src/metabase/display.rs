//! Turns a question's front matter into the settings of its display, as Metabase spells them. Pure.

use serde_json::Value;

use super::content::{Format, Question};

impl Question {
    /// Writes the settings of its display, as Metabase spells them.
    pub(super) fn visualization(&self, currency: &str) -> Value {
        let front = &self.front;
        let mut settings = serde_json::Map::new();
        let mut set = |key: &str, value: Value| {
            settings.insert(key.to_owned(), value);
        };
        if !front.x.is_empty() {
            set("graph.dimensions", front.x.clone().into());
        }
        if !front.y.is_empty() {
            if front.display == "scalar" || front.display == "smartscalar" {
                set("scalar.field", front.y[0].clone().into());
            } else if front.display == "progress" {
                set("progress.value", front.y[0].clone().into());
            } else {
                set("graph.metrics", front.y.clone().into());
            }
        }
        if !front.compare.is_empty() {
            let comparisons: Vec<Value> = front
                .compare
                .iter()
                .enumerate()
                .map(|(at, column)| {
                    serde_json::json!({"id": format!("{}", at + 1), "type": "anotherColumn", "column": column, "label": column})
                })
                .collect();
            set("scalar.comparisons", comparisons.into());
        }
        if let Some(goal) = front.goal.as_ref().filter(|_| front.display == "progress") {
            set("progress.goal", goal.value.into());
        } else if let Some(goal) = &front.goal {
            set("graph.show_goal", true.into());
            set("graph.goal_value", goal.value.into());
            set("graph.goal_label", goal.label.clone().into());
        }
        if let Some(stack) = &front.stack {
            set("stackable.stack_type", stack.clone().into());
        }
        if !front.formats.is_empty() {
            let columns: serde_json::Map<String, Value> = front
                .formats
                .iter()
                .map(|(column, format)| (serde_json::json!(["name", column]).to_string(), format.settings(currency)))
                .collect();
            set("column_settings", columns.into());
        }
        for (key, value) in &front.settings {
            set(key, serde_json::to_value(value).unwrap_or_default());
        }
        Value::Object(settings)
    }
}

impl Format {
    /// All there are; those that write alike come in the order of their use.
    pub(super) const ALL: [Self; 8] =
        [Self::Money, Self::Cents, Self::Count, Self::Decimal, Self::Percent, Self::Change, Self::Date, Self::Hours];

    pub(super) fn settings(self, currency: &str) -> Value {
        match self {
            Self::Money => {
                serde_json::json!({"number_style": "currency", "currency": currency, "currency_in_header": false, "decimals": 0})
            }
            Self::Cents => {
                serde_json::json!({"number_style": "currency", "currency": currency, "currency_in_header": false, "decimals": 2})
            }
            Self::Count => serde_json::json!({"number_style": "decimal", "decimals": 0}),
            Self::Decimal => serde_json::json!({"number_style": "decimal", "decimals": 1}),
            Self::Percent | Self::Change => serde_json::json!({"number_style": "percent", "decimals": 1}),
            Self::Date => {
                serde_json::json!({"date_style": "dddd, MMMM D, YYYY", "date_abbreviate": true, "time_enabled": null})
            }
            Self::Hours => serde_json::json!({"number_style": "decimal", "decimals": 1, "suffix": " h"}),
        }
    }
}
