//! Sign-in tokens: one a resource, kept in memory only, renewed ahead of time.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::client::Client;
use super::oauth2::{Endpoint, Expiry};
use super::token_error::Error;
use crate::settings;

/// How long a refusal that only a person can cure is remembered, so that a
/// broken secret does not hammer the endpoint.
const REFUSAL_KEPT: Duration = Duration::from_secs(60);

/// How long a token that is alive is used on after a renewal failed.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// A token; clones are cheap and never shown.
#[derive(Clone)]
pub struct Token(Arc<SecretString>);

impl Token {
    pub(super) fn new(text: String) -> Self {
        Self(Arc::new(text.into()))
    }

    /// The text that goes behind `Bearer`.
    pub(crate) fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// Hands out tokens. Clones share what is kept.
///
/// Invariant: for one resource at most one request is under way; who comes
/// meanwhile gets its outcome.
#[derive(Clone)]
pub struct Tokens {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    slots: Mutex<HashMap<String, Arc<Slot>>>,
}

#[derive(Default)]
struct Slot {
    /// Counts requests that ended, so that a waiter knows whose outcome it sees.
    flights: AtomicU64,
    kept: tokio::sync::Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    token: Option<Held>,
    failure: Option<Failure>,
    /// What a service wants to be said with the next request, as JSON.
    claims: Option<String>,
}

struct Held {
    token: Token,
    renew_at: Instant,
    dies_at: Instant,
}

struct Failure {
    error: Error,
    flight: u64,
    until: Instant,
}

impl Tokens {
    /// Prepares; nothing is asked before somebody needs a token.
    ///
    /// # Errors
    /// When the endpoint's address makes no sense, or the certificate cannot be used.
    pub fn new(client: &Client, microsoft: &settings::Microsoft) -> Result<Self, Error> {
        let shared = Shared { endpoint: Endpoint::new(client, microsoft)?, slots: Mutex::default() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Gives a token for a resource such as `https://graph.microsoft.com`.
    ///
    /// # Errors
    /// When the sign-in service gives none.
    pub async fn bearer(&self, resource: &str) -> Result<Token, Error> {
        let resource = resource.trim_end_matches('/');
        let slot = self.slot(resource);
        let seen = slot.flights.load(Ordering::Acquire);
        let mut kept = slot.kept.lock().await;
        let now = Instant::now();
        if let Some(held) = &kept.token
            && now < held.renew_at
        {
            return Ok(held.token.clone());
        }
        if let Some(failure) = &kept.failure
            && (failure.flight > seen || now < failure.until)
        {
            return Err(failure.error.clone());
        }
        let outcome = self.shared.endpoint.request(resource, kept.claims.as_deref()).await;
        let flight = slot.flights.fetch_add(1, Ordering::AcqRel) + 1;
        let now = Instant::now();
        match outcome {
            Ok((token, life)) => {
                debug!(resource, life_seconds = life.as_secs(), "got token");
                *kept = Kept {
                    token: Some(Held { token: token.clone(), renew_at: now + renew_after(life), dies_at: now + life }),
                    ..Kept::default()
                };
                Ok(token)
            }
            Err(error) => {
                if let Some(held) = &mut kept.token
                    && error.is_passing()
                    && now + RENEWAL_PAUSE < held.dies_at
                {
                    warn!(resource, %error, "token not renewed yet");
                    held.renew_at = now + RENEWAL_PAUSE;
                    return Ok(held.token.clone());
                }
                let remembered = if error.is_passing() { Duration::ZERO } else { REFUSAL_KEPT };
                kept.failure = Some(Failure { error: error.clone(), flight, until: now + remembered });
                kept.token = None;
                Err(error)
            }
        }
    }

    /// Hears that a service refused a token: it is dropped, unless another one
    /// has taken its place already.
    pub async fn refused(&self, resource: &str, token: &Token) {
        self.challenged(resource, token, None).await;
    }

    /// The same, with the claims that the service wants a fresh token to carry.
    pub async fn challenged(&self, resource: &str, token: &Token, claims: Option<String>) {
        let slot = self.slot(resource.trim_end_matches('/'));
        let mut kept = slot.kept.lock().await;
        if kept.token.as_ref().is_some_and(|held| held.token.expose() == token.expose()) {
            kept.token = None;
            kept.claims = claims;
        }
    }

    /// When what proves who we are ends, as far as that is known.
    pub fn expiry(&self) -> Option<Expiry> {
        self.shared.endpoint.expiry()
    }

    fn slot(&self, resource: &str) -> Arc<Slot> {
        let mut slots = self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(resource.to_owned()).or_default())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens of {:?}", self.shared.endpoint)
    }
}

/// When a token is renewed: with five minutes left, or after four fifths of a
/// life for which that would be early.
fn renew_after(life: Duration) -> Duration {
    let four_fifths = life * 4 / 5;
    four_fifths.max(life.saturating_sub(Duration::from_secs(300)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_before_it_dies() {
        let after = |life| renew_after(Duration::from_secs(life)).as_secs();
        assert_eq!(after(3599), 3299);
        assert_eq!(after(1500), 1200);
        assert_eq!(after(20), 16);
        assert_eq!(after(0), 0);
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Token(Arc::new("EXAMPLE.SIG".to_owned().into()));
        assert_eq!(format!("{token:?}"), "Token");
    }
}
