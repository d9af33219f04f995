//! One number: alone, against others, against a goal. Pure.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::data::{Drawn, cell, number};
use super::number::written;
use super::svg::{color, escaped};

/// The value of the first row, or `None` where it is missing.
pub(super) fn scalar(drawn: &Drawn<'_>, width: f64) -> Option<String> {
    let field = drawn.settings["scalar.field"].as_str().or(drawn.answer.columns.first().map(String::as_str))?;
    let words = written(cell(drawn.answer.rows.first()?, field), drawn.column(field));
    if words.is_empty() {
        return None;
    }
    // As wide as it gets, within reason.
    let size = (width / (words.chars().count() as f64 * 0.56)).clamp(13.0, 40.0);
    Some(format!("<div class=\"scalar\" style=\"font-size:{size:.0}px\">{}</div>", escaped(&words)))
}

/// The value of the last row, and how it changed.
pub(super) fn smart_scalar(drawn: &Drawn<'_>, width: f64) -> Option<String> {
    let rows = &drawn.answer.rows;
    let row = rows.last()?;
    let field = drawn.settings["scalar.field"].as_str()?;
    let value = number(cell(row, field))?;
    let words = written(cell(row, field), drawn.column(field));
    let size = (width / (words.chars().count() as f64 * 0.9)).clamp(22.0, 44.0);
    let mut out =
        format!("<div class=\"smart\"><div class=\"number\" style=\"font-size:{size:.0}px\">{}</div>", escaped(&words));
    let first = drawn.answer.columns.iter().find(|column| column.as_str() != field);
    if let Some(day) = first.and_then(|column| super::number::day(cell(row, column))) {
        let _ = write!(out, "<div class=\"when\">{}</div>", day.format("%A, %B %-d, %Y"));
    }
    for comparison in drawn.settings["scalar.comparisons"].as_array().into_iter().flatten() {
        let column = comparison["column"].as_str().unwrap_or_default();
        let (other, label) = match comparison["type"].as_str() {
            Some("anotherColumn") => (number(cell(row, column)), comparison["label"].as_str().unwrap_or(column)),
            Some("staticNumber") => (number(&comparison["value"]), comparison["label"].as_str().unwrap_or("goal")),
            _ => (rows.len().checked_sub(2).and_then(|at| number(cell(&rows[at], field))), "the one before"),
        };
        out.push_str(&change(drawn, value, other, label, field));
    }
    out.push_str("</div>");
    Some(out)
}

fn change(drawn: &Drawn<'_>, value: f64, other: Option<f64>, label: &str, field: &str) -> String {
    let label = escaped(label);
    let Some(other) = other else {
        return format!(
            "<div class=\"compare\"><span class=\"flat\">N/A</span> vs. {label}: <span>(empty)</span></div>"
        );
    };
    let reference = escaped(&written(&json!(other), drawn.column(field)));
    if other == 0.0 {
        return format!("<div class=\"compare\"><span class=\"flat\">N/A</span> vs. {label}: {reference}</div>");
    }
    let ratio = value / other - 1.0;
    let good = (ratio > 0.0) != (drawn.settings["scalar.switch_positive_negative"] == true);
    let (class, arrow) = match ratio {
        _ if ratio.abs() < 0.000_5 => ("flat", "no change"),
        _ if ratio > 0.0 => (if good { "up" } else { "down" }, "▲"),
        _ => (if good { "up" } else { "down" }, "▼"),
    };
    let percent = written(&json!(ratio.abs()), &json!({"number_style": "percent", "decimals": 1}));
    format!("<div class=\"compare\"><span class=\"{class}\">{arrow} {percent}</span> vs. {label}: {reference}</div>")
}

/// A value on its way to a goal.
pub(super) fn progress(drawn: &Drawn<'_>) -> Option<String> {
    let row = drawn.answer.rows.first()?;
    let field = drawn.settings["progress.value"].as_str();
    let field = field
        .or_else(|| drawn.answer.columns.iter().map(String::as_str).find(|name| number(cell(row, name)).is_some()))?;
    let value = number(cell(row, field))?;
    let goal = match &drawn.settings["progress.goal"] {
        Value::String(column) => number(cell(row, column)),
        other => number(other),
    }?;
    let share = if goal > 0.0 { value / goal } else { return None };
    let fill = drawn.settings["progress.color"].as_str().and_then(color).unwrap_or("#84BB4C");
    let reached = written(&json!(share), &json!({"number_style": "percent", "decimals": 0}));
    Some(format!(
        "<div class=\"progress\"><div class=\"number\">{}</div><div class=\"bar\"><div style=\"width:{:.1}%;background:{fill}\"></div></div><div class=\"ends\"><span>{reached}</span><span>Goal {}</span></div></div>",
        escaped(&written(cell(row, field), drawn.column(field))),
        (share * 100.0).clamp(0.0, 100.0),
        escaped(&written(&json!(goal), drawn.column(field))),
    ))
}
