//! Bars that lie, one under the other. Pure.

use std::fmt::Write as _;

use super::axis::Axis;
use super::data::{Drawn, cell, number};
use super::number::written;
use super::svg::{COLORS, color, escaped, fitted, text, width_of};

/// Draws into a rectangle; rows that have no place are counted below.
pub(super) fn draw(drawn: &Drawn<'_>, width: f64, height: f64) -> String {
    let dimension = drawn.names("graph.dimensions").first().copied().unwrap_or_default();
    let metrics = drawn.names("graph.metrics");
    let most = ((height - 10.0) / 20.0).floor().max(1.0) as usize;
    let rows = &drawn.answer.rows;
    let shown = if rows.len() > most { most.saturating_sub(1).max(1) } else { rows.len() };
    let names: Vec<String> =
        rows[..shown].iter().map(|row| written(cell(row, dimension), drawn.column(dimension))).collect();
    let left = names.iter().map(|name| width_of(name)).fold(0.0, f64::max).min(width * 0.34) + 14.0;
    let goal = drawn.settings["graph.goal_value"].as_f64().filter(|_| drawn.settings["graph.show_goal"] == true);
    let values = rows[..shown].iter().flat_map(|row| metrics.iter().filter_map(|metric| number(cell(row, metric))));
    let axis = Axis::spanning(values.chain(goal), 5);
    let plot = (width - left - 66.0).max(10.0);
    let x_of = |value: f64| left + axis.share(value) * plot;
    let lines = if shown < rows.len() { shown + 1 } else { shown };
    let band = ((height - 8.0) / lines.max(1) as f64).min(34.0);
    let mut out = format!(
        "<svg viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">"
    );
    for (at, row) in rows[..shown].iter().enumerate() {
        let top = 4.0 + at as f64 * band;
        out.push_str(&text(left - 8.0, top + band / 2.0 + 4.0, "end", "tick", &fitted(&names[at], left - 14.0)));
        let thick = (band * 0.72 / metrics.len().max(1) as f64).min(24.0);
        for (which, metric) in metrics.iter().enumerate() {
            let Some(value) = number(cell(row, metric)) else { continue };
            let fill = drawn.settings["series_settings"][*metric]["color"].as_str().and_then(color);
            let (from, to) = (x_of(value.min(0.0)), x_of(value.max(0.0)));
            let y = top + band * 0.14 + which as f64 * thick;
            let words = written(cell(row, metric), drawn.column(metric));
            let title = escaped(&format!("{} · {}: {words}", names[at], drawn.title(metric)));
            let _ = write!(
                out,
                "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"1.5\" fill=\"{}\"><title>{title}</title></rect>",
                (to - from).max(0.6),
                (thick - 1.0).max(1.0),
                fill.unwrap_or(COLORS[which % COLORS.len()]),
            );
            if drawn.settings["graph.show_values"] == true {
                out.push_str(&text(to + 6.0, y + thick / 2.0 + 3.5, "start", "value", &words));
            }
        }
    }
    if shown < rows.len() {
        let y = 4.0 + shown as f64 * band + band / 2.0 + 4.0;
        out.push_str(&text(left, y, "start", "tick", &format!("… and {} more", rows.len() - shown)));
    }
    if let (Some(goal), Some(metric)) = (goal, metrics.first()) {
        let x = x_of(goal);
        let bottom = 4.0 + shown as f64 * band;
        let _ = write!(out, "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"2\" y2=\"{bottom:.1}\" class=\"goal\"/>");
        let label = drawn.settings["graph.goal_label"].as_str().unwrap_or("Goal");
        let words = format!("{label}: {}", written(&serde_json::json!(goal), drawn.column(metric)));
        out.push_str(&text(x, (bottom + 12.0).min(height - 2.0), "middle", "goal-label", &words));
    }
    out.push_str("</svg>");
    out
}
