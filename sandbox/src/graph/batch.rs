//! Several requests in one: each answered on its own, in an order of the service's own.

use serde_json::{Map, Value, json};

use super::api::Api;
use super::state::{Problem, State};
use crate::wire::{Request, Response};

/// More parts are refused.
const PARTS: usize = 20;

/// Answers `POST /v1.0/$batch`. The parts come back last first: a client has to
/// match them by their ids.
pub(super) fn answer(api: &Api, state: &mut State, request: &Request) -> Result<Response, Problem> {
    let invalid = |message: &str| Problem::new(400, "BadRequest", message);
    let body: Value =
        serde_json::from_slice(&request.body).map_err(|_| invalid("Unable to read JSON request payload."))?;
    let parts = body["requests"].as_array().ok_or_else(|| invalid("Invalid batch payload format."))?;
    if parts.is_empty() || parts.len() > PARTS {
        return Err(invalid("Number of batch request steps exceeds the maximum value of 20."));
    }
    let mut ids: Vec<&str> = Vec::new();
    for part in parts {
        match part["id"].as_str() {
            Some(id) if !ids.contains(&id) => ids.push(id),
            _ => return Err(invalid("Request ids must be there and unique.")),
        }
    }
    let mut responses = Vec::new();
    for part in parts.iter().rev() {
        let response = match asked(part) {
            Ok(asked) => api.route(state, &asked),
            Err(problem) => Err(problem),
        };
        responses.push(printed(part, response, state));
    }
    Ok(Response::json(200, &json!({"responses": responses})))
}

/// A part as the request it stands for.
fn asked(part: &Value) -> Result<Request, Problem> {
    let invalid = |message: &str| Problem::new(400, "BadRequest", message);
    let (Some(method), Some(url)) = (part["method"].as_str(), part["url"].as_str()) else {
        return Err(invalid("A request needs a method and a url."));
    };
    if url.contains("$batch") || url.contains("://") {
        return Err(invalid("A url is relative, and no batch lies in a batch."));
    }
    let headers: Vec<(String, String)> = part["headers"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect();
    let body = part.get("body");
    if body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        return Err(invalid("A body needs a Content-Type header."));
    }
    Ok(Request {
        method: method.to_uppercase(),
        target: format!("/v1.0/{}", url.trim_start_matches('/')),
        headers,
        body: body.map(|body| body.to_string().into_bytes()).unwrap_or_default(),
    })
}

fn printed(part: &Value, response: Result<Response, Problem>, state: &State) -> Value {
    let response = response.unwrap_or_else(|problem| {
        let id = part["id"].as_str().unwrap_or_default();
        problem.into_response(state.now(), id, id)
    });
    let headers: Map<String, Value> =
        response.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let mut printed = json!({"id": part["id"], "status": response.status, "headers": headers});
    if let Ok(body) = serde_json::from_slice::<Value>(&response.body) {
        printed["body"] = body;
    }
    printed
}
