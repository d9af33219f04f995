//! What goes over the wire: a request as it came, an answer and how it is delivered.

use serde_json::Value;

use super::encoding::decode_percent;

/// One request, as raw as it arrived.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The method, upper case as sent.
    pub method: String,
    /// Path and query, byte for byte.
    pub target: String,
    /// Header lines in the order sent, names as sent.
    pub headers: Vec<(String, String)>,
    /// The body, with any chunked encoding taken off.
    pub body: Vec<u8>,
}

impl Request {
    /// The raw path, before any `?`.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The raw query, after the first `?`; empty if there is none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The parts of all headers of that name, split at commas and trimmed.
    pub fn header_parts(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .flat_map(|(_, value)| split_outside_quotes(value))
            .collect()
    }

    /// The bearer token, if the request carries one.
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    }

    /// The query's pairs with both sides decoded; `None` if an escape is broken.
    pub fn parameters(&self) -> Option<Vec<(String, String)>> {
        self.query()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((decode_percent(name)?, decode_percent(&value.replace('+', "%20"))?))
            })
            .collect()
    }
}

fn split_outside_quotes(value: &str) -> Vec<&str> {
    let mut quoted = false;
    value
        .split(move |character| {
            if character == '"' {
                quoted = !quoted;
            }
            character == ',' && !quoted
        })
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header lines in the order they are sent.
    pub headers: Vec<(String, String)>,
    /// The body; its length is sent unless a header says otherwise.
    pub body: Vec<u8>,
}

impl Response {
    /// Makes an answer without a body.
    pub fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Makes a JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, "application/json", body.to_string())
    }

    /// Makes an answer of some text.
    pub fn text(status: u16, content_type: &str, body: impl Into<String>) -> Self {
        Self::bytes(status, content_type, body.into().into_bytes())
    }

    /// Makes an answer of some bytes.
    pub fn bytes(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        Self { status, headers: Vec::new(), body }.with("Content-Type", content_type)
    }

    /// Makes the answer to anything the recorded contract does not cover, so that it is seen.
    pub fn outside_contract(what: &str) -> Self {
        let message = format!("the stand-in does not know {what}");
        let error = serde_json::json!({"error": {"code": "outsideContract", "message": message}});
        Self::json(501, &error)
    }

    /// Adds a header, in place of any of the same name.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// An answer and what becomes of it on its way.
#[derive(Debug, Clone)]
pub struct Reply {
    /// What the stand-in answers.
    pub response: Response,
    /// How much of it the client gets.
    pub delivery: Delivery,
}

/// How an answer reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// As it is.
    Whole,
    /// Headers, this many bytes of the body, then the connection closes.
    Truncated(usize),
    /// Not at all: the connection closes.
    Lost,
    /// Not at all: the connection stays open and silent.
    Withheld,
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self { response, delivery: Delivery::Whole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_inside_quotes_does_not_split_a_header() {
        let request = Request {
            headers: vec![("Prefer".to_owned(), "odata.maxpagesize=2, odata.include-annotations=\"a,b\"".to_owned())],
            ..Request::default()
        };
        assert_eq!(request.header_parts("prefer"), ["odata.maxpagesize=2", "odata.include-annotations=\"a,b\""]);
    }
}
