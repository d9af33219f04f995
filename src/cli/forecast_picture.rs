//! A forecast as a picture: history, what is to come, the bands around it, holidays.

use std::fmt::Write as _;

use chrono::{Datelike as _, NaiveDate};

use crate::pipelines::{EffectShown, Shown};

const WIDTH: f64 = 1100.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 64.0;
const BOTTOM: f64 = 40.0;

/// The plane of the picture: days to the right, amounts upwards.
struct Plane {
    first: NaiveDate,
    days: f64,
    top: f64,
}

impl Plane {
    fn x(&self, day: NaiveDate) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (day - self.first).num_days() as f64 / self.days.max(1.0)
    }

    fn y(&self, value: f64) -> f64 {
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - value / self.top)
    }

    fn line(&self, points: impl Iterator<Item = (NaiveDate, f64)>) -> String {
        points.map(|(day, value)| format!("{:.1},{:.1}", self.x(day), self.y(value))).collect::<Vec<_>>().join(" ")
    }
}

/// A step between grid lines that people count in: 1, 2 or 5 times a power of ten.
fn step(top: f64) -> f64 {
    let rough = top / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * power).find(|step| *step >= rough).unwrap_or(rough)
}

/// Draws it as SVG.
pub(super) fn picture(standing: &Shown, effects: &[EffectShown]) -> String {
    let ahead = &standing.ahead;
    let days = standing.history.iter().map(|day| day.date).chain(ahead.iter().map(|day| day.date));
    let (first, last) =
        days.fold((standing.made_on, standing.made_on), |(first, last), day| (first.min(day), last.max(day)));
    let highest =
        standing.history.iter().map(|day| day.value).chain(ahead.iter().map(|day| day.upper_95)).fold(1.0, f64::max);
    let plane = Plane { first, days: (last - first).num_days() as f64, top: highest * 1.05 };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let title = format!("{} of store {} ({})", standing.series.replace('_', " "), standing.store_id, standing.brand);
    text(&mut svg, LEFT, 22.0, "start", "font-size=\"16\" font-weight=\"bold\"", &title);
    let model = standing.model.as_deref().unwrap_or("withheld").replace('_', " ");
    let tested = standing.wape.map_or(String::new(), |wape| format!(", off by {:.1} % in tests", wape * 100.0));
    let flags = if standing.flags.is_empty() {
        String::new()
    } else {
        format!("; {}", standing.flags.join(", ").replace('_', " "))
    };
    let said = format!("as of {}: {model}{tested}{flags}", standing.made_on);
    text(&mut svg, LEFT, 40.0, "start", "fill=\"#666\"", &said);
    grid(&mut svg, &plane, last);
    for (low, high, fill) in [(95, true, "#dbe7f6"), (80, true, "#b5cfee")].map(|(percent, _, fill)| {
        let bounds = |day: &crate::pipelines::Ahead| {
            if percent == 95 { (day.lower_95, day.upper_95) } else { (day.lower_80, day.upper_80) }
        };
        let low = ahead.iter().map(|day| (day.date, bounds(day).0)).collect::<Vec<_>>();
        let high = ahead.iter().rev().map(|day| (day.date, bounds(day).1)).collect::<Vec<_>>();
        (low, high, fill)
    }) {
        let points = plane.line(low.into_iter().chain(high));
        let _never = writeln!(svg, "<polygon points=\"{points}\" fill=\"{fill}\"/>");
    }
    // A day that nobody reported is a gap in the line.
    for run in standing.history.chunk_by(|one, next| (next.date - one.date).num_days() == 1) {
        let points = plane.line(run.iter().map(|day| (day.date, day.value)));
        let _never =
            writeln!(svg, "<polyline points=\"{points}\" fill=\"none\" stroke=\"#444\" stroke-width=\"1.2\"/>");
        for day in run {
            let _never = writeln!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"1.8\" fill=\"#444\"><title>{} {:.0}</title></circle>",
                plane.x(day.date),
                plane.y(day.value),
                day.date,
                day.value
            );
        }
    }
    let points = plane.line(ahead.iter().map(|day| (day.date, day.mean)));
    let _never = writeln!(svg, "<polyline points=\"{points}\" fill=\"none\" stroke=\"#1a5fb4\" stroke-width=\"2\"/>");
    for day in ahead {
        if let Some(holiday) = day.because.iter().find(|reason| reason.part == "holiday" && reason.amount.abs() > 0.03)
        {
            let by = if holiday.multiplies {
                format!("{:+.0} %", (holiday.amount.exp() - 1.0) * 100.0)
            } else {
                format!("{:+.0}", holiday.amount)
            };
            mark(&mut svg, &plane, day.date, &by);
        }
    }
    let largest: Vec<String> = effects
        .iter()
        .filter(|effect| effect.effect.starts_with("holiday"))
        .take(3)
        .map(|effect| {
            format!("{} {:+.0} %", effect.effect.trim_start_matches("holiday:"), (effect.estimate.exp() - 1.0) * 100.0)
        })
        .collect();
    if !largest.is_empty() {
        text(
            &mut svg,
            WIDTH - RIGHT,
            22.0,
            "end",
            "fill=\"#a3590a\"",
            &format!("strongest holidays: {}", largest.join(", ")),
        );
    }
    text(&mut svg, WIDTH - RIGHT, 40.0, "end", "fill=\"#1a5fb4\"", "forecast, with the bands of 80 and 95 of 100 days");
    svg.push_str("</svg>\n");
    svg
}

fn grid(svg: &mut String, plane: &Plane, last: NaiveDate) {
    let step = step(plane.top);
    let mut value = 0.0;
    while value <= plane.top {
        let y = plane.y(value);
        let _never = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#e4e4e4\"/>",
            WIDTH - RIGHT
        );
        text(svg, LEFT - 8.0, y + 4.0, "end", "fill=\"#666\"", &super::output::grouped(value as u64));
        value += step;
    }
    let weeks = (plane.days / 7.0).ceil() as i64;
    let every = (weeks / 14).max(1) as usize;
    let mondays =
        plane.first.iter_days().take_while(|day| *day <= last).filter(|day| day.weekday().num_days_from_monday() == 0);
    for monday in mondays.step_by(every) {
        let x = plane.x(monday);
        let _never = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{}\" stroke=\"#f0f0f0\"/>",
            HEIGHT - BOTTOM
        );
        text(svg, x, HEIGHT - BOTTOM + 18.0, "middle", "fill=\"#666\"", &monday.format("%-d %b").to_string());
    }
}

fn mark(svg: &mut String, plane: &Plane, day: NaiveDate, by: &str) {
    let x = plane.x(day);
    let _never = writeln!(
        svg,
        "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"#c77d22\" stroke-dasharray=\"3 3\"/>",
        TOP + 8.0,
        HEIGHT - BOTTOM
    );
    text(svg, x, TOP + 4.0, "middle", "fill=\"#a3590a\" font-size=\"10\"", by);
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, style: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _never = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{words}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grid_lines_are_round() {
        assert_eq!([7.0, 93.0, 1200.0, 26_000.0].map(step), [2.0, 20.0, 500.0, 10_000.0]);
    }
}
