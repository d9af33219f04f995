//! What is asked, and what comes back.

use std::fmt;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use tracing::warn;
use url::{Position, Url};

use super::tokens::Token;

/// One request. What is safe to repeat must be said by who builds it.
#[derive(Clone)]
pub struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) repeatable: bool,
}

impl Request {
    /// Starts a GET, which may be repeated.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// Starts a GET of a link that the other side gave us. Its path and query
    /// are sent byte for byte: signatures cover them, and cookies hide in them.
    /// Only what may not stand in a request line, and a bare `'` in the query,
    /// is escaped on the way; that is logged, for the other side may refuse it.
    ///
    /// # Errors
    /// When the link is no absolute address.
    pub fn follow(link: &str) -> Result<Self, url::ParseError> {
        let url = Url::parse(link)?;
        if !keeps_its_bytes(link, &url) {
            warn!(url = shown(&url), "link needed escaping");
        }
        Ok(Self::get(url))
    }

    /// Starts a request; GET, HEAD, PUT and DELETE may be repeated, others not.
    pub fn new(method: Method, url: Url) -> Self {
        let repeatable = method.is_idempotent();
        Self { method, url, headers: HeaderMap::new(), body: None, repeatable }
    }

    /// Sets a header; a value with line breaks is dropped.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Sets a header that must not be shown, such as a key.
    #[must_use]
    pub fn secret_header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Signs the request with a token.
    #[must_use]
    pub fn bearer(self, token: &Token) -> Self {
        self.secret_header("authorization", &format!("Bearer {}", token.expose()))
    }

    /// Sets a body of a given type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.body = Some(body.into());
        self.header("content-type", content_type)
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, value: &serde_json::Value) -> Self {
        self.body("application/json", value.to_string())
    }

    /// Says that sending it twice does no more than sending it once.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// The address it goes to.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, shown(&self.url))
    }
}

/// Whether path and query are sent as the link spells them.
fn keeps_its_bytes(link: &str, url: &Url) -> bool {
    let link = &link[..link.find('#').unwrap_or(link.len())];
    let rest = link.split_once("://").map_or(link, |(_, rest)| rest);
    let given = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
    let target = &url[Position::BeforePath..Position::AfterQuery];
    // An address without a path has the path `/`.
    target == given || target.strip_prefix('/') == Some(given)
}

/// A final answer with its whole body.
#[derive(Clone)]
pub struct Response {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Response {
    /// Reads the body as JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}

/// An address that may be shown: no user, no query, no fragment.
pub fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Addresses that cannot hold a user have none to remove.
    let (_, _) = (url.set_username(""), url.set_password(None));
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_never_shown() {
        let url = Url::parse("https://user:pw@example.com/a?tempauth=secret#x").unwrap();
        assert_eq!(shown(&url), "https://example.com/a");
        let request = Request::get(url).secret_header("authorization", "Bearer secret");
        assert_eq!(format!("{request:?}"), "GET https://example.com/a");
    }

    #[test]
    fn a_received_link_keeps_its_bytes() {
        let kept = |link: &str| keeps_its_bytes(link, &Url::parse(link).unwrap());
        for link in [
            "https://example.com/a%20b?$skiptoken=%253ccookie%2520page%22&x=1%0A#top",
            "https://example.com:443/delta(token='a%2bB')?z=1&a=%c3%A9&z=+",
            "https://example.com/d?tempauth=a%2Fb/c+d==&ApiVersion=2.0&&",
            "https://example.com",
        ] {
            assert!(kept(link), "{link}");
            assert!(Request::follow(link).is_ok());
        }
        assert!(!kept("https://example.com/d?name=O'Brien.csv"));
        assert!(!kept("https://example.com/a/%2e%2e/b"));
        assert!(Request::follow("/relative").is_err());
    }
}
