//! Answers, and the error texts Metabase is known for.
//!
//! A plain string is sent as text and an object as JSON, as in the real server:
//! a client that parses every error as JSON finds out here.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// One answer, before it becomes HTTP.
#[derive(Debug, Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

/// What a handler gives: an answer, or the answer that refuses.
pub(super) type Answer = Result<Reply, Reply>;

impl Reply {
    /// Answers 200 with a JSON body.
    pub(super) fn ok(body: impl Serialize) -> Self {
        Self::json(200, body)
    }

    /// Answers with a status and a JSON body.
    pub(super) fn json(status: u16, body: impl Serialize) -> Self {
        Self {
            status,
            content_type: "application/json;charset=utf-8",
            headers: Vec::new(),
            body: serde_json::to_vec(&body).expect("an answer has text keys only"),
        }
    }

    /// Answers with a status and bare text, which is how most refusals look.
    pub(super) fn text(status: u16, text: &str) -> Self {
        Self { status, content_type: "text/plain", headers: Vec::new(), body: text.as_bytes().to_vec() }
    }

    /// Answers 200 with a page.
    pub(super) fn page(html: String) -> Self {
        Self { status: 200, content_type: "text/html;charset=utf-8", headers: Vec::new(), body: html.into_bytes() }
    }

    /// Answers with the content of a file to save.
    pub(super) fn file(content_type: &'static str, name: &str, body: Vec<u8>) -> Self {
        Self {
            status: 200,
            content_type,
            headers: vec![("content-disposition", format!("attachment; filename=\"{name}\""))],
            body,
        }
    }

    /// Answers 204.
    pub(super) fn empty() -> Self {
        Self { status: 204, content_type: "", headers: Vec::new(), body: Vec::new() }
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Turns the answer into HTTP.
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(
            "cache-control",
            HeaderValue::from_static("max-age=0, no-cache, must-revalidate, proxy-revalidate"),
        );
        if !self.content_type.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        }
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

/// 401 for a call without a valid session or key.
pub(super) fn unauthenticated() -> Reply {
    Reply::text(401, "Unauthenticated")
}

/// 403 for a call the caller may not make.
pub(super) fn forbidden() -> Reply {
    Reply::text(403, "You don't have permissions to do that.")
}

/// 404 for a route that is not there.
pub(super) fn no_such_route() -> Reply {
    Reply::text(404, "API endpoint does not exist.")
}

/// 400 without more to say.
pub(super) fn invalid_request() -> Reply {
    Reply::text(400, "Invalid Request.")
}

/// 409 for a graph that somebody else has written since.
pub(super) fn stale_graph() -> Reply {
    Reply::text(
        409,
        "Looks like someone else edited the permissions and your data is out of date. Please fetch new data and try again.",
    )
}

/// An `errors` object with one field.
pub(super) fn field_error(status: u16, field: &str, text: &str) -> Reply {
    let mut errors = Map::new();
    errors.insert(field.to_owned(), Value::from(text));
    Reply::json(status, json!({ "errors": errors }))
}

/// 400 of the schema check: the field, what it must be, and what was wrong.
pub(super) fn invalid(field: &str, must_be: &str, wrong: &str) -> Reply {
    let mut errors = Map::new();
    errors.insert(field.to_owned(), Value::from(must_be));
    let mut specific = Map::new();
    specific.insert(field.to_owned(), json!([wrong]));
    Reply::json(400, json!({ "errors": errors, "specific-errors": specific }))
}

/// 400 for a required key that did not come.
pub(super) fn missing(field: &str, must_be: &str) -> Reply {
    invalid(field, must_be, "missing required key, received: nil")
}

/// 500 in the shape of an uncaught exception.
pub(super) fn exception(message: &str) -> Reply {
    Reply::json(
        500,
        json!({
            "via": [{ "type": "clojure.lang.ExceptionInfo", "message": message }],
            "trace": [],
            "cause": message,
            "message": message,
        }),
    )
}

/// 402 for a feature of the paid editions.
pub(super) fn paid_feature(name: &str) -> Reply {
    Reply::text(
        402,
        &format!(
            "{name} is a paid feature not currently available to your instance. Please upgrade to use it. Learn more at metabase.com/upgrade/"
        ),
    )
}

/// 402 of the permission code, which words it differently.
pub(super) fn paid_permissions(what: &str) -> Reply {
    Reply::text(
        402,
        &format!(
            "The {what} permissions functionality is only enabled if you have a premium token with the advanced-permissions feature."
        ),
    )
}
