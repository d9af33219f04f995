//! A few pages, so that a person can look at a dashboard in a browser.
//!
//! They show what the API would answer to the same session, and no more.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;

use super::call::Call;
use super::cells::Cell;
use super::reply::Reply;
use super::results::Ran;
use super::runs::{Plan, execute, plan_dashcard, reader};
use super::server::Server;
use super::sessions::login;
use super::state::Level;
use super::warehouse::{Outcome, SCREEN_ROWS};

const STYLE: &str = "
:root{--ink:#303d46;--line:#dde4e8;--bar:#509ee3}
*{box-sizing:border-box}
body{font:14px/1.45 system-ui,sans-serif;color:var(--ink);margin:0;background:#f9fbfc}
header{background:#fff;border-bottom:1px solid var(--line);padding:12px 24px;display:flex;gap:16px}
header a{color:inherit;text-decoration:none}header b{flex:1}
main{padding:20px 24px}h1{font-size:20px;margin:0 0 16px}
.grid{display:grid;grid-template-columns:repeat(24,1fr);gap:12px}
.card{background:#fff;border:1px solid var(--line);border-radius:8px;padding:12px;overflow:auto;
max-height:420px}
.card h2{font-size:13px;margin:0 0 8px}.heading{grid-column:1/-1;font-weight:700;font-size:16px}
.scalar{font-size:32px;font-weight:700;text-align:center;padding:16px}
.error{color:#c0392b}table{border-collapse:collapse;width:100%}
th,td{padding:4px 8px;border-bottom:1px solid var(--line);text-align:left;white-space:nowrap}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;height:220px}form{max-width:320px;margin:60px auto;display:grid;gap:10px}
input,button{font:inherit;padding:8px}nav a{display:block;padding:6px 0;color:#2a7ab8}
@media(max-width:700px){.grid{display:block}.card{margin-bottom:12px}}";

/// Answers a path outside the API.
pub(super) async fn answer(server: &Arc<Server>, call: &Call, path: &[&str]) -> Reply {
    match (call.method.as_str(), path) {
        ("GET", ["auth", "login"]) => login_page(""),
        ("POST", ["auth", "login"]) => sign_in(server, call),
        ("GET", ["auth", "logout"]) => {
            let mut gone = to("/auth/login");
            server.write(|state| {
                if let Some(id) = call.cookie("metabase.SESSION") {
                    state.sessions.remove(&id);
                }
            });
            gone.headers.push(("set-cookie", "metabase.SESSION=;Expires=Thu, 1 Jan 1970 00:00:00 GMT;Path=/".into()));
            gone
        }
        ("GET", []) => home(server, call),
        ("GET", ["dashboard", dashboard]) => match dashboard.parse() {
            Ok(id) => board(server, call, id).await,
            Err(_) => not_here(404),
        },
        _ => not_here(404),
    }
}

fn login_page(problem: &str) -> Reply {
    page(
        "Sign in",
        &format!(
            "<form method=post><h1>Sign in</h1><span class=error>{}</span>\
             <input name=username placeholder=Email autocomplete=username required>\
             <input name=password type=password placeholder=Password required>\
             <button>Sign in</button></form>",
            escape(problem)
        ),
    )
}

fn sign_in(server: &Server, call: &Call) -> Reply {
    let text = |key: &str| {
        let value = call.given(key).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let (username, password) = (text("username"), text("password"));
    let answer = server.write(|state| login(state, &username, &password, &call.address));
    match answer {
        Ok(signed_in) => {
            let target = call.asked("redirect").filter(|target| target.starts_with("/dashboard/"));
            let mut reply = to(target.unwrap_or("/"));
            let cookies = signed_in.headers.into_iter();
            reply.headers.extend(cookies.filter(|(name, _)| *name == "set-cookie"));
            reply
        }
        Err(refusal) => {
            let body: Value = serde_json::from_slice(&refusal.body).unwrap_or_default();
            let errors = body["errors"].as_object();
            let problem = errors.and_then(|errors| errors.values().next()).and_then(Value::as_str);
            let mut reply = login_page(problem.unwrap_or("That did not work."));
            reply.status = refusal.status;
            reply
        }
    }
}

fn home(server: &Server, call: &Call) -> Reply {
    let list = server.read(|state| {
        let caller = reader(state, call)?;
        let mut rows: Vec<(String, String, i64)> = state
            .dashboards
            .values()
            .filter(|dashboard| !dashboard.archived)
            .filter(|dashboard| state.dashboard_level(&caller, dashboard) > Level::None)
            .map(|dashboard| {
                let home = dashboard.collection_id.and_then(|id| state.collections.get(&id));
                let home = home.map_or("Our analytics", |collection| collection.name.as_str());
                (home.to_owned(), dashboard.name.clone(), dashboard.id)
            })
            .collect();
        rows.sort();
        Some(rows)
    });
    let Some(rows) = list else {
        return to("/auth/login");
    };
    let mut body = String::from("<h1>Dashboards</h1><nav>");
    for (home, name, id) in rows {
        let (home, name) = (escape(&home), escape(&name));
        let _infallible = write!(body, "<a href=/dashboard/{id}>{home} · {name}</a>");
    }
    body.push_str("</nav>");
    page("Dashboards", &body)
}

/// What one place on the grid holds.
struct Place {
    style: String,
    title: String,
    display: String,
    text: Option<String>,
    plan: Option<Plan>,
}

async fn board(server: &Arc<Server>, call: &Call, id: i64) -> Reply {
    let places = server.read(|state| {
        let Some(caller) = reader(state, call) else {
            return Err(to(&format!("/auth/login?redirect=/dashboard/{id}")));
        };
        let dashboard = state.readable_dashboard(&caller, id).map_err(|refusal| not_here(refusal.status))?;
        let mut cards: Vec<_> = dashboard.dashcards.iter().collect();
        let tab = |id| dashboard.tabs.iter().position(|tab| Some(tab.id) == id);
        cards.sort_by_key(|card| (tab(card.tab_id), card.row, card.col));
        let places: Vec<Place> = cards
            .into_iter()
            .map(|dashcard| {
                let card =
                    dashcard.card_id.and_then(|id| state.readable_card(&caller, id).ok()).filter(|card| !card.archived);
                let text = dashcard.visualization_settings["text"].as_str();
                let plan = card.and_then(|card| plan_dashcard(state, dashboard, dashcard, card, &[], "dashboard").ok());
                Place {
                    style: format!("grid-column:span {}", dashcard.size_x.clamp(1, 24)),
                    title: card.map(|card| card.name.clone()).unwrap_or_default(),
                    display: card.map(|card| card.display.clone()).unwrap_or_default(),
                    text: text.map(str::to_owned),
                    plan,
                }
            })
            .collect();
        Ok((dashboard.name.clone(), places))
    });
    let (name, places) = match places {
        Ok(found) => found,
        Err(reply) => return reply,
    };
    let mut body = format!("<h1>{}</h1><div class=grid>", escape(&name));
    for place in places {
        let Some(plan) = &place.plan else {
            let text = escape(place.text.as_deref().unwrap_or_default());
            let _infallible = write!(body, "<div class=heading>{text}</div>");
            continue;
        };
        let ran = execute(server, plan, SCREEN_ROWS).await;
        let _infallible = write!(
            body,
            "<div class=card style=\"{}\"><h2>{}</h2>{}</div>",
            place.style,
            escape(&place.title),
            shown(&place.display, &ran)
        );
    }
    body.push_str("</div>");
    page(&name, &body)
}

fn shown(display: &str, ran: &Ran) -> String {
    let outcome = match ran {
        Ok(outcome) => outcome,
        Err(refusal) => return format!("<p class=error>{}</p>", escape(&refusal.text)),
    };
    match display {
        "scalar" | "smartscalar" | "gauge" | "progress" => {
            let last = outcome.rows.last();
            let cell = last.and_then(|row| row.iter().find(|cell| matches!(cell, Cell::Number(_))).or(row.first()));
            let text = cell.map(Cell::exported).unwrap_or_default();
            format!("<div class=scalar>{}</div>", escape(&text))
        }
        "bar" | "line" | "area" | "combo" | "row" | "waterfall" => bars(outcome).unwrap_or_else(|| table(outcome)),
        _ => table(outcome),
    }
}

fn table(outcome: &Outcome) -> String {
    let class = |base: &str| {
        let number = ["Integer", "Decimal", "Float"].iter().any(|kind| base.ends_with(kind));
        if number { " class=n" } else { "" }
    };
    let mut html = String::from("<table><thead><tr>");
    for column in &outcome.columns {
        let _infallible = write!(html, "<th{}>{}</th>", class(column.base_type), escape(&column.name));
    }
    html.push_str("</tr></thead><tbody>");
    for row in &outcome.rows {
        html.push_str("<tr>");
        for (column, cell) in outcome.columns.iter().zip(row) {
            let _infallible = write!(html, "<td{}>{}</td>", class(column.base_type), escape(&cell.exported()));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table>");
    html
}

/// The first column of numbers as bars, with a hint on each.
fn bars(outcome: &Outcome) -> Option<String> {
    let number = |cell: &Cell| match cell {
        Cell::Number(digits) => digits.parse::<f64>().ok(),
        _ => None,
    };
    let width = outcome.columns.len();
    let at = (1..width).find(|index| {
        let mut cells = outcome.rows.iter().filter_map(|row| row.get(*index));
        cells.any(|cell| number(cell).is_some())
    })?;
    let values: Vec<(String, f64)> =
        outcome.rows.iter().map(|row| (row[0].exported(), number(&row[at]).unwrap_or(0.0))).collect();
    let top = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let low = values.iter().map(|(_, value)| *value).fold(0.0, f64::min);
    let span = if top - low > 0.0 { top - low } else { 1.0 };
    let step = 600.0 / values.len() as f64;
    let mut html = String::from("<svg viewBox=\"0 0 600 220\" preserveAspectRatio=none role=img>");
    for (index, (label, value)) in values.iter().enumerate() {
        let high = value.abs() / span * 200.0;
        let zero = top / span * 200.0 + 10.0;
        let y = if *value >= 0.0 { zero - high } else { zero };
        let _infallible = write!(
            html,
            "<rect x={:.1} y={y:.1} width={:.1} height={high:.1} fill=#509ee3>\
             <title>{}: {value}</title></rect>",
            step * index as f64,
            (step * 0.85).max(0.5),
            escape(label)
        );
    }
    html.push_str("</svg>");
    let ends = values.first().zip(values.last());
    if let Some(((first, _), (last, _))) = ends {
        let _infallible = write!(html, "<small>{} … {}</small>", escape(first), escape(last));
    }
    Some(html)
}

fn page(title: &str, body: &str) -> Reply {
    Reply::page(format!(
        "<!doctype html><html lang=en><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width\"><title>{}</title>\
         <style>{STYLE}</style><header><b><a href=/>Metabase stand-in</a></b>\
         <a href=/auth/logout>Sign out</a></header><main>{body}</main></html>",
        escape(title)
    ))
}

fn to(path: &str) -> Reply {
    let mut reply = Reply::text(303, "");
    reply.headers.push(("location", path.to_owned()));
    reply
}

fn not_here(status: u16) -> Reply {
    let mut reply = page("Not here", "<h1>Not here, or not for you.</h1>");
    reply.status = status;
    reply
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}
