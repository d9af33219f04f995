//! One dashboard as a page. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::data::Drawn;
use super::svg::escaped;
use super::{cartesian, rows, single, table};
use crate::metabase::clicks::Click;
use crate::metabase::desired::{Card, Dashboard, Place, Shows};
use crate::warehouse::ask::Answer;

/// What a question came to.
pub(super) enum Outcome {
    Given(Answer),
    /// PostgreSQL refused it; what it said.
    Failed(String),
}

/// How a card turned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drawing {
    Full,
    Empty,
    Failed,
}

/// A dashboard with what it shows.
pub(super) struct Sheet<'a> {
    pub(super) dashboard: &'a Dashboard,
    /// The scope's name for people.
    pub(super) place: &'a str,
    pub(super) made_at: &'a str,
    pub(super) cards: BTreeMap<&'a str, (&'a Card, Outcome)>,
    /// Where the pages of other dashboards are, by key.
    pub(super) pages: &'a BTreeMap<String, String>,
}

const STYLE: &str = include_str!("page.css");
/// Width of a column and height of a row of the grid, and the gap between.
const COLUMN: f64 = (1200.0 - 23.0 * GAP) / 24.0;
const ROW: f64 = 40.0;
const GAP: f64 = 10.0;

/// Frames a body.
pub(super) fn document(title: &str, body: &str) -> String {
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <style>{STYLE}</style></head>\n<body><main>{body}</main></body></html>\n"
    )
}

impl Sheet<'_> {
    /// Writes the page, and says how each card turned out, by its key.
    pub(super) fn html(&self) -> (String, Vec<(String, Drawing)>) {
        let mut drawings = Vec::new();
        let dashboard = self.dashboard;
        let mut body = format!(
            "<header><div class=\"place\">{}</div><h1>{}</h1><p>{}</p></header>\
             <div class=\"notice\">Preview of {} from the same queries and settings that Metabase gets, read as the scope's own database role. Metabase draws them a little differently.</div>",
            escaped(self.place),
            escaped(&dashboard.name),
            escaped(&dashboard.description),
            escaped(self.made_at),
        );
        if !dashboard.parameters.is_empty() {
            body.push_str("<div class=\"filters\">");
            for parameter in &dashboard.parameters {
                let chosen = parameter.default.as_deref().unwrap_or("all");
                let _ = write!(
                    body,
                    "<div class=\"filter\">{} <span>{}</span></div>",
                    escaped(&parameter.title),
                    escaped(chosen)
                );
            }
            body.push_str("</div>");
        }
        if dashboard.tabs.is_empty() {
            body.push_str(&self.grid(None, &mut drawings));
        } else {
            body.push_str("<nav>");
            for (at, tab) in dashboard.tabs.iter().enumerate() {
                let _ = write!(body, "<a href=\"#tab{at}\">{}</a>", escaped(tab));
            }
            body.push_str("</nav>");
            for (at, tab) in dashboard.tabs.iter().enumerate() {
                let _ = write!(
                    body,
                    "<h2 class=\"tab\" id=\"tab{at}\">{}</h2>{}",
                    escaped(tab),
                    self.grid(Some(at), &mut drawings)
                );
            }
        }
        body.push_str("<div class=\"meanings\">");
        for (card, _) in self.cards.values() {
            let _ = write!(body, "<div><b>{}.</b> {}</div>", escaped(&card.name), escaped(&card.description));
        }
        body.push_str("</div>");
        (document(&dashboard.name, &body), drawings)
    }

    fn grid(&self, tab: Option<usize>, drawings: &mut Vec<(String, Drawing)>) -> String {
        let mut out = "<div class=\"grid\">".to_owned();
        for place in self.dashboard.places.iter().filter(|place| place.tab == tab) {
            let at = format!(
                "grid-column:{}/span {};grid-row:{}/span {}",
                place.col + 1,
                place.size_x,
                place.row + 1,
                place.size_y
            );
            let _ = match &place.shows {
                Shows::Heading(text) => {
                    write!(
                        out,
                        "<div class=\"card plain\" style=\"{at}\"><div class=\"heading\">{}</div></div>",
                        escaped(text)
                    )
                }
                Shows::Text(text) => {
                    write!(out, "<div class=\"card plain words\" style=\"{at}\">{}</div>", markdown(text))
                }
                Shows::Links(links) => {
                    let one = |(title, key): &(String, String)| match self.pages.get(key) {
                        Some(page) => format!("<a href=\"{}\">{}</a>", escaped(page), escaped(title)),
                        None => escaped(title),
                    };
                    let links: Vec<String> = links.iter().map(one).collect();
                    write!(out, "<div class=\"card plain words\" style=\"{at}\"><p>{}</p></div>", links.join(" · "))
                }
                Shows::Card(key) => {
                    let (html, drawing) = self.card(key, place);
                    drawings.push((key.clone(), drawing));
                    write!(out, "<div class=\"card\" style=\"{at}\">{html}</div>")
                }
            };
        }
        out.push_str("</div>");
        out
    }

    fn card(&self, key: &str, place: &Place) -> (String, Drawing) {
        let Some((card, outcome)) = self.cards.get(key) else {
            return ("<div class=\"wrong\">the question is missing</div>".to_owned(), Drawing::Failed);
        };
        let title = format!("<h3 title=\"{}\">{}</h3>", escaped(&card.description), escaped(&card.name));
        let wrong = |words: &str| {
            let html = format!("{title}<div class=\"draw\"><div class=\"wrong\">{}</div></div>", escaped(words));
            (html, Drawing::Failed)
        };
        let answer = match outcome {
            Outcome::Given(answer) => answer,
            Outcome::Failed(words) => return wrong(&format!("PostgreSQL refuses the query: {words}")),
        };
        let drawn = Drawn { answer, display: &card.display, settings: &card.visualization };
        let missing = drawn.missing();
        if !missing.is_empty() {
            return wrong(&format!(
                "the front matter names columns that the query does not have: {}; it has {}",
                missing.join(", "),
                answer.columns.join(", ")
            ));
        }
        let clicked = place.click.iter().flat_map(Click::columns);
        let unknown: Vec<&str> =
            clicked.filter(|column| !answer.columns.contains(column)).map(String::as_str).collect();
        if !unknown.is_empty() {
            return wrong(&format!("the click names columns that the query does not have: {}", unknown.join(", ")));
        }
        let opens = place.click.as_ref().and_then(|click| Some((click, self.pages.get(click.dashboard.as_ref()?)?)));
        let link = opens.and_then(|(click, page)| Some((click.column.as_deref()?, page.as_str())));
        let title = match opens.filter(|(click, _)| click.column.is_none()) {
            Some((_, page)) => format!("<a href=\"{}\">{title}</a>", escaped(page)),
            None => title,
        };
        let empty = |words: &str| {
            (format!("{title}<div class=\"draw\"><div class=\"empty\">{words}</div></div>"), Drawing::Empty)
        };
        if answer.rows.is_empty() {
            return empty("No results");
        }
        let width = place.size_x as f64 * COLUMN + (place.size_x - 1) as f64 * GAP - 30.0;
        let height = place.size_y as f64 * ROW + (place.size_y - 1) as f64 * GAP - 46.0;
        let some_number = |names: Vec<&str>| {
            let cells = answer.rows.iter().flat_map(|row| names.iter().map(move |name| super::data::cell(row, name)));
            cells.filter_map(super::data::number).next().is_some()
        };
        let drawing = match card.display.as_str() {
            "line" | "bar" | "area" | "combo" | "row" if !some_number(drawn.names("graph.metrics")) => None,
            "line" | "bar" | "area" | "combo" => Some(cartesian::draw(&drawn, width, height)),
            "row" => Some(rows::draw(&drawn, width, height)),
            "scalar" => single::scalar(&drawn, width),
            "smartscalar" => single::smart_scalar(&drawn, width),
            "progress" => single::progress(&drawn),
            "table" => Some(table::draw(&drawn, link)),
            other => Some(format!(
                "<div class=\"notice\">drawn as a table: the preview knows no `{}`</div>{}",
                escaped(other),
                table::draw(&drawn, link)
            )),
        };
        match drawing {
            Some(html) => {
                let class = if html.contains("<table>") { "draw top" } else { "draw" };
                (format!("{title}<div class=\"{class}\">{html}</div>"), Drawing::Full)
            }
            None => empty("Nothing to draw: every value is missing"),
        }
    }
}

/// Writes the little of Markdown that texts on dashboards use.
fn markdown(text: &str) -> String {
    let mut out = String::new();
    for paragraph in text.trim().split("\n\n") {
        let lines: Vec<&str> = paragraph.lines().collect();
        if lines.iter().all(|line| line.starts_with("- ") || line.starts_with("* ")) && !lines.is_empty() {
            let items: Vec<String> = lines.iter().map(|line| format!("<li>{}</li>", inline(&line[2..]))).collect();
            let _ = write!(out, "<ul>{}</ul>", items.concat());
        } else if let Some(heading) = paragraph.strip_prefix('#') {
            let _ = write!(out, "<p class=\"heading\">{}</p>", inline(heading.trim_start_matches('#').trim()));
        } else {
            let _ = write!(out, "<p>{}</p>", inline(&lines.join(" ")));
        }
    }
    out
}

/// Code, bold, italics and links.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for (at, part) in text.split('`').enumerate() {
        out.push_str(&if at % 2 == 1 { format!("<code>{}</code>", escaped(part)) } else { words(part) });
    }
    out
}

fn words(text: &str) -> String {
    let mut out = String::new();
    for (at, part) in text.split("**").enumerate() {
        let mut words = String::new();
        for (at, part) in part.split('*').enumerate() {
            let part = links(part);
            words.push_str(&if at % 2 == 1 { format!("<i>{part}</i>") } else { part });
        }
        out.push_str(&if at % 2 == 1 { format!("<b>{words}</b>") } else { words });
    }
    out
}

fn links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        let parts = after.split_once("](").and_then(|(title, after)| Some((title, after.split_once(')')?)));
        out.push_str(&escaped(before));
        match parts {
            Some((title, (url, after))) if url.starts_with("https://") || url.starts_with('/') => {
                let _ = write!(out, "<a href=\"{}\">{}</a>", escaped(url), escaped(title));
                rest = after;
            }
            _ => {
                out.push('[');
                rest = after;
            }
        }
    }
    out.push_str(&escaped(rest));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_drawn_and_never_become_markup() {
        assert_eq!(
            markdown("**Net sales** are *less* <b>.\n\n- a\n- b [c](https://x.example/d?e=1&f)"),
            "<p><b>Net sales</b> are <i>less</i> &lt;b&gt;.</p><p>- a - b <a href=\"https://x.example/d?e=1&amp;f\">c</a></p>"
                .replace("<p>- a - b ", "<ul><li>a</li><li>b ")
                .replace("c</a></p>", "c</a></li></ul>")
        );
        assert_eq!(markdown("[x](javascript:alert(1))"), "<p>[x](javascript:alert(1))</p>");
    }
}
