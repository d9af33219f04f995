//! Writes front matter: the way back from a question in Metabase. Pure.

use serde_json::{Map, Value};

use super::content::{Format, Question};
use super::context::Error;

/// Writes the front matter of a question as comments of its SQL. What only our own
/// file knows, its parameters, is taken from there.
pub(super) fn front_matter(card: &Value, currency: &str, known: Option<&Question>) -> Result<String, Error> {
    let text = |key: &str, or: &str| {
        let found = card[key].as_str().filter(|text| !text.trim().is_empty());
        toml::Value::from(found.unwrap_or(or))
    };
    let display = card["display"].as_str().unwrap_or("table");
    let mut settings = card["visualization_settings"].as_object().cloned().unwrap_or_default();
    let mut front = toml::Table::new();
    front.insert("title".to_owned(), text("name", "Untitled"));
    front.insert("description".to_owned(), text("description", "Say what the numbers mean."));
    front.insert("display".to_owned(), display.into());
    list(&mut settings, "graph.dimensions", "x", &mut front);
    let single = match display {
        "scalar" | "smartscalar" => Some("scalar.field"),
        "progress" => Some("progress.value"),
        _ => None,
    };
    match single {
        Some(key) => {
            if let Some(column) = settings.remove(key).and_then(|column| column.as_str().map(str::to_owned)) {
                front.insert("y".to_owned(), vec![toml::Value::from(column)].into());
            }
        }
        None => list(&mut settings, "graph.metrics", "y", &mut front),
    }
    compared(&mut settings, &mut front);
    if let Some(stack) = settings.get("stackable.stack_type").and_then(Value::as_str).map(str::to_owned) {
        settings.remove("stackable.stack_type");
        front.insert("stack".to_owned(), stack.into());
    }
    let goal = (settings.get("graph.goal_value").and_then(Value::as_f64), settings.get("graph.goal_label").cloned());
    if let (Some(value), Some(Value::String(label)), Some(Value::Bool(true))) =
        (goal.0, goal.1, settings.get("graph.show_goal").cloned())
    {
        for key in ["graph.show_goal", "graph.goal_value", "graph.goal_label"] {
            settings.remove(key);
        }
        let goal = toml::Table::from_iter([("value".to_owned(), value.into()), ("label".to_owned(), label.into())]);
        front.insert("goal".to_owned(), goal.into());
    }
    formats(&mut settings, currency, &mut front);
    if let Some(known) = known.filter(|known| !known.front.parameters.is_empty()) {
        let kept = toml::Value::try_from(&known.front.parameters).map_err(|error| Error::Adopt(error.to_string()))?;
        front.insert("parameters".to_owned(), kept);
    }
    if let Some(rest) =
        to_toml(&Value::Object(settings)).filter(|rest| rest.as_table().is_some_and(|rest| !rest.is_empty()))
    {
        front.insert("settings".to_owned(), rest);
    }
    let text = toml::to_string(&front).map_err(|error| Error::Adopt(error.to_string()))?;
    let lines: Vec<String> = text.lines().map(|line| format!("-- {line}").trim_end().to_owned() + "\n").collect();
    Ok(format!("-- ---\n{}-- ---\n", lines.concat()))
}

fn list(settings: &mut Map<String, Value>, from: &str, to: &str, front: &mut toml::Table) {
    let names = settings.get(from).and_then(Value::as_array);
    let texts: Option<Vec<toml::Value>> = names.map(|names| names.iter().filter_map(to_toml).collect());
    if let Some(texts) = texts.filter(|texts| !texts.is_empty()) {
        settings.remove(from);
        front.insert(to.to_owned(), texts.into());
    }
}

/// Comparisons that our front matter can say: with other columns, by their own names.
fn compared(settings: &mut Map<String, Value>, front: &mut toml::Table) {
    let Some(all) = settings.get("scalar.comparisons").and_then(Value::as_array) else { return };
    let names: Option<Vec<toml::Value>> = all
        .iter()
        .enumerate()
        .map(|(at, one)| {
            let column = one["column"].as_str()?;
            let plain = one["type"] == "anotherColumn" && one["label"] == column && one["id"] == format!("{}", at + 1);
            plain.then(|| column.into())
        })
        .collect();
    if let Some(names) = names {
        settings.remove("scalar.comparisons");
        front.insert("compare".to_owned(), names.into());
    }
}

/// Column settings that are formats of ours; all of them, or none.
fn formats(settings: &mut Map<String, Value>, currency: &str, front: &mut toml::Table) {
    let Some(columns) = settings.get("column_settings").and_then(Value::as_object) else { return };
    let mut found = toml::Table::new();
    for (key, given) in columns {
        let name = serde_json::from_str::<Vec<String>>(key).ok().filter(|parts| parts.len() == 2 && parts[0] == "name");
        let format = Format::ALL.iter().find(|format| same(&format.settings(currency), given));
        match (name, format.and_then(|format| toml::Value::try_from(format).ok())) {
            (Some(name), Some(format)) => found.insert(name[1].clone(), format),
            _ => return,
        };
    }
    settings.remove("column_settings");
    front.insert("formats".to_owned(), found.into());
}

/// Alike but for what is unset.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            const UNSET: &Value = &Value::Null;
            one.keys()
                .chain(other.keys())
                .all(|key| same(one.get(key).unwrap_or(UNSET), other.get(key).unwrap_or(UNSET)))
        }
        (one, other) => match (one.as_f64(), other.as_f64()) {
            (Some(one), Some(other)) => (one - other).abs() < f64::EPSILON,
            _ => one == other,
        },
    }
}

/// Writes JSON as TOML; what is unset is left out.
fn to_toml(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| number.as_f64().unwrap_or_default().into(), toml::Value::from)
        }
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().filter_map(to_toml).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            let kept = fields.iter().filter_map(|(key, value)| Some((key.clone(), to_toml(value)?)));
            kept.collect::<toml::Table>().into()
        }
    })
}

/// Names the size that is nearest.
pub(super) fn size_name(columns: i64, rows: i64) -> String {
    let nearest = |value: i64, sizes: &[(i64, &'static str)]| {
        sizes.iter().min_by_key(|(size, _)| (size - value).abs()).map_or("", |(_, name)| name)
    };
    let width = nearest(columns, &[(24, "full"), (16, "two_thirds"), (12, "half"), (8, "third"), (6, "quarter")]);
    format!("{width} {}", nearest(rows, &[(1, "line"), (3, "small"), (6, "medium"), (9, "tall")]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn front_matter_is_written_as_a_person_would() {
        let card = json!({
            "name": "Tickets",
            "description": "What one order brings.",
            "display": "line",
            "visualization_settings": {
                "graph.dimensions": ["Day"],
                "graph.metrics": ["Ticket"],
                "graph.show_goal": true,
                "graph.goal_value": 25.5,
                "graph.goal_label": "Goal",
                "column_settings": {"[\"name\",\"Ticket\"]": {"number_style": "currency", "currency": "USD", "currency_in_header": false, "decimals": 2}},
                "graph.show_values": true,
            },
        });
        insta::assert_snapshot!(front_matter(&card, "USD", None).unwrap(), @r#"
        -- ---
        -- description = "What one order brings."
        -- display = "line"
        -- title = "Tickets"
        -- x = ["Day"]
        -- y = ["Ticket"]
        --
        -- [formats]
        -- Ticket = "cents"
        --
        -- [goal]
        -- label = "Goal"
        -- value = 25.5
        --
        -- [settings]
        -- "graph.show_values" = true
        -- ---
        "#);
    }

    #[test]
    fn a_size_gets_the_nearest_name() {
        assert_eq!(size_name(24, 2), "full line");
        assert_eq!(size_name(11, 7), "half medium");
    }
}
