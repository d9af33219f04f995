//! What a stand-in remembers of a request.

use chrono::{DateTime, Utc};

use crate::wire::{Delivery, Reply, Request};

/// One request as it came in, and how it was answered.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// Which of a stand-in's origins it came to, e.g. `graph` or `download`.
    pub origin: String,
    /// When it came, by the stand-in's clock.
    pub received_at: DateTime<Utc>,
    /// The method.
    pub method: String,
    /// Path and query, byte for byte.
    pub target: String,
    /// All headers; the value of `Authorization` is reduced to a label.
    pub headers: Vec<(String, String)>,
    /// The size of the body.
    pub body_bytes: usize,
    /// The status answered; `None` if the client got no answer.
    pub status: Option<u16>,
    /// What `Retry-After` said, if there was one.
    pub retry_after: Option<String>,
    /// True if a scripted fault decided the outcome.
    pub faulted: bool,
}

impl Recorded {
    pub(super) fn new(origin: &str, received_at: DateTime<Utc>, token: Option<&str>, request: &Request) -> Self {
        let headers = request
            .headers
            .iter()
            .map(|(name, value)| {
                let kept = if name.eq_ignore_ascii_case("authorization") {
                    let scheme = value.split(' ').next().unwrap_or_default();
                    format!("{scheme} <{}>", token.unwrap_or("secret"))
                } else {
                    value.clone()
                };
                (name.clone(), kept)
            })
            .collect();
        Self {
            origin: origin.to_owned(),
            received_at,
            method: request.method.clone(),
            target: request.target.clone(),
            headers,
            body_bytes: request.body.len(),
            status: None,
            retry_after: None,
            faulted: false,
        }
    }

    pub(super) fn settle(&mut self, reply: &Reply, faulted: bool) {
        self.faulted = faulted;
        self.retry_after = reply.response.header("retry-after").map(str::to_owned);
        self.status = match reply.delivery {
            Delivery::Whole | Delivery::Truncated(_) => Some(reply.response.status),
            Delivery::Lost | Delivery::Withheld => None,
        };
    }

    /// Method and target, as in a request line.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}
