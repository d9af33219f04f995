//! Timeouts, repeats, `Retry-After`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;
use url::Url;

use crate::settings;

/// Why no final answer came.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client could not be built.
    #[error("failed to prepare the HTTP client")]
    Build(#[source] reqwest::Error),
    /// The connection failed or broke, on every attempt that was allowed.
    #[error("failed to {method} `{url}` after {attempts} attempts")]
    Send { method: Method, url: String, attempts: u32, source: reqwest::Error },
    /// The other side asked for more patience than `http.retry_after_limit_seconds`.
    #[error("`{url}` asked to wait {seconds} seconds")]
    WaitTooLong { url: String, seconds: u64 },
    /// The body was larger than the caller allows.
    #[error("the answer of `{url}` is over {limit_bytes} bytes")]
    TooLarge { url: String, limit_bytes: u64 },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Build(_) => None,
            Self::Send { .. } => Some("check that the address is right and reachable from this machine"),
            Self::WaitTooLong { .. } => Some("the service is throttling; the next scheduled run tries again"),
            Self::TooLarge { .. } => Some("raise `sources.file_limit_bytes` if this size is expected"),
        }
    }
}

/// One request. What is safe to repeat must be said by who builds it.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Bytes>,
    repeatable: bool,
}

impl Request {
    /// Starts a GET, which may be repeated.
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
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

    /// Sets a header that must not be shown, such as a token.
    #[must_use]
    pub fn secret_header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(true);
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
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

/// A final answer with its whole body.
#[derive(Debug, Clone)]
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

/// Sends requests. Clones share connections and the gate, so that one
/// service's `Retry-After` holds back every worker that talks to it.
#[derive(Debug, Clone)]
pub struct Client {
    inner: reqwest::Client,
    settings: settings::Http,
    gate: Arc<Mutex<Option<Instant>>>,
}

impl Client {
    /// Builds a client with a gate of its own.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(settings: &settings::Http) -> Result<Self, Error> {
        let inner = reqwest::Client::builder()
            .user_agent(concat!("NONISV|storekeeper|storekeeper/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(settings.connect_timeout_seconds))
            .read_timeout(Duration::from_secs(settings.read_timeout_seconds))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(Error::Build)?;
        Ok(Self { inner, settings: settings.clone(), gate: Arc::default() })
    }

    /// The same connections behind a gate of their own: one for each service.
    #[must_use]
    pub fn for_service(&self) -> Self {
        Self { gate: Arc::default(), ..self.clone() }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When no final answer came. An answer with a bad status is an answer.
    pub async fn send(&self, request: &Request) -> Result<Response, Error> {
        let mut attempt = 1;
        loop {
            let outcome = async {
                let answer = self.open_once(request).await?;
                let (status, headers) = (answer.status(), answer.headers().clone());
                let body = answer.bytes().await?;
                Ok::<_, reqwest::Error>(Response { status, headers, body })
            }
            .await;
            match outcome {
                Ok(answer) => {
                    let Some(pause) = self.pause_after(&answer.status, &answer.headers, request, attempt)? else {
                        return Ok(answer);
                    };
                    self.wait(request, answer.status.as_str(), pause).await;
                }
                Err(source) => self.broken(request, source, attempt).await?,
            }
            attempt += 1;
        }
    }

    /// Sends a request and hands over the answer's body piece by piece, never
    /// more than `limit_bytes`. A connection that breaks inside the body is the
    /// caller's to resume. Answers that are not 2xx come with no pieces taken.
    ///
    /// # Errors
    /// When no answer came, the body broke, or the sink refused a piece.
    pub async fn download<F, E>(&self, request: &Request, limit_bytes: u64, mut sink: F) -> Result<Response, E>
    where
        F: FnMut(&[u8]) -> Result<(), E>,
        E: From<Error>,
    {
        let mut attempt = 1;
        let answer = loop {
            match self.open_once(request).await {
                Ok(answer) => {
                    match self.pause_after(&answer.status(), answer.headers(), request, attempt)? {
                        None => break answer,
                        Some(pause) => self.wait(request, answer.status().as_str(), pause).await,
                    }
                }
                Err(source) => self.broken(request, source, attempt).await?,
            }
            attempt += 1;
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        if !status.is_success() {
            let body = answer.bytes().await.map_err(|source| failed(request, source, attempt))?;
            return Ok(Response { status, headers, body });
        }
        let mut taken = 0_u64;
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|source| failed(request, source, attempt))?;
            taken += piece.len() as u64;
            if taken > limit_bytes {
                return Err(Error::TooLarge { url: shown(&request.url), limit_bytes }.into());
            }
            sink(&piece)?;
        }
        Ok(Response { status, headers, body: Bytes::new() })
    }

    async fn open_once(&self, request: &Request) -> Result<reqwest::Response, reqwest::Error> {
        let until = *self.gate.lock().await;
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
        let mut builder = self
            .inner
            .request(request.method.clone(), request.url.clone())
            .headers(request.headers.clone());
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        builder.send().await
    }

    /// How long to pause before the next attempt; `None` for a final answer.
    fn pause_after(
        &self,
        status: &StatusCode,
        headers: &HeaderMap,
        request: &Request,
        attempt: u32,
    ) -> Result<Option<Duration>, Error> {
        let throttled = matches!(status.as_u16(), 429 | 503 | 509);
        let transient = throttled || (request.repeatable && matches!(status.as_u16(), 408 | 425 | 500 | 502 | 504));
        if !transient || attempt >= self.settings.attempts {
            return Ok(None);
        }
        let pause = match headers.get("retry-after").and_then(|value| retry_after(value.to_str().ok()?, Utc::now())) {
            Some(pause) => pause,
            None => self.backoff(attempt),
        };
        if pause.as_secs() > self.settings.retry_after_limit_seconds {
            return Err(Error::WaitTooLong { url: shown(&request.url), seconds: pause.as_secs() });
        }
        Ok(Some(pause))
    }

    async fn broken(&self, request: &Request, source: reqwest::Error, attempt: u32) -> Result<(), Error> {
        let unsent = source.is_connect();
        if attempt >= self.settings.attempts || !(request.repeatable || unsent) {
            return Err(failed(request, source, attempt));
        }
        let pause = self.backoff(attempt);
        warn!(url = shown(&request.url), pause_ms = pause.as_millis() as u64, "connection failed, repeating");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Closes the gate for everybody that shares it.
    async fn wait(&self, request: &Request, status: &str, pause: Duration) {
        warn!(url = shown(&request.url), status, pause_ms = pause.as_millis() as u64, "asked to wait");
        let until = Instant::now() + pause;
        {
            let mut gate = self.gate.lock().await;
            if gate.is_none_or(|known| known < until) {
                *gate = Some(until);
            }
        }
        tokio::time::sleep_until(until).await;
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let base = self.settings.backoff_milliseconds.saturating_mul(1 << attempt.saturating_sub(1).min(10));
        let jitter = rand::random_range(0.75..1.25);
        Duration::from_millis(base).mul_f64(jitter)
    }
}

fn failed(request: &Request, source: reqwest::Error, attempts: u32) -> Error {
    let (method, url) = (request.method.clone(), shown(&request.url));
    Error::Send { method, url, attempts, source: source.without_url() }
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

/// Reads `Retry-After`: seconds, also fractional, or an HTTP date.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some((at.with_timezone(&Utc) - now).to_std().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let now = DateTime::parse_from_rfc3339("2025-11-29T11:00:00Z").unwrap().to_utc();
        assert_eq!(retry_after("2.128", now), Some(Duration::from_millis(2128)));
        assert_eq!(retry_after("41", now), Some(Duration::from_secs(41)));
        assert_eq!(retry_after("Sat, 29 Nov 2025 11:00:30 GMT", now), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-5", now), None);
    }

    #[test]
    fn a_query_is_never_shown() {
        let url = Url::parse("https://user:pw@example.com/a?tempauth=secret#x").unwrap();
        assert_eq!(shown(&url), "https://example.com/a");
    }
}
