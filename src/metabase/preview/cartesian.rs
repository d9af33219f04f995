//! Lines, bars, areas and their mixtures. Pure.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;

use super::axis::{Axis, every};
use super::data::{Drawn, cell, number};
use super::number::{day, short, written};
use super::svg::{COLORS, color, escaped, fitted, text, width_of};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Line,
    Bar,
    Area,
}

struct Series {
    /// The column its values come from.
    column: String,
    title: String,
    color: String,
    shape: Shape,
    dash: &'static str,
    right: bool,
    show_values: bool,
    values: Vec<Option<f64>>,
    /// Where each value stands: below, and itself.
    spans: Vec<Option<(f64, f64)>>,
}

/// Draws into a rectangle.
pub(super) fn draw(drawn: &Drawn<'_>, width: f64, height: f64) -> String {
    let (xs, mut series) = series(drawn);
    stack(drawn, &mut series, xs.len());
    let goal = drawn.settings["graph.goal_value"].as_f64().filter(|_| drawn.settings["graph.show_goal"] == true);
    let has_right = series.iter().any(|one| one.right) && series.iter().any(|one| !one.right);
    let ends = |right: bool| {
        let of_axis = series.iter().filter(move |one| !has_right || one.right == right);
        of_axis.flat_map(|one| one.spans.iter().flatten()).flat_map(|(from, to)| [*from, *to])
    };
    let normalized = drawn.settings["stackable.stack_type"] == "normalized";
    let tops =
        series.iter().filter(|one| !has_right || !one.right).flat_map(|one| one.values.iter().flatten().copied());
    let lines_only = series.iter().all(|one| one.shape == Shape::Line);
    let left_axis = if lines_only && drawn.settings["graph.y_axis.unpin_from_zero"] == true {
        Axis::around(tops.chain(goal), 4)
    } else {
        Axis::spanning(ends(false).chain(goal), 4)
    };
    let right_axis = Axis::spanning(ends(true), 4);
    let percent = serde_json::json!({"number_style": "percent", "decimals": 0});
    let format_of = |right: bool| -> &Value {
        let first = series.iter().find(|one| !has_right || one.right == right);
        if normalized { &percent } else { first.map_or(&Value::Null, |one| drawn.column(&one.column)) }
    };
    let (left_format, right_format) = (format_of(false), format_of(true));

    let legend = if series.len() > 1 { 24.0 } else { 6.0 };
    let label_width =
        |axis: &Axis, format: &Value| axis.ticks.iter().map(|tick| width_of(&short(*tick, format))).fold(0.0, f64::max);
    let left = label_width(&left_axis, left_format) + 12.0;
    let right = if has_right { label_width(&right_axis, right_format) + 12.0 } else { 10.0 };
    let (top, bottom) = (legend + 12.0, height - 24.0);
    let plot = (width - left - right).max(10.0);
    let band = plot / xs.len().max(1) as f64;
    let middle = |at: usize| left + band * (at as f64 + 0.5);
    let y_of = |value: f64, right: bool| {
        let axis = if has_right && right { &right_axis } else { &left_axis };
        bottom - axis.share(value) * (bottom - top)
    };

    let mut out = format!(
        "<svg viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">"
    );
    legend_of(&mut out, &series, width);
    for tick in &left_axis.ticks {
        let y = y_of(*tick, false);
        let class = if *tick == left_axis.least.max(0.0) { "base" } else { "grid" };
        let _ = write!(
            out,
            "<line x1=\"{left:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"{class}\"/>",
            left + plot
        );
        out.push_str(&text(left - 7.0, y + 4.0, "end", "tick", &short(*tick, left_format)));
    }
    for tick in right_axis.ticks.iter().filter(|_| has_right) {
        out.push_str(&text(left + plot + 7.0, y_of(*tick, true) + 4.0, "start", "tick", &short(*tick, right_format)));
    }
    let labels = labels(drawn, &xs);
    let step = if labels.len() * 2 > 60 {
        every(&labels, band, width_of)
    } else {
        every(&labels, band, |label| width_of(label).min(96.0))
    };
    for (at, label) in labels.iter().enumerate().filter(|(at, _)| at.is_multiple_of(step)) {
        let shown = fitted(label, (band * step as f64).max(40.0) - 6.0);
        out.push_str(&text(middle(at), height - 7.0, "middle", "tick", &shown));
    }

    let bars: Vec<usize> = (0..series.len()).filter(|at| series[*at].shape == Shape::Bar).collect();
    let stacked = drawn.settings["stackable.stack_type"].is_string();
    let per_band = if stacked { 1.0 } else { bars.len().max(1) as f64 };
    let bar_width = (band * 0.78 / per_band).min(60.0);
    for (place, at) in bars.iter().enumerate() {
        let one = &series[*at];
        for (x, span) in one.spans.iter().enumerate() {
            let Some((from, to)) = span else { continue };
            let offset = if stacked { 0.0 } else { place as f64 - (per_band - 1.0) / 2.0 };
            let start = middle(x) + offset * bar_width - bar_width / 2.0;
            let (y1, y2) = (y_of(from.max(*to), one.right), y_of(from.min(*to), one.right));
            let _ = write!(
                out,
                "<rect x=\"{start:.1}\" y=\"{y1:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\">{}</rect>",
                (bar_width - 1.5).max(0.6),
                (y2 - y1).max(0.4),
                one.color,
                hint(drawn, one, &labels[x], one.values[x])
            );
        }
        let offset = if stacked { 0.0 } else { place as f64 - (per_band - 1.0) / 2.0 };
        let places: Vec<f64> = (0..xs.len()).map(|x| middle(x) + offset * bar_width).collect();
        values_of(&mut out, drawn, one, &places, if stacked { band } else { band / per_band.max(1.0) }, &y_of);
    }
    for one in series.iter().filter(|one| one.shape != Shape::Bar) {
        lines(&mut out, one, &middle, &y_of);
        for (x, value) in one.values.iter().enumerate() {
            if let (Some((_, to)), true) = (one.spans[x], xs.len() <= 40) {
                let _ = write!(
                    out,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"#fff\" stroke=\"{}\" stroke-width=\"2\">{}</circle>",
                    middle(x),
                    y_of(to, one.right),
                    one.color,
                    hint(drawn, one, &labels[x], *value)
                );
            }
        }
        let places: Vec<f64> = (0..xs.len()).map(middle).collect();
        values_of(&mut out, drawn, one, &places, band, &y_of);
    }
    if let Some(goal) = goal {
        let y = y_of(goal, false);
        let label = drawn.settings["graph.goal_label"].as_str().unwrap_or("Goal");
        let words = format!("{label}: {}", short(goal, left_format));
        let _ = write!(
            out,
            "<line x1=\"{left:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" class=\"goal\"/>",
            left + plot
        );
        out.push_str(&text(left + plot - 4.0, y - 5.0, "end", "goal-label", &words));
    }
    out.push_str("</svg>");
    out
}

/// Reads the settings and the answer into series over the same places.
fn series(drawn: &Drawn<'_>) -> (Vec<Value>, Vec<Series>) {
    let dimensions = drawn.names("graph.dimensions");
    let metrics = drawn.names("graph.metrics");
    let x = dimensions.first().copied().unwrap_or_default();
    let mut xs: Vec<Value> = Vec::new();
    let mut seen = BTreeSet::new();
    for row in &drawn.answer.rows {
        let value = cell(row, x).clone();
        if seen.insert(value.to_string()) {
            xs.push(value);
        }
    }
    let place = |row: &serde_json::Map<String, Value>| xs.iter().position(|known| known == cell(row, x));
    let mut all = Vec::new();
    if let (Some(split), Some(metric)) = (dimensions.get(1), metrics.first()) {
        let mut parts: Vec<Value> = Vec::new();
        for row in &drawn.answer.rows {
            if !parts.contains(cell(row, split)) {
                parts.push(cell(row, split).clone());
            }
        }
        for part in parts {
            let mut values = vec![None; xs.len()];
            for row in drawn.answer.rows.iter().filter(|row| *cell(row, split) == part) {
                if let Some(at) = place(row) {
                    values[at] = number(cell(row, metric));
                }
            }
            let name = written(&part, drawn.column(split));
            all.push(one(drawn, all.len(), metric, name.clone(), &name, values));
        }
    } else {
        for metric in metrics {
            let mut values = vec![None; xs.len()];
            for row in &drawn.answer.rows {
                if let Some(at) = place(row) {
                    values[at] = number(cell(row, metric));
                }
            }
            all.push(one(drawn, all.len(), metric, drawn.title(metric), metric, values));
        }
    }
    (xs, all)
}

fn one(drawn: &Drawn<'_>, at: usize, column: &str, title: String, key: &str, values: Vec<Option<f64>>) -> Series {
    let settings = &drawn.settings["series_settings"][key];
    let shape = |name: &str| match name {
        "bar" | "waterfall" => Shape::Bar,
        "area" => Shape::Area,
        _ => Shape::Line,
    };
    let default = match drawn.display {
        "combo" if at == 0 => "bar",
        "combo" => "line",
        other => other,
    };
    Series {
        column: column.to_owned(),
        title: settings["title"].as_str().map_or(title, str::to_owned),
        color: settings["color"].as_str().and_then(color).unwrap_or(COLORS[at % COLORS.len()]).to_owned(),
        shape: shape(settings["display"].as_str().unwrap_or(default)),
        dash: match settings["line.style"].as_str() {
            Some("dashed") => "6 4",
            Some("dotted") => "2 3",
            _ => "",
        },
        right: settings["axis"] == "right",
        show_values: drawn.settings["graph.show_values"] == true && settings["show_series_values"] != false,
        spans: values.iter().map(|value| value.map(|value| (0.0, value))).collect(),
        values,
    }
}

/// Puts bars and areas on each other, where the settings say so.
fn stack(drawn: &Drawn<'_>, series: &mut [Series], places: usize) {
    let kind = drawn.settings["stackable.stack_type"].as_str();
    let Some(kind) = kind else { return };
    for at in 0..places {
        let total: f64 = series.iter().filter(|one| one.shape != Shape::Line).filter_map(|one| one.values[at]).sum();
        let scale = if kind == "normalized" && total != 0.0 { 1.0 / total } else { 1.0 };
        let mut below = 0.0;
        for one in series.iter_mut().filter(|one| one.shape != Shape::Line) {
            if let Some(value) = one.values[at] {
                one.spans[at] = Some((below, below + value * scale));
                below += value * scale;
            }
        }
    }
}

/// Writes the places of the x axis: days short, with the year where it is long.
fn labels(drawn: &Drawn<'_>, xs: &[Value]) -> Vec<String> {
    let dimension = drawn.names("graph.dimensions").first().copied().unwrap_or_default();
    let ordinal = drawn.settings["graph.x_axis.scale"] == "ordinal";
    xs.iter()
        .map(|x| match day(x) {
            Some(day) if !ordinal && xs.len() <= 16 => day.format("%a %b %-d").to_string(),
            Some(day) if xs.len() <= 60 => day.format("%b %-d").to_string(),
            Some(day) => day.format("%b %-d, %y").to_string(),
            None if x.is_null() => "(none)".to_owned(),
            None => written(x, drawn.column(dimension)),
        })
        .collect()
}

fn legend_of(out: &mut String, series: &[Series], width: f64) {
    if series.len() < 2 {
        return;
    }
    let mut x = 8.0;
    for one in series {
        let needed = width_of(&one.title) + 34.0;
        if x + needed > width {
            break;
        }
        let _ = match one.shape {
            Shape::Line => write!(
                out,
                "<line x1=\"{x:.1}\" x2=\"{:.1}\" y1=\"11\" y2=\"11\" stroke=\"{}\" stroke-width=\"2.5\" stroke-dasharray=\"{}\"/>",
                x + 15.0,
                one.color,
                one.dash
            ),
            _ => write!(
                out,
                "<rect x=\"{:.1}\" y=\"6\" width=\"10\" height=\"10\" rx=\"2\" fill=\"{}\"/>",
                x + 4.0,
                one.color
            ),
        };
        out.push_str(&text(x + 20.0, 15.0, "start", "legend", &one.title));
        x += needed;
    }
}

/// Draws a line, broken where values are missing; fills what is below an area.
fn lines(out: &mut String, one: &Series, middle: &impl Fn(usize) -> f64, y_of: &impl Fn(f64, bool) -> f64) {
    let mut runs: Vec<Vec<(f64, f64, f64)>> = vec![Vec::new()];
    for (at, span) in one.spans.iter().enumerate() {
        match (span, runs.last_mut()) {
            (Some((from, to)), Some(run)) => run.push((middle(at), y_of(*from, one.right), y_of(*to, one.right))),
            _ => runs.push(Vec::new()),
        }
    }
    for run in runs.iter().filter(|run| !run.is_empty()) {
        let path = |points: &mut dyn Iterator<Item = (f64, f64)>| {
            points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" L")
        };
        let upper = path(&mut run.iter().map(|(x, _, y)| (*x, *y)));
        if one.shape == Shape::Area {
            let lower = path(&mut run.iter().rev().map(|(x, y, _)| (*x, *y)));
            let _ = write!(out, "<path d=\"M{upper} L{lower} Z\" fill=\"{}\" fill-opacity=\"0.3\"/>", one.color);
        }
        let _ = write!(
            out,
            "<path d=\"M{upper}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" stroke-dasharray=\"{}\"/>",
            one.color, one.dash
        );
    }
}

/// Writes values above their marks, and leaves out those that would touch.
fn values_of(
    out: &mut String,
    drawn: &Drawn<'_>,
    one: &Series,
    places: &[f64],
    place: f64,
    y_of: &impl Fn(f64, bool) -> f64,
) {
    if !one.show_values {
        return;
    }
    let format = drawn.column(&one.column);
    let labels: Vec<String> =
        one.values.iter().map(|value| value.map_or_else(String::new, |value| short(value, format))).collect();
    let step = every(&labels, place, |label| width_of(label) - 8.0);
    for (at, label) in labels.iter().enumerate().filter(|(at, label)| at.is_multiple_of(step) && !label.is_empty()) {
        if let Some((_, to)) = one.spans[at] {
            out.push_str(&text(places[at], y_of(to, one.right) - 6.0, "middle", "value", label));
        }
    }
}

/// What a reader sees when she points at a mark.
fn hint(drawn: &Drawn<'_>, one: &Series, label: &str, value: Option<f64>) -> String {
    let value = value.map_or_else(String::new, |value| written(&serde_json::json!(value), drawn.column(&one.column)));
    format!("<title>{}</title>", escaped(&format!("{label} · {}: {value}", one.title)))
}
