//! Rows and columns. Pure.

use std::fmt::Write as _;

use serde_json::Value;

use super::data::{Drawn, cell, number};
use super::number::written;
use super::svg::{color, escaped};

/// Draws the whole answer; its card scrolls. `link` is a column whose cells lead to a page.
pub(super) fn draw(drawn: &Drawn<'_>, link: Option<(&str, &str)>) -> String {
    let columns = columns(drawn);
    let rows = &drawn.answer.rows;
    let numeric = |name: &str| rows.iter().all(|row| matches!(cell(row, name), Value::Number(_) | Value::Null));
    let class: Vec<&str> = columns.iter().map(|name| if numeric(name) { " class=\"right\"" } else { "" }).collect();
    let mut out = "<div class=\"scroll\"><table><thead><tr>".to_owned();
    for (name, class) in columns.iter().zip(&class) {
        let _ = write!(out, "<th{class}>{}</th>", escaped(&drawn.title(name)));
    }
    out.push_str("</tr></thead><tbody>");
    for row in rows {
        out.push_str("<tr>");
        for (name, class) in columns.iter().zip(&class) {
            let words = escaped(&written(cell(row, name), drawn.column(name)));
            let words = match link.filter(|(column, _)| column == name) {
                Some((_, page)) => format!("<a href=\"{}\">{words}</a>", escaped(page)),
                None => words,
            };
            let background = background(drawn, row, name);
            let style = background.map_or_else(String::new, |color| format!(" style=\"background:{color}\""));
            let bar = bar(drawn, row, name);
            let _ = write!(out, "<td{class}{style}>{bar}{words}</td>");
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    out
}

/// The columns that are shown: those the settings list, else all.
fn columns(drawn: &Drawn<'_>) -> Vec<String> {
    let Some(listed) = drawn.settings["table.columns"].as_array() else {
        return drawn.answer.columns.clone();
    };
    let there = |column: &&Value| {
        column["enabled"] != false && drawn.answer.columns.iter().any(|name| column["name"] == name.as_str())
    };
    listed.iter().filter(there).filter_map(|column| column["name"].as_str()).map(str::to_owned).collect()
}

/// The colour that the settings give a cell.
fn background(drawn: &Drawn<'_>, row: &serde_json::Map<String, Value>, name: &str) -> Option<String> {
    for rule in drawn.settings["table.column_formatting"].as_array().into_iter().flatten() {
        let columns = rule["columns"].as_array()?;
        let marked = columns.iter().find(|column| {
            let about = column.as_str().unwrap_or_default();
            (about == name || rule["highlight_row"] == true) && holds(rule, cell(row, about))
        });
        if marked.is_some() {
            let fill = rule["color"].as_str().and_then(color)?;
            // Metabase lets the table shine through.
            return Some(if fill.len() == 7 { format!("{fill}A6") } else { fill.to_owned() });
        }
    }
    None
}

fn holds(rule: &Value, value: &Value) -> bool {
    let wanted = &rule["value"];
    let compared = number(value).zip(number(wanted)).map(|(value, wanted)| value.total_cmp(&wanted));
    match rule["operator"].as_str() {
        Some("<") => compared.is_some_and(|order| order.is_lt()),
        Some("<=") => compared.is_some_and(|order| order.is_le()),
        Some(">") => compared.is_some_and(|order| order.is_gt()),
        Some(">=") => compared.is_some_and(|order| order.is_ge()),
        Some("=") => compared.map_or(value == wanted, |order| order.is_eq()),
        Some("!=") => compared.map_or(value != wanted, |order| order.is_ne()),
        Some("is-null") => value.is_null(),
        Some("not-null") => !value.is_null(),
        _ => false,
    }
}

/// A bar in the cell, where the column's settings ask for one.
fn bar(drawn: &Drawn<'_>, row: &serde_json::Map<String, Value>, name: &str) -> String {
    if drawn.column(name)["show_mini_bar"] != true {
        return String::new();
    }
    let greatest =
        drawn.answer.rows.iter().filter_map(|row| number(cell(row, name))).fold(0.0_f64, |a, b| a.max(b.abs()));
    let share = number(cell(row, name)).map_or(0.0, |value| if greatest > 0.0 { value.abs() / greatest } else { 0.0 });
    format!("<span class=\"mini\"><span style=\"width:{:.0}%\"></span></span>", share * 100.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::warehouse::ask::Answer;

    #[test]
    fn a_table_shows_its_columns_colours_and_gaps() {
        let row = |text: &str, change: Value| {
            json!({"Name": text, "store_id": "1", "Change": change}).as_object().unwrap().clone()
        };
        let answer = Answer {
            columns: vec!["Name".to_owned(), "store_id".to_owned(), "Change".to_owned()],
            rows: vec![row("<b>", json!(-0.1)), row("B", Value::Null)],
        };
        let settings = json!({
            "table.columns": [{"name": "Name", "enabled": true}, {"name": "store_id", "enabled": false}, {"name": "Change", "enabled": true}],
            "column_settings": {"[\"name\",\"Change\"]": {"number_style": "percent", "decimals": 1}},
            "table.column_formatting": [{"columns": ["Change"], "type": "single", "operator": "<", "value": -0.05, "color": "#EF8C8C"}],
        });
        let html =
            draw(&Drawn { answer: &answer, display: "table", settings: &settings }, Some(("Name", "b.html?a&b")));
        assert!(
            html.contains("<td><a href=\"b.html?a&amp;b\">&lt;b&gt;</a></td><td class=\"right\" style=\"background:#EF8C8CA6\">-10.0%</td>"),
            "{html}"
        );
        assert!(
            html.contains("<td><a href=\"b.html?a&amp;b\">B</a></td><td class=\"right\"></td>")
                && !html.contains("store_id"),
            "{html}"
        );
    }
}
