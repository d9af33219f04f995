//! Running queries: decided under the lock, carried out outside it.
//!
//! A readable question runs, whatever the caller may do with its database. An
//! ad hoc query needs the right to write queries there.

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::access::{Caller, Queries};
use super::call::{Call, id};
use super::mbql;
use super::queries;
use super::reply::{Answer, Reply, no_such_route};
use super::results::{self, About, Ran, export, screen};
use super::server::Server;
use super::state::{Card, Dashboard, Dashcard, State};
use super::template::{Context, Given, Refusal, render};
use super::warehouse::{FILE_ROWS, SCREEN_ROWS, message_of};

/// A query ready to go.
pub(super) struct Plan {
    pub(super) about: About,
    details: Result<Map<String, Value>, Refusal>,
    card_id: Option<i64>,
}

/// Everything that runs a query; `None` where the path is another's.
pub(super) async fn handle(server: &Server, call: &Call, path: &[&str]) -> Option<Answer> {
    let post = call.method == Method::POST;
    match path {
        ["card", card, "query"] if post => Some(card_run(server, call, card, None).await),
        ["card", card, "query", format] if post => Some(card_run(server, call, card, Some(format)).await),
        ["dashboard", board, "dashcard", dashcard, "card", card, "query"] if post => {
            Some(dashcard_run(server, call, [board, dashcard, card], None).await)
        }
        ["dashboard", board, "dashcard", dashcard, "card", card, "query", format] if post => {
            Some(dashcard_run(server, call, [board, dashcard, card], Some(format)).await)
        }
        ["dataset"] if post => Some(adhoc(server, call, None).await),
        ["dataset", "native"] if post => Some(compile(server, call)),
        ["dataset", format @ ("csv" | "json" | "xlsx")] if post => Some(adhoc(server, call, Some(format)).await),
        ["public", "card", uuid, "query"] => Some(public_card(server, call, uuid, None).await),
        ["public", "card", uuid, "query", format] => Some(public_card(server, call, uuid, Some(format)).await),
        ["public", "dashboard", uuid, "dashcard", dashcard, "card", card] => {
            Some(public_dashcard(server, call, uuid, dashcard, card).await)
        }
        _ => None,
    }
}

async fn card_run(server: &Server, call: &Call, card: &str, format: Option<&str>) -> Answer {
    let context = context_of("question", format)?;
    let plan = server.read(|state| {
        let caller = state.caller(call)?;
        let card = state.readable_card(&caller, id(card)?)?;
        Ok::<_, Reply>(plan_card(state, card, &sent_parameters(call), context).seen_by(state, &caller, card))
    })?;
    finish(server, plan, format).await
}

async fn dashcard_run(server: &Server, call: &Call, ids: [&str; 3], format: Option<&str>) -> Answer {
    let context = context_of("dashboard", format)?;
    let plan = server.read(|state| {
        let caller = state.caller(call)?;
        let dashboard = state.readable_dashboard(&caller, id(ids[0])?)?;
        let card = card_on(state, dashboard, id(ids[1])?, id(ids[2])?)?;
        let card_id = card.1.id;
        state.readable_card(&caller, card_id)?;
        let plan = plan_dashcard(state, dashboard, card.0, card.1, &sent_parameters(call), context)?;
        Ok(plan.seen_by(state, &caller, card.1))
    })?;
    finish(server, plan, format).await
}

async fn adhoc(server: &Server, call: &Call, format: Option<&str>) -> Answer {
    let context = context_of("ad-hoc", format)?;
    let plan = server.read(|state| {
        let caller = state.caller(call)?;
        let body = if format.is_some() { call.given("query").cloned().unwrap_or_default() } else { call.body.clone() };
        let query = queries::accept(&body)?;
        let sent = body.get("parameters").and_then(Value::as_array).cloned();
        let given = given_for(&query, None, &sent.unwrap_or_default());
        let mut plan = plan_query(state, &query, given, context, None);
        if !may_ask(state, &caller, &query) {
            plan.details = Err(not_permitted());
        }
        Ok::<_, Reply>(plan)
    })?;
    finish(server, plan, format).await
}

impl Plan {
    /// Reading a question is enough to run it, but for who is shut out of its database.
    pub(super) fn seen_by(self, state: &State, caller: &Caller, card: &Card) -> Self {
        let seen = state.views(caller, queries::database(&card.query));
        if seen { self } else { Self { details: Err(not_permitted()), ..self } }
    }
}

fn not_permitted() -> Refusal {
    Refusal { text: "You do not have permissions to run this query.".into(), kind: "missing-required-permissions" }
}

/// Whether somebody may run a query that is saved nowhere.
fn may_ask(state: &State, caller: &Caller, query: &Value) -> bool {
    let database = queries::database(query);
    if queries::sql(query).is_some() {
        return state.queries(caller, database) >= Queries::Native;
    }
    match mbql::source(query) {
        // A right to one table is enough for that table, where it is of this database.
        Some(mbql::Source::Table(table)) => {
            state.tables.get(&table).is_some_and(|known| known.database_id == database)
                && (caller.superuser || state.sees_table(caller, table))
        }
        Some(mbql::Source::Card(card)) => {
            state.readable_card(caller, card).is_ok() && state.queries(caller, database) >= Queries::Builder
        }
        None => state.queries(caller, database) >= Queries::Builder,
    }
}

fn compile(server: &Server, call: &Call) -> Answer {
    server.read(|state| {
        let caller = state.caller(call)?;
        let query = queries::accept(&call.body)?;
        if state.queries(&caller, queries::database(&query)) < Queries::Native {
            return Err(super::reply::forbidden());
        }
        let given = given_for(&query, None, &[]);
        let plan = plan_query(state, &query, given, "ad-hoc", None);
        match plan.details {
            Ok(_) => Ok(Reply::ok(json!({ "query": plan.about.sql, "params": null }))),
            Err(refusal) => Err(super::reply::exception(&refusal.text)),
        }
    })
}

async fn public_card(server: &Server, call: &Call, uuid: &str, format: Option<&str>) -> Answer {
    let context = context_of("public-question", format)?;
    let plan = server.read(|state| {
        let card = super::public::card(state, uuid)?;
        Ok::<_, Reply>(plan_card(state, card, &asked_parameters(call), context))
    })?;
    finish(server, plan, format).await
}

async fn public_dashcard(server: &Server, call: &Call, uuid: &str, dashcard: &str, card: &str) -> Answer {
    let plan = server.read(|state| {
        let dashboard = super::public::dashboard(state, uuid)?;
        let (dashcard, card) = card_on(state, dashboard, id(dashcard)?, id(card)?)?;
        let sent = asked_parameters(call);
        plan_dashcard(state, dashboard, dashcard, card, &sent, "public-dashboard")
    })?;
    finish(server, plan, None).await
}

async fn finish(server: &Server, plan: Plan, format: Option<&str>) -> Answer {
    let limit = if format.is_some_and(|format| format != "api") { FILE_ROWS } else { SCREEN_ROWS };
    let ran = execute(server, &plan, limit).await;
    match format {
        None | Some("api") => Ok(screen(&ran, &plan.about)),
        Some(format) => Ok(export(&ran, &plan.about, format)),
    }
}

/// Carries a plan out.
pub(super) async fn execute(server: &Server, plan: &Plan, limit: usize) -> Ran {
    let details = plan.details.as_ref().map_err(Clone::clone)?;
    let outcome = server
        .warehouse
        .run(details, &plan.about.sql, limit)
        .await
        .map_err(|error| Refusal { text: message_of(&error), kind: "invalid-query" })?;
    if let Some(card_id) = plan.card_id {
        server.write(|state| {
            let card = state.cards.get_mut(&card_id);
            if let Some(card) = card.filter(|card| card.result_metadata.is_null()) {
                card.result_metadata = results::metadata(&outcome);
            }
        });
    }
    Ok(outcome)
}

/// Finds a card where a dashboard shows it, as itself or as a series.
pub(super) fn card_on<'a>(
    state: &'a State,
    dashboard: &'a Dashboard,
    dashcard_id: i64,
    card_id: i64,
) -> Result<(&'a Dashcard, &'a Card), Reply> {
    let dashcard = dashboard
        .dashcards
        .iter()
        .find(|dashcard| dashcard.id == dashcard_id)
        .filter(|dashcard| dashcard.card_id == Some(card_id) || dashcard.series.contains(&card_id))
        .ok_or_else(|| state.not_found())?;
    let card = state.cards.get(&card_id).ok_or_else(|| state.not_found())?;
    Ok((dashcard, card))
}

/// Plans the run of a question by itself.
pub(super) fn plan_card(state: &State, card: &Card, sent: &[Value], context: &'static str) -> Plan {
    let given = given_for(&card.query, Some(card), sent);
    plan_query(state, &card.query, given, context, Some(card.id))
}

/// Plans the run of a question where a dashboard shows it.
pub(super) fn plan_dashcard(
    state: &State,
    dashboard: &Dashboard,
    dashcard: &Dashcard,
    card: &Card,
    sent: &[Value],
    context: &'static str,
) -> Result<Plan, Reply> {
    let known: Vec<Value> = dashboard.parameters.as_array().cloned().unwrap_or_default();
    for parameter in sent {
        if !known.iter().any(|known| known["id"] == parameter["id"]) {
            let message = format!("Dashboard does not have a parameter with ID {}.", parameter["id"]);
            return Err(Reply::json(400, json!({ "message": message, "error_type": "invalid-parameter" })));
        }
    }
    let mappings = dashcard.parameter_mappings.as_array();
    let mut values = Vec::new();
    for parameter in &known {
        let sent = sent.iter().find(|sent| sent["id"] == parameter["id"]);
        let value = match sent {
            Some(sent) => sent["value"].clone(),
            None => parameter["default"].clone(),
        };
        let here = mappings.into_iter().flatten().filter(|mapping| {
            mapping["parameter_id"] == parameter["id"] && mapping["card_id"].as_i64().is_none_or(|id| id == card.id)
        });
        for mapping in here {
            values.push(json!({
                "type": parameter["type"],
                "target": mapping["target"],
                "value": value,
            }));
        }
    }
    Ok(plan_card(state, card, &values, context))
}

fn plan_query(
    state: &State,
    query: &Value,
    given: Result<Vec<Given>, Refusal>,
    context: &'static str,
    card_id: Option<i64>,
) -> Plan {
    let database_id = queries::database(query);
    let sql = compose(state, query, given);
    let details = match (&sql, state.databases.get(&database_id)) {
        (Err(refusal), _) => Err(refusal.clone()),
        (Ok(_), None) => Err(refuse("Database not found.")),
        (Ok(_), Some(database)) if database.engine != "postgres" => {
            Err(refuse("This stand-in runs queries on PostgreSQL only."))
        }
        (Ok(_), Some(database)) => Ok(database.details.clone()),
    };
    let mut json_query = query.clone();
    json_query["constraints"] = json!({ "max-results": 10_000, "max-results-bare-rows": SCREEN_ROWS });
    Plan {
        about: About { database_id, sql: sql.unwrap_or_default(), json_query, context, started_at: state.now },
        details,
        card_id,
    }
}

fn compose(state: &State, query: &Value, given: Result<Vec<Given>, Refusal>) -> Result<String, Refusal> {
    let given = given?;
    let Some(sql) = queries::sql(query) else {
        let native = |card: &Card| compose(state, &card.query, Ok(Vec::new()));
        return mbql::compile(state, query, &native);
    };
    let tags = queries::tags(query);
    render(
        sql,
        &Context {
            tags: &tags,
            given: &given,
            column: &|field| state.column(field),
            snippet: &|name| {
                let snippets = state.stored("snippet");
                let snippet = snippets.iter().find(|snippet| snippet["name"] == name)?;
                snippet["content"].as_str().map(str::to_owned)
            },
            now: state.now,
        },
    )
}

fn refuse(text: &str) -> Refusal {
    Refusal { text: text.to_owned(), kind: "invalid-query" }
}

/// Matches sent parameters to the query's own tags; any other is refused.
fn given_for(query: &Value, card: Option<&Card>, sent: &[Value]) -> Result<Vec<Given>, Refusal> {
    let tags = queries::tags(query);
    let declared = card.and_then(|card| card.parameters.as_array().cloned());
    let declared = declared.unwrap_or_default();
    let mut given = Vec::new();
    for parameter in sent {
        let same_id = |other: &&Value| !parameter["id"].is_null() && other["id"] == parameter["id"];
        let by_id = || {
            tags.iter()
                .find(|(_, tag)| same_id(tag))
                .map(|(name, _)| name.clone())
                .or_else(|| target_tag(&declared.iter().find(same_id)?["target"]))
        };
        let tag = target_tag(&parameter["target"]).or_else(by_id);
        let shown = tag.clone().unwrap_or_else(|| parameter["id"].to_string());
        let invalid = |text: String| Refusal { text, kind: "invalid-parameter" };
        let Some((name, tag)) = tag.as_ref().and_then(|tag| tags.get_key_value(tag)) else {
            let whose = card.map_or("Query".to_owned(), |card| format!("Card {}", card.id));
            return Err(invalid(format!("Invalid parameter: {whose} does not have a template tag named \"{shown}\".")));
        };
        let kind = parameter["type"].as_str().unwrap_or_default();
        let tag_kind = tag["type"].as_str().unwrap_or_default();
        if !fits(tag_kind, kind) {
            return Err(invalid(format!("Invalid parameter type :{kind} for parameter \"{name}\".")));
        }
        given.push(Given { tag: name.clone(), kind: kind.to_owned(), value: parameter["value"].clone() });
    }
    Ok(given)
}

/// The tag in a target such as `["variable", ["template-tag", "since"]]`.
pub(super) fn target_tag(target: &Value) -> Option<String> {
    let inner = target.get(1)?;
    (inner.get(0)? == "template-tag").then(|| inner.get(1)?.as_str().map(str::to_owned)).flatten()
}

fn fits(tag_kind: &str, kind: &str) -> bool {
    let family = kind.split('/').next().unwrap_or_default();
    match tag_kind {
        _ if kind.is_empty() => true,
        "text" => !matches!(family, "number" | "date" | "boolean"),
        "number" => matches!(family, "number" | "id" | "category"),
        "date" => family == "date",
        "boolean" => family == "boolean",
        _ => true,
    }
}

fn sent_parameters(call: &Call) -> Vec<Value> {
    let parameters = call.given("parameters").and_then(Value::as_array);
    parameters.cloned().unwrap_or_default()
}

/// Parameters in the query string, as public links take them.
fn asked_parameters(call: &Call) -> Vec<Value> {
    call.asked("parameters").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

fn context_of(screen: &'static str, format: Option<&str>) -> Result<&'static str, Reply> {
    match format {
        None | Some("api") => Ok(screen),
        Some("csv") => Ok("csv-download"),
        Some("json") => Ok("json-download"),
        Some("xlsx") => Ok("xlsx-download"),
        Some(_) => Err(no_such_route()),
    }
}

impl State {
    /// The quoted column and base type of a field.
    pub(super) fn column(&self, field_id: i64) -> Option<(String, String)> {
        let (table, field) = self.field(field_id)?;
        let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let parts = [&table.schema, &table.name, &field.name].map(|part| quote(part));
        Some((parts.join("."), field.base_type.clone()))
    }

    /// A field and its table.
    pub(super) fn field(&self, field_id: i64) -> Option<(&super::state::Table, &super::state::Field)> {
        self.tables.values().find_map(|table| {
            let field = table.fields.iter().find(|field| field.id == field_id)?;
            Some((table, field))
        })
    }
}

/// Who calls, for the pages.
pub(super) fn reader(state: &State, call: &Call) -> Option<Caller> {
    state.caller(call).ok()
}
