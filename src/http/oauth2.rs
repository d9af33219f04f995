//! Sign-in tokens by client credentials: one a resource, kept in memory only.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AccessToken, AsyncHttpClient, AuthType, ClientId, ClientSecret, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, RefreshToken, RequestTokenError, Scope, StandardRevocableToken, TokenResponse, TokenUrl,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::client::{self, Client};
use super::request::Request;
use crate::settings;

/// How long a refusal that only a person can cure is remembered, so that a
/// broken secret does not hammer the endpoint.
const REFUSAL_KEPT: Duration = Duration::from_secs(60);

/// How long a token that is alive is used on after a renewal failed.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// Life of a token whose answer does not tell it.
const UNTOLD_LIFE: Duration = Duration::from_secs(300);

/// Longest life believed: managed identities get about a day.
const LONGEST_LIFE: Duration = Duration::from_secs(2 * 86_400);

/// Why there is no token. Never holds the secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The address of the token endpoint makes no sense.
    #[error("`microsoft.authority_url` with tenant `{tenant}` is no address")]
    Address {
        /// Tenant as it was given.
        tenant: String,
    },
    /// The endpoint was not reached, or kept us waiting for too long.
    #[error("failed to reach the sign-in service for `{resource}`")]
    Reach {
        /// What the token was for.
        resource: String,
        /// What came in the way.
        source: Arc<client::Error>,
    },
    /// The endpoint is there but does not serve, and did not after all repeats.
    #[error("the sign-in service answered {status} to a token request for `{resource}`")]
    Unavailable {
        /// What the token was for.
        resource: String,
        /// Last status.
        status: u16,
    },
    /// The endpoint said no; only a person can change that.
    #[error("the sign-in service refused a token for `{resource}`: {message}")]
    Refused {
        /// What the token was for.
        resource: String,
        /// `invalid_client` and the like.
        error: String,
        /// Number behind `AADSTS`.
        code: Option<u32>,
        /// First line of what the service says.
        message: String,
    },
    /// The endpoint's answer is nothing that a sign-in service says.
    #[error("the answer of the sign-in service for `{resource}`, status {status}, was not understood")]
    Unreadable {
        /// What the token was for.
        resource: String,
        /// Status.
        status: u16,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Address { .. } => Some("check `microsoft.authority_url` and `microsoft.tenant_id`"),
            Self::Reach { source, .. } => source.hint(),
            Self::Unavailable { .. } => Some("it may pass; the next scheduled run tries again"),
            Self::Refused { error, code, .. } => Some(refusal_hint(error, *code)),
            Self::Unreadable { .. } => {
                Some("check `microsoft.authority_url`, and whether a proxy answers in its place")
            }
        }
    }

    /// Says whether the same request may succeed later without anybody's doing.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Reach { .. } | Self::Unavailable { .. })
    }
}

/// What a refusal asks of a person, in plain words.
fn refusal_hint(error: &str, code: Option<u32>) -> &'static str {
    match code {
        Some(7_000_215) => {
            "`microsoft.client_secret` is wrong: use the secret's value, not its id, with no blank or line break around it"
        }
        Some(7_000_222) => "the client secret has expired: make a new one in the Entra admin centre",
        Some(50_012 | 700_027 | 700_024) => {
            "the certificate or its signature is refused: check the certificate and this machine's clock"
        }
        Some(700_016) => "the application is not in this tenant: check `microsoft.client_id` and `microsoft.tenant_id`",
        Some(7_000_112) => "the application is switched off in Entra: have it enabled",
        Some(90_002 | 900_023 | 9_001_023) => {
            "the tenant is not known: check `microsoft.tenant_id` (a GUID or a verified domain) and the cloud in `microsoft.authority_url`"
        }
        Some(90_038 | 900_382 | 900_432) => "the tenant lives in another cloud: check `microsoft.authority_url`",
        Some(500_011) => "the resource is not known in this tenant: check `dataverse_url` or `microsoft.graph_url`",
        Some(70_011 | 700_022 | 28_002) => {
            "the resource's address is not what the service expects: check `dataverse_url` or `microsoft.graph_url`"
        }
        Some(530_032 | 53_003) => "conditional access blocks the application: have an administrator exempt it",
        _ if error == "invalid_client" => "check `microsoft.client_id` and `microsoft.client_secret`",
        _ => "look the AADSTS number up in Microsoft's list of sign-in error codes",
    }
}

/// What proves who we are.
#[derive(Clone)]
#[non_exhaustive]
pub enum Credentials {
    /// A secret that the service shares with us.
    Secret(SecretString),
}

/// A token; clones are cheap and never shown.
#[derive(Clone)]
pub struct Token(Arc<SecretString>);

impl Token {
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
    client: Client,
    endpoint: TokenUrl,
    client_id: ClientId,
    credentials: Credentials,
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
    /// When the endpoint's address makes no sense.
    pub fn new(client: &Client, microsoft: &settings::Microsoft) -> Result<Self, Error> {
        let authority = microsoft.authority_url.trim_end_matches('/');
        let tenant = &microsoft.tenant_id;
        let endpoint = format!("{authority}/{tenant}/oauth2/v2.0/token");
        let endpoint = TokenUrl::new(endpoint).map_err(|_| Error::Address { tenant: tenant.clone() })?;
        let shared = Shared {
            client: client.for_origin(&endpoint.url().origin().ascii_serialization()),
            endpoint,
            client_id: ClientId::new(microsoft.client_id.clone()),
            credentials: Credentials::Secret(microsoft.client_secret.clone()),
            slots: Mutex::default(),
        };
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
        let outcome = self.shared.request(resource, kept.claims.as_deref()).await;
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

    fn slot(&self, resource: &str) -> Arc<Slot> {
        let mut slots = self.shared.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(resource.to_owned()).or_default())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens of {}", self.shared.endpoint.as_str())
    }
}

type EntraClient = oauth2::Client<
    BasicErrorResponse,
    Granted,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

impl Shared {
    async fn request(&self, resource: &str, claims: Option<&str>) -> Result<(Token, Duration), Error> {
        let resource_name = || resource.to_owned();
        let Credentials::Secret(secret) = &self.credentials;
        let client: EntraClient = oauth2::Client::new(self.client_id.clone())
            .set_client_secret(ClientSecret::new(secret.expose_secret().to_owned()))
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(self.endpoint.clone());
        let exchange = Exchange { shared: self, status: AtomicU16::new(0) };
        let mut request = client.exchange_client_credentials().add_scope(Scope::new(format!("{resource}/.default")));
        if let Some(claims) = claims {
            request = request.add_extra_param("claims", claims);
        }
        let outcome = request.request_async(&exchange).await;
        let status = exchange.status.into_inner();
        match outcome {
            Ok(granted) => {
                let life = granted.expires_in().unwrap_or(UNTOLD_LIFE).min(LONGEST_LIFE);
                let secret = granted.access_token.into_secret().into();
                Ok((Token(Arc::new(secret)), life))
            }
            Err(RequestTokenError::Request(NoAnswer::Http(source))) => {
                Err(Error::Reach { resource: resource_name(), source: Arc::new(source) })
            }
            Err(RequestTokenError::Request(NoAnswer::Unavailable)) => {
                Err(Error::Unavailable { resource: resource_name(), status })
            }
            Err(RequestTokenError::ServerResponse(refusal)) => {
                let error = refusal.error().to_string();
                let text = refusal.error_description().map_or("", String::as_str);
                if error == "temporarily_unavailable" {
                    return Err(Error::Unavailable { resource: resource_name(), status });
                }
                let message = match text.lines().next().unwrap_or_default().trim() {
                    "" => error.clone(),
                    line => line.chars().take(400).collect(),
                };
                Err(Error::Refused {
                    resource: resource_name(),
                    error,
                    code: code_of(text),
                    message: without(&message, secret.expose_secret()),
                })
            }
            // Both may hold the answer's body, and that may hold a token.
            Err(RequestTokenError::Parse(..) | RequestTokenError::Other(_)) => {
                Err(Error::Unreadable { resource: resource_name(), status })
            }
        }
    }
}

/// Sends what the `oauth2` crate has prepared, through our own client.
struct Exchange<'a> {
    shared: &'a Shared,
    status: AtomicU16,
}

impl<'c> AsyncHttpClient<'c> for Exchange<'_> {
    type Error = NoAnswer;
    // Boxed, so that the whole can be sent to another thread.
    type Future = BoxFuture<'c, Result<HttpResponse, NoAnswer>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

impl Exchange<'_> {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, NoAnswer> {
        let (parts, body) = request.into_parts();
        let url = self.shared.endpoint.url().clone();
        // A token request changes nothing at the other side.
        let mut outgoing = Request::new(parts.method, url).repeatable();
        outgoing.headers = parts.headers;
        outgoing.body = Some(body.into());
        let outcome = self.shared.client.send(&outgoing).await;
        let answer = outcome.map_err(NoAnswer::Http)?;
        let status = answer.status.as_u16();
        self.status.store(status, Ordering::Relaxed);
        if matches!(status, 429 | 500 | 502 | 503 | 504 | 509) {
            return Err(NoAnswer::Unavailable);
        }
        let mut response = HttpResponse::new(answer.body.to_vec());
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

/// Why the crate gets nothing to read.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("not reached")]
    Http(client::Error),
    #[error("not served")]
    Unavailable,
}

/// A grant as Entra words it: numbers may be texts, and any may be missing.
#[derive(Debug, Serialize, Deserialize)]
struct Granted {
    access_token: AccessToken,
    /// Not read: it comes in any case, and a token is only ever a bearer's.
    #[serde(skip, default = "bearer")]
    token_type: BasicTokenType,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<u64>,
}

impl TokenResponse for Granted {
    type TokenType = BasicTokenType;

    fn access_token(&self) -> &AccessToken {
        &self.access_token
    }

    fn token_type(&self) -> &BasicTokenType {
        &self.token_type
    }

    fn expires_in(&self) -> Option<Duration> {
        self.expires_in.map(Duration::from_secs)
    }

    fn refresh_token(&self) -> Option<&RefreshToken> {
        None
    }

    fn scopes(&self) -> Option<&Vec<Scope>> {
        None
    }
}

fn bearer() -> BasicTokenType {
    BasicTokenType::Bearer
}

/// Reads seconds from a number or a text; anything else counts as untold, and
/// what lies in the past as nothing left.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let number = match &value {
        serde_json::Value::Number(number) => number.as_f64(),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    // The cast stops at both ends.
    Ok(number.filter(|number| number.is_finite()).map(|number| number as u64))
}

/// When a token is renewed: with five minutes left, or after four fifths of a
/// life for which that would be early.
fn renew_after(life: Duration) -> Duration {
    let four_fifths = life * 4 / 5;
    four_fifths.max(life.saturating_sub(Duration::from_secs(300)))
}

/// The number behind `AADSTS`.
fn code_of(text: &str) -> Option<u32> {
    let rest = text.split_once("AADSTS")?.1;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// A text without a secret, should the other side have quoted it.
fn without(text: &str, secret: &str) -> String {
    if secret.is_empty() {
        return text.to_owned();
    }
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    text.replace(secret, "[secret]").replace(&encoded, "[secret]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(text: &str) -> Option<u64> {
        serde_json::from_str::<Granted>(text).unwrap().expires_in
    }

    #[test]
    fn a_life_is_read_from_numbers_texts_and_nothing() {
        let with = |life: &str| {
            let text = r#"{"token_type":"bearer","access_token":"t","expires_in":LIFE}"#;
            granted(&text.replace("LIFE", life))
        };
        assert_eq!(with("3599"), Some(3599));
        assert_eq!(with(r#""3599""#), Some(3599));
        assert_eq!(with("-1"), Some(0));
        assert_eq!(with("1e300"), Some(u64::MAX));
        assert_eq!(with(r#""soon""#), None);
        assert_eq!(with("null"), None);
        assert_eq!(granted(r#"{"access_token":"t"}"#), None);
    }

    #[test]
    fn a_token_is_renewed_before_it_dies() {
        let after = |life| renew_after(Duration::from_secs(life)).as_secs();
        assert_eq!(after(3599), 3299);
        assert_eq!(after(1500), 1200);
        assert_eq!(after(20), 16);
        assert_eq!(after(0), 0);
    }

    #[test]
    fn a_refusal_says_what_to_do_and_never_the_secret() {
        let text = "AADSTS7000222: The provided client secret keys are expired.\r\nTrace ID: x";
        assert_eq!(code_of(text), Some(7_000_222));
        assert_eq!(code_of("no number"), None);
        assert!(refusal_hint("invalid_client", code_of(text)).contains("expired"));
        assert_eq!(without("secret `a+b=` or a%2Bb%3D", "a+b="), "secret `[secret]` or [secret]");
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Token(Arc::new("EXAMPLE.SIG".to_owned().into()));
        assert_eq!(format!("{token:?}"), "Token");
    }
}
