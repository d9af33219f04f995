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
/// What the words above a day need.
const MARK_WIDTH: f64 = 34.0;

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

/// What is drawn.
#[derive(Debug, Default)]
pub(super) struct Drawing {
    /// What it is of.
    pub(super) title: String,
    /// When it was made and how far it is to be trusted.
    pub(super) said: String,
    /// In the corner: what else there is to know.
    pub(super) remark: String,
    /// What was known.
    pub(super) history: Vec<(NaiveDate, f64)>,
    /// What came after, where that is known.
    pub(super) came: Vec<(NaiveDate, f64)>,
    /// What is to come.
    pub(super) ahead: Vec<Day>,
}

/// One day to come.
#[derive(Debug)]
pub(super) struct Day {
    pub(super) date: NaiveDate,
    pub(super) mean: f64,
    pub(super) bounds_80: (f64, f64),
    pub(super) bounds_95: (f64, f64),
    /// What is said above it: the effect of a holiday.
    pub(super) mark: Option<Mark>,
}

/// What is said above a day, and how much it matters.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    weight: f64,
    words: String,
}

/// A holiday's part in a number, if anybody can see it.
pub(super) fn mark_of(part: &str, amount: f64, multiplies: bool) -> Option<Mark> {
    let seen = part == "holiday" && amount.abs() > 0.03;
    let words = if multiplies { format!("{:+.0} %", (amount.exp() - 1.0) * 100.0) } else { format!("{amount:+.0}") };
    seen.then(|| Mark { weight: amount.abs(), words })
}

impl Drawing {
    /// A store's forecast as it stands.
    pub(super) fn of(standing: &Shown, effects: &[EffectShown]) -> Self {
        let model = standing.model.as_deref().unwrap_or("withheld").replace('_', " ");
        let tested = standing.wape.map_or(String::new(), |wape| format!(", off by {:.1} % in tests", wape * 100.0));
        let flags = if standing.flags.is_empty() {
            String::new()
        } else {
            format!("; {}", standing.flags.join(", ").replace('_', " "))
        };
        let largest: Vec<String> = effects
            .iter()
            .filter(|effect| effect.effect.starts_with("holiday"))
            .take(3)
            .map(|effect| {
                let name = effect.effect.trim_start_matches("holiday:");
                format!("{name} {:+.0} %", (effect.estimate.exp() - 1.0) * 100.0)
            })
            .collect();
        let mark = |day: &crate::pipelines::Ahead| {
            day.because.iter().find_map(|reason| mark_of(&reason.part, reason.amount, reason.multiplies))
        };
        Self {
            title: format!("{} of store {} ({})", standing.series.replace('_', " "), standing.store_id, standing.brand),
            said: format!("as of {}: {model}{tested}{flags}", standing.made_on),
            remark: if largest.is_empty() {
                String::new()
            } else {
                format!("strongest holidays: {}", largest.join(", "))
            },
            history: standing.history.iter().map(|day| (day.date, day.value)).collect(),
            came: Vec::new(),
            ahead: standing
                .ahead
                .iter()
                .map(|day| Day {
                    date: day.date,
                    mean: day.mean,
                    bounds_80: (day.lower_80, day.upper_80),
                    bounds_95: (day.lower_95, day.upper_95),
                    mark: mark(day),
                })
                .collect(),
        }
    }
}

/// Draws it as SVG.
pub(super) fn picture(drawing: &Drawing) -> String {
    let Drawing { title, said, remark, history, came, ahead } = drawing;
    let mut days = history.iter().chain(came).map(|(day, _)| *day).chain(ahead.iter().map(|day| day.date));
    let start = days.next().unwrap_or_default();
    let (first, last) = days.fold((start, start), |(first, last), day| (first.min(day), last.max(day)));
    let values = history.iter().chain(came).map(|(_, value)| *value);
    let highest = values.chain(ahead.iter().map(|day| day.bounds_95.1)).fold(1.0, f64::max);
    let plane = Plane { first, days: (last - first).num_days() as f64, top: highest * 1.05 };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    text(&mut svg, LEFT, 22.0, "start", "font-size=\"16\" font-weight=\"bold\"", title);
    text(&mut svg, LEFT, 40.0, "start", "fill=\"#666\"", said);
    grid(&mut svg, &plane, last);
    band(&mut svg, &plane, "#dbe7f6", ahead.iter().map(|day| (day.date, day.bounds_95)));
    band(&mut svg, &plane, "#b5cfee", ahead.iter().map(|day| (day.date, day.bounds_80)));
    past(&mut svg, &plane, history, "#444");
    let points = plane.line(ahead.iter().map(|day| (day.date, day.mean)));
    let _never = writeln!(svg, "<polyline points=\"{points}\" fill=\"none\" stroke=\"#1a5fb4\" stroke-width=\"2\"/>");
    past(&mut svg, &plane, came, "#b3261e");
    let marks: Vec<(f64, &Mark)> =
        ahead.iter().filter_map(|day| Some((plane.x(day.date), day.mark.as_ref()?))).collect();
    for (x, mark) in &marks {
        // Words do not run into each other: of neighbours, the strongest has its say.
        let first = marks.iter().all(|(other, one)| (other - x).abs() > MARK_WIDTH || one.weight <= mark.weight);
        draw_mark(&mut svg, *x, if first { &mark.words } else { "" });
    }
    text(&mut svg, WIDTH - RIGHT, 22.0, "end", "fill=\"#a3590a\"", remark);
    text(&mut svg, WIDTH - RIGHT, 40.0, "end", "fill=\"#1a5fb4\"", "forecast, with the bands of 80 and 95 of 100 days");
    if !came.is_empty() {
        text(&mut svg, WIDTH - RIGHT, 54.0, "end", "fill=\"#b3261e\"", "what came");
    }
    svg.push_str("</svg>\n");
    svg
}

fn band(
    svg: &mut String,
    plane: &Plane,
    color: &str,
    bounds: impl DoubleEndedIterator<Item = (NaiveDate, (f64, f64))> + Clone,
) {
    let low = bounds.clone().map(|(day, bounds)| (day, bounds.0));
    let high = bounds.rev().map(|(day, bounds)| (day, bounds.1));
    let points = plane.line(low.chain(high));
    let _never = writeln!(svg, "<polygon points=\"{points}\" fill=\"{color}\"/>");
}

/// Days that were. One that nobody reported is a gap in the line.
fn past(svg: &mut String, plane: &Plane, days: &[(NaiveDate, f64)], color: &str) {
    for run in days.chunk_by(|one, next| (next.0 - one.0).num_days() == 1) {
        let points = plane.line(run.iter().copied());
        let _never =
            writeln!(svg, "<polyline points=\"{points}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.2\"/>");
        for (day, value) in run {
            let (x, y) = (plane.x(*day), plane.y(*value));
            let _never = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"1.8\" fill=\"{color}\"><title>{day} {value:.0}</title></circle>"
            );
        }
    }
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

fn draw_mark(svg: &mut String, x: f64, words: &str) {
    let _never = writeln!(
        svg,
        "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"#c77d22\" stroke-dasharray=\"3 3\"/>",
        TOP + 8.0,
        HEIGHT - BOTTOM
    );
    text(svg, x, TOP + 4.0, "middle", "fill=\"#a3590a\" font-size=\"10\"", words);
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
