//! One request, taken apart for the handlers.

use axum::http::{HeaderMap, Method};
use serde_json::{Map, Value};

use super::reply::{Reply, invalid, invalid_request, missing};

/// A request, with its body already read.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
    pub(super) address: String,
}

impl Call {
    /// The path's parts; a trailing slash makes no difference.
    pub(super) fn segments(&self) -> Vec<String> {
        self.path.split('/').filter(|part| !part.is_empty()).map(decode).collect()
    }

    /// A header's text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// A cookie's value.
    pub(super) fn cookie(&self, name: &str) -> Option<String> {
        self.headers
            .get_all("cookie")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.to_owned())
    }

    /// The first value of a query parameter.
    pub(super) fn asked(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of a query parameter.
    pub(super) fn asked_all(&self, name: &str) -> Vec<&str> {
        self.query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// A switch in the query.
    pub(super) fn asked_flag(&self, name: &str) -> bool {
        self.asked(name) == Some("true")
    }

    /// A number in the query.
    pub(super) fn asked_id(&self, name: &str) -> Option<i64> {
        self.asked(name).and_then(|value| value.parse().ok())
    }

    /// `(limit, offset)` when the caller asked for a page.
    pub(super) fn page(&self) -> Option<(usize, usize)> {
        let number = |name| self.asked(name).and_then(|value| value.parse::<usize>().ok());
        match (number("limit"), number("offset")) {
            (None, None) => None,
            (limit, offset) => Some((limit.unwrap_or(50), offset.unwrap_or(0))),
        }
    }

    /// The body's keys; empty when there is no object.
    pub(super) fn fields(&self) -> &Map<String, Value> {
        static EMPTY: std::sync::OnceLock<Map<String, Value>> = std::sync::OnceLock::new();
        self.body.as_object().unwrap_or_else(|| EMPTY.get_or_init(Map::new))
    }

    /// A key of the body, `null` included.
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.fields().get(name)
    }

    /// A key of the body that is there and not `null`.
    pub(super) fn given(&self, name: &str) -> Option<&Value> {
        self.field(name).filter(|value| !value.is_null())
    }

    /// A text that must be there and must not be blank.
    pub(super) fn required_text(&self, name: &str) -> Result<String, Reply> {
        const MUST_BE: &str = "value must be a non-blank string.";
        match self.given(name) {
            None => Err(missing(name, MUST_BE)),
            Some(Value::String(text)) if !text.trim().is_empty() => Ok(text.clone()),
            Some(other) => Err(invalid(name, MUST_BE, &format!("should be a string, received: {other}"))),
        }
    }

    /// A text that may be absent or `null`, but nothing else.
    pub(super) fn optional_text(&self, name: &str) -> Result<Option<String>, Reply> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(invalid(name, "nullable string", &format!("should be a string, received: {other}"))),
        }
    }

    /// A positive whole number that must be there.
    pub(super) fn required_id(&self, name: &str) -> Result<i64, Reply> {
        const MUST_BE: &str = "value must be an integer greater than zero.";
        match self.given(name) {
            None => Err(missing(name, MUST_BE)),
            Some(value) => value
                .as_i64()
                .filter(|id| *id > 0)
                .ok_or_else(|| invalid(name, MUST_BE, &format!("should be a positive int, received: {value}"))),
        }
    }

    /// A positive whole number that may be absent or `null`.
    pub(super) fn optional_id(&self, name: &str) -> Result<Option<i64>, Reply> {
        match self.given(name) {
            None => Ok(None),
            Some(_) => self.required_id(name).map(Some),
        }
    }

    /// A switch of the body that may be absent or `null`.
    pub(super) fn optional_flag(&self, name: &str) -> Result<Option<bool>, Reply> {
        match self.given(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(invalid(name, "nullable boolean", &format!("should be a boolean, received: {other}"))),
        }
    }
}

/// A path part that must be a number; the real routes answer 404 otherwise.
pub(super) fn id(part: &str) -> Result<i64, Reply> {
    part.parse().map_err(|_| invalid_request())
}

/// Undoes percent encoding, and `+` for a blank.
pub(super) fn decode_form(text: &str) -> String {
    decode(&text.replace('+', " "))
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match hex {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Splits a query string or a form body.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode_form(key), decode_form(value))
        })
        .collect()
}
