//! Timeouts, repeats, and one gate a service.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use tokio::time::Instant;
use tracing::warn;

use super::pace::{self, Verdict};
use super::patience::Patience;
use super::request::{Request, Response, shown};
use crate::settings;

/// Largest answer that is read into memory: 256 MiB.
const ANSWER_LIMIT_BYTES: usize = 256 << 20;

/// Why no final answer came.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client could not be built.
    #[error("failed to prepare the HTTP client")]
    Build(#[source] reqwest::Error),
    /// The connection failed or broke, on every attempt that was allowed.
    #[error("failed to {method} `{url}` after {attempts} attempts")]
    Send {
        /// What was asked.
        method: Method,
        /// Address without its query.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// What the connection said.
        source: reqwest::Error,
    },
    /// The other side asked for more patience than `http.retry_after_limit_seconds`.
    #[error("`{url}` asked to wait {seconds} seconds")]
    WaitTooLong {
        /// Address without its query.
        url: String,
        /// How long it wants to be left alone.
        seconds: u64,
    },
    /// The other side asked for patience again and again, longer than the work may wait in all.
    #[error("`{url}` asked to wait again, and the waits come to more than {limit_seconds} seconds in all")]
    WaitedEnough {
        /// Address without its query.
        url: String,
        /// How long the work may wait.
        limit_seconds: u64,
    },
    /// The answer is larger than an answer may be.
    #[error("the answer of `{url}` is over {limit_bytes} bytes")]
    TooLarge {
        /// Address without its query.
        url: String,
        /// Bound on an answer that is read into memory.
        limit_bytes: usize,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Build(_) | Self::TooLarge { .. } => None,
            Self::Send { .. } => Some("check that the address is right and reachable from this machine"),
            Self::WaitTooLong { .. } => Some("the service is throttling; the next scheduled run tries again"),
            Self::WaitedEnough { .. } => Some(
                "the service throttles all along: the next scheduled run tries again; run fewer pipelines at once, \
                 or raise `sources.throttled_limit_seconds`",
            ),
        }
    }
}

/// Sends requests. Clones share connections and the gate, so that one
/// service's `Retry-After` holds back every worker that talks to it.
#[derive(Debug, Clone)]
pub struct Client {
    settings: Arc<settings::Http>,
    line: Arc<Line>,
    /// Lines by the service's origin, for all that stem from one client.
    lines: Arc<Mutex<HashMap<String, Arc<Line>>>>,
    /// Past any proxy.
    direct: bool,
    /// How much longer its services may ask it to wait; `None`: as long as they like.
    patience: Option<Arc<Patience>>,
}

/// What the clones of a client share.
#[derive(Debug)]
struct Line {
    /// Replaced after a 503: its connections may end at the server that is too busy.
    inner: RwLock<reqwest::Client>,
    /// Nothing is sent before this moment.
    gate: Mutex<Option<Instant>>,
    /// How long anybody stood before it, in milliseconds, counted once a pause.
    waited_ms: AtomicU64,
}

impl Client {
    /// Builds a client with a gate of its own.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(settings: &settings::Http) -> Result<Self, Error> {
        Self::built(settings, false)
    }

    /// The same past any proxy, for services of this very machine.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn direct(settings: &settings::Http) -> Result<Self, Error> {
        Self::built(settings, true)
    }

    fn built(settings: &settings::Http, direct: bool) -> Result<Self, Error> {
        let line = Line::new(build(settings, direct)?);
        let settings = Arc::new(settings.clone());
        let lines = Arc::default();
        Ok(Self { settings, line, lines, direct, patience: None })
    }

    /// The same connections behind a gate that nobody else has.
    #[must_use]
    pub fn for_service(&self) -> Self {
        let line = Line::new(self.line.connections());
        Self { line, ..self.clone() }
    }

    /// The same connections behind the gate of one service: whoever names that
    /// origin shares it, for the service counts us as one.
    #[must_use]
    pub fn for_origin(&self, origin: &str) -> Self {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lines.entry(origin.to_owned());
        let line = Arc::clone(known.or_insert_with(|| Line::new(self.line.connections())));
        Self { line, ..self.clone() }
    }

    /// The same connections and gates, for one piece of work that services may keep waiting
    /// so long in all: past that its requests fail.
    #[must_use]
    pub fn with_patience(&self, limit: Duration) -> Self {
        Self { patience: Some(Arc::new(Patience::new(limit))), ..self.clone() }
    }

    /// How often a request that may be repeated is sent at most.
    pub fn attempts(&self) -> u32 {
        self.settings.attempts.max(1)
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When no final answer came. An answer with a bad status is an answer.
    pub async fn send(&self, request: &Request) -> Result<Response, Error> {
        let mut attempt = 1;
        loop {
            let answer = self.answered(request, &mut attempt).await?;
            match answer.whole().await {
                Err(Error::Send { source, .. }) => {
                    self.broken(request, source, attempt).await?;
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Sends a request and hands over the answer as soon as its headers are
    /// there. A connection that breaks inside the body is the caller's to resume.
    ///
    /// # Errors
    /// When no final answer came. An answer with a bad status is an answer.
    pub async fn open(&self, request: &Request) -> Result<Answer, Error> {
        self.answered(request, &mut 1).await
    }

    /// Pauses as after a passing failure, for callers that repeat by themselves.
    pub async fn back_off(&self, attempt: u32) {
        tokio::time::sleep(self.backoff(attempt)).await;
    }

    /// How long this service has kept its gate closed so far, for all who wait
    /// before it: pauses it asked for and gaps that its quota asks for.
    pub fn waited(&self) -> Duration {
        Duration::from_millis(self.line.waited_ms.load(Ordering::Relaxed))
    }

    async fn answered(&self, request: &Request, attempt: &mut u32) -> Result<Answer, Error> {
        loop {
            self.pass_gate(request).await?;
            match self.line.send(request).await {
                Ok(answer) => {
                    if !self.again(request, &answer, *attempt).await? {
                        return Ok(Answer::new(request, answer, *attempt));
                    }
                }
                Err(source) => self.broken(request, source, *attempt).await?,
            }
            *attempt += 1;
        }
    }

    /// Waits until the service may be asked again. The gate may be moved while
    /// we wait; and behind it not all waiting workers start in the same instant.
    async fn pass_gate(&self, request: &Request) -> Result<(), Error> {
        let limit = self.settings.retry_after_limit_seconds;
        while let Some(left) = self.line.closed_for() {
            if left > Duration::from_secs(limit) {
                let (url, seconds) = (shown(&request.url), left.as_secs());
                return Err(Error::WaitTooLong { url, seconds });
            }
            let spread = (left / 10).min(Duration::from_secs(1));
            tokio::time::sleep(left + spread.mul_f64(rand::random_range(0.0..1.0))).await;
        }
        Ok(())
    }

    /// Says whether to ask again, after having waited or closed the gate.
    async fn again(&self, request: &Request, answer: &reqwest::Response, attempt: u32) -> Result<bool, Error> {
        let status = answer.status();
        let verdict = pace::judge(status, answer.headers(), request.repeatable, Utc::now());
        let last = request.refusals_final || attempt >= self.attempts();
        match verdict {
            Verdict::Final => {
                if let Some(gap) = pace::gap(answer.headers()) {
                    self.line.close_for(gap);
                }
                Ok(false)
            }
            Verdict::Throttled(asked) => {
                let pause = asked.unwrap_or_else(|| match status {
                    StatusCode::SERVICE_UNAVAILABLE => self.backoff(attempt),
                    _ => {
                        let first = Duration::from_secs(self.settings.throttled_pause_seconds);
                        pace::doubled(first, attempt)
                    }
                });
                // Asked for no time at all, we still leave some.
                let pause = pause.max(self.backoff(attempt));
                self.line.close_for(pause);
                if status == StatusCode::SERVICE_UNAVAILABLE {
                    self.line.renew(build(&self.settings, self.direct)?);
                }
                let pause_ms = pause.as_millis() as u64;
                let url = shown(&request.url);
                let waited_ms = self.waited().as_millis() as u64;
                let limit_seconds = self.settings.retry_after_limit_seconds;
                warn!(url, status = status.as_u16(), pause_ms, waited_ms, limit_seconds, "asked to wait");
                match self.patience.as_ref().and_then(|patience| patience.spend(pause, Instant::now())) {
                    Some(limit) => Err(Error::WaitedEnough { url, limit_seconds: limit.as_secs() }),
                    None => Ok(!last),
                }
            }
            Verdict::Passing(_) if last => Ok(false),
            Verdict::Passing(asked) => {
                let pause = asked.unwrap_or_else(|| self.backoff(attempt));
                let (url, pause_ms) = (shown(&request.url), pause.as_millis() as u64);
                let limit = Duration::from_secs(self.settings.retry_after_limit_seconds);
                if pause > limit {
                    let seconds = pause.as_secs();
                    return Err(Error::WaitTooLong { url, seconds });
                }
                warn!(url, status = status.as_u16(), pause_ms, "service failed");
                tokio::time::sleep(pause).await;
                Ok(true)
            }
        }
    }

    async fn broken(&self, request: &Request, source: reqwest::Error, attempt: u32) -> Result<(), Error> {
        let unsent = source.is_connect();
        if attempt >= self.attempts() || !(request.repeatable || unsent) {
            return Err(failed(request, source, attempt));
        }
        warn!(url = shown(&request.url), attempt, "connection failed");
        self.back_off(attempt).await;
        Ok(())
    }

    fn backoff(&self, attempt: u32) -> Duration {
        let first = Duration::from_millis(self.settings.backoff_milliseconds);
        pace::doubled(first, attempt).mul_f64(rand::random_range(0.75..1.25))
    }
}

impl Line {
    fn new(inner: reqwest::Client) -> Arc<Self> {
        let (inner, gate) = (RwLock::new(inner), Mutex::default());
        Arc::new(Self { inner, gate, waited_ms: AtomicU64::new(0) })
    }

    fn connections(&self) -> reqwest::Client {
        let inner = self.inner.read().unwrap_or_else(PoisonError::into_inner);
        inner.clone()
    }

    fn renew(&self, fresh: reqwest::Client) {
        *self.inner.write().unwrap_or_else(PoisonError::into_inner) = fresh;
    }

    fn closed_for(&self) -> Option<Duration> {
        let gate = *self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        let left = gate?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    fn close_for(&self, pause: Duration) {
        // A pause past the end of time is one of a year.
        let now = Instant::now();
        let until = now + pause.min(Duration::from_secs(365 * 86_400));
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if gate.is_none_or(|known| known < until) {
            // What several asked for at once is waited for once.
            let from = gate.map_or(now, |known| known.max(now));
            let more = until.saturating_duration_since(from).as_millis();
            self.waited_ms.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
            *gate = Some(until);
        }
    }

    async fn send(&self, request: &Request) -> Result<reqwest::Response, reqwest::Error> {
        let mut builder =
            self.connections().request(request.method.clone(), request.url.clone()).headers(request.headers.clone());
        if let Some(body) = &request.body {
            builder = builder.body(body.clone());
        }
        builder.send().await
    }
}

/// An answer whose body is still on its way.
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    body: reqwest::Response,
    request: Request,
    attempts: u32,
}

impl Answer {
    fn new(request: &Request, body: reqwest::Response, attempts: u32) -> Self {
        Self { status: body.status(), headers: body.headers().clone(), body, request: request.clone(), attempts }
    }

    /// A header as text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Takes the next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// When the connection broke before the end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, Error> {
        let outcome = self.body.chunk().await;
        outcome.map_err(|source| failed(&self.request, source, self.attempts))
    }

    /// Reads the rest of the body.
    ///
    /// # Errors
    /// When the connection broke before the end, or there is no end to it.
    pub async fn whole(mut self) -> Result<Response, Error> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            if body.len() + piece.len() > ANSWER_LIMIT_BYTES {
                let (url, limit_bytes) = (shown(&self.request.url), ANSWER_LIMIT_BYTES);
                return Err(Error::TooLarge { url, limit_bytes });
            }
            body.extend_from_slice(&piece);
        }
        Ok(Response { status: self.status, headers: self.headers, body: body.into() })
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {:?}", self.status, self.request)
    }
}

fn build(settings: &settings::Http, direct: bool) -> Result<reqwest::Client, Error> {
    let builder = reqwest::Client::builder();
    let builder = if direct { builder.no_proxy() } else { builder };
    builder
        .user_agent(concat!("NONISV|storekeeper|storekeeper/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(settings.connect_timeout_seconds))
        .read_timeout(Duration::from_secs(settings.read_timeout_seconds))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(Error::Build)
}

fn failed(request: &Request, source: reqwest::Error, attempts: u32) -> Error {
    Error::Send { method: request.method.clone(), url: shown(&request.url), attempts, source: source.without_url() }
}
