//! Speaks to Metabase's API: liberal in reading, strict in sending.
//!
//! Statuses and JSON keys are looked at, texts never: they are translated.

use reqwest::{Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use crate::http;

/// Why Metabase did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No final answer.
    #[error("failed to reach Metabase")]
    Reach(#[source] http::Error),
    /// The setting is no address.
    #[error("`metabase.url` is no address: `{url}`")]
    Url {
        /// What it says.
        url: String,
    },
    /// The answer says no.
    #[error("Metabase answered {status} to `{call}`: {message}")]
    Refused {
        /// Method and path, without the query.
        call: String,
        /// Status.
        status: StatusCode,
        /// What it said.
        message: String,
        /// The keys of its `errors`: what a text may not tell.
        fields: Vec<String>,
    },
    /// The answer has not the documented shape.
    #[error("the answer to `{call}` has no {missing}")]
    Shape {
        /// Method and path.
        call: &'static str,
        /// What was looked for.
        missing: &'static str,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Reach(error) => error.hint(),
            Self::Url { .. } => Some("write e.g. http://metabase:3000"),
            Self::Refused { status, .. } if *status == StatusCode::PAYMENT_REQUIRED => Some(
                "this needs a paid edition of Metabase: look at `metabase.isolation`; where it says `collections`, please report it",
            ),
            Self::Refused { .. } | Self::Shape { .. } => None,
        }
    }

    /// The same refusal without what it says, which may repeat a secret or an address that was sent.
    pub(super) fn without_text(self) -> Self {
        match self {
            Self::Refused { call, status, fields, .. } => {
                let message = if fields.is_empty() { "see its own log".to_owned() } else { fields.join(", ") };
                Self::Refused { call, status, message, fields }
            }
            other => other,
        }
    }

    /// Whether what was asked for is not there.
    pub(super) fn is_gone(&self) -> bool {
        self.status() == Some(StatusCode::NOT_FOUND)
    }

    /// Whether it is about this one call, so that others may succeed.
    pub(super) fn is_about_the_call(&self) -> bool {
        let statuses =
            [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::UNPROCESSABLE_ENTITY];
        self.status().is_some_and(|status| statuses.contains(&status))
    }

    /// Whether it names a field of what was sent.
    pub(super) fn names(&self, field: &str) -> bool {
        matches!(self, Self::Refused { fields, .. } if fields.iter().any(|named| named == field))
    }

    /// The status, where there was an answer.
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }
}

/// How a caller proves who it is.
#[derive(Debug, Clone)]
pub(super) enum Proof {
    None,
    Session(SecretString),
    Key(SecretString),
}

/// Calls as one caller. Clones share connections.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: http::Client,
    base: Url,
    proof: Proof,
}

impl Client {
    pub(super) fn new(http: &http::Client, url: &str) -> Result<Self, Error> {
        let with_slash = format!("{}/", url.trim_end_matches('/'));
        let base = Url::parse(&with_slash).map_err(|_| Error::Url { url: url.to_owned() })?;
        Ok(Self { http: http.for_service(), base, proof: Proof::None })
    }

    /// The same server as another caller.
    pub(super) fn with(&self, proof: Proof) -> Self {
        Self { proof, ..self.clone() }
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, Error> {
        self.call(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<Value, Error> {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<(), Error> {
        self.call(Method::DELETE, path, None).await.map(drop)
    }

    /// Asks for a file; its bytes.
    pub(super) async fn download(&self, path: &str, body: &Value) -> Result<bytes::Bytes, Error> {
        self.send(Method::POST, path, Some(body)).await.map(|answer| answer.body)
    }

    /// Reads every page of a paged list.
    pub(super) async fn pages(&self, path: &str) -> Result<Vec<Value>, Error> {
        const SIZE: usize = 500;
        let mut rows = Vec::new();
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{path}{joint}limit={SIZE}&offset={}", rows.len())).await?;
            let total = page["total"].as_u64().map(|total| total as usize);
            let got = list(page);
            let count = got.len();
            rows.extend(got);
            if count == 0 || total.map_or(count < SIZE, |total| rows.len() >= total) {
                return Ok(rows);
            }
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value, Error> {
        let answer = self.send(method, path, body).await?;
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        // Some answers are bare text; what matters is read from those that are not.
        Ok(answer.json().unwrap_or(Value::Null))
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<http::Response, Error> {
        let shown = || path.split('?').next().unwrap_or_default().to_owned();
        let url = self.base.join(path).map_err(|_| Error::Url { url: shown() })?;
        let mut request = http::Request::new(method.clone(), url);
        request = match &self.proof {
            Proof::None => request,
            Proof::Session(id) => request.secret_header("x-metabase-session", id.expose_secret()),
            Proof::Key(key) => request.secret_header("x-api-key", key.expose_secret()),
        };
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = self.http.send(&request).await.map_err(Error::Reach)?;
        if !answer.status.is_success() {
            let message = message(&answer.body);
            let fields = fields(&answer.body);
            let call = format!("{method} {}", shown());
            let error = Error::Refused { call, status: answer.status, message, fields };
            // What is said of a person may name her.
            let about_people = shown().starts_with("api/user");
            return Err(if about_people { error.without_text() } else { error });
        }
        Ok(answer)
    }
}

/// Takes the rows out of `[…]` or `{"data": […]}`.
pub(super) fn list(answer: Value) -> Vec<Value> {
    match answer {
        Value::Array(rows) => rows,
        Value::Object(mut fields) => match fields.remove("data") {
            Some(Value::Array(rows)) => rows,
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Reads an id out of an answer.
pub(super) fn id_of(answer: &Value, call: &'static str) -> Result<i64, Error> {
    answer["id"].as_i64().ok_or(Error::Shape { call, missing: "id" })
}

/// Finds what an error body has to say: text, or one of six places in JSON.
fn message(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(body) else {
        return shortened(text.trim().trim_matches('"'));
    };
    let plain = ["message", "error", "error-message"].into_iter().find_map(|key| fields.get(key)?.as_str());
    if let Some(text) = plain {
        return shortened(text);
    }
    if let Some(text) = fields.get("via").and_then(|via| via.get(0)?.get("message")?.as_str()) {
        return shortened(text);
    }
    // The more specific ones repeat what was sent.
    let found = ["errors", "specific-errors"].into_iter().find_map(|key| fields.get(key));
    shortened(&found.map_or_else(|| text.into_owned(), Value::to_string))
}

fn fields(body: &[u8]) -> Vec<String> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["errors"].as_object().map(|errors| errors.keys().cloned().collect()).unwrap_or_default()
}

fn shortened(text: &str) -> String {
    let mut short: String = text.chars().take(300).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_found_in_every_form_of_error() {
        for (body, expected) in [
            (r#"Not found."#, "Not found."),
            (r#"{"message":"Not found."}"#, "Not found."),
            (r#"{"via":[{"type":"x","message":"broken"}],"trace":[]}"#, "broken"),
            (r#"{"errors":{"email":"taken"}}"#, r#"{"email":"taken"}"#),
            (r#"{"errors":{"a":"b"},"specific-errors":{"a":["disallowed key"]}}"#, r#"{"a":"b"}"#),
            (r#"{"specific-errors":{"a":["disallowed key"]}}"#, r#"{"a":["disallowed key"]}"#),
            (r#"{"cause":"odd"}"#, r#"{"cause":"odd"}"#),
        ] {
            assert_eq!(message(body.as_bytes()), expected);
        }
    }

    #[test]
    fn a_list_is_read_with_and_without_its_envelope() {
        assert_eq!(list(serde_json::json!([1, 2])).len(), 2);
        assert_eq!(list(serde_json::json!({"data": [1], "total": 1})).len(), 1);
        assert_eq!(list(serde_json::json!({"status": "ok"})).len(), 0);
    }
}
