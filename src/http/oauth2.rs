//! The token endpoint of Entra, asked with client credentials.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
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
use tracing::warn;

use super::assertion::Certificate;
use super::client::{self, Client};
use super::request::Request;
use super::token_error::{ClockGap, Error, code_of, without};
use super::tokens::Token;
use crate::settings;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Life of a token whose answer does not tell it.
const UNTOLD_LIFE: Duration = Duration::from_secs(300);

/// Longest life believed: managed identities get about a day.
const LONGEST_LIFE: Duration = Duration::from_secs(2 * 86_400);

/// What proves who we are.
enum Credentials {
    /// A secret that the service shares with us.
    Secret(SecretString),
    /// A certificate that the service knows.
    Certificate(Certificate),
}

/// When a certificate or a secret ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// `certificate` or `client secret`.
    pub what: &'static str,
    /// From this moment on it is refused.
    pub expires_at: DateTime<Utc>,
}

impl Expiry {
    /// Whole days that are left; negative once it is over.
    pub fn days_left(&self, now: DateTime<Utc>) -> i64 {
        (self.expires_at - now).num_seconds().div_euclid(86_400)
    }

    /// Whether somebody should see to it: thirty days are left at most.
    pub fn is_near(&self, now: DateTime<Utc>) -> bool {
        self.days_left(now) <= 30
    }
}

/// The endpoint of one tenant, and who we are to it.
pub(super) struct Endpoint {
    client: Client,
    address: TokenUrl,
    client_id: ClientId,
    credentials: Credentials,
    secret_expires_on: Option<NaiveDate>,
    /// Seconds by which our clock is ahead of the service's, once that mattered.
    clock_lead: AtomicI64,
    warned_on: Mutex<Option<NaiveDate>>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.address.as_str())
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

impl Endpoint {
    /// Prepares; nothing is asked yet.
    pub(super) fn new(client: &Client, microsoft: &settings::Microsoft) -> Result<Self, Error> {
        let authority = microsoft.authority_url.trim_end_matches('/');
        let tenant = &microsoft.tenant_id;
        let address = format!("{authority}/{tenant}/oauth2/v2.0/token");
        let address = TokenUrl::new(address).map_err(|_| Error::Address { tenant: tenant.clone() })?;
        let credentials = match (&microsoft.certificate_file, &microsoft.client_secret) {
            (Some(file), _) => {
                let key_file = microsoft.private_key_file.as_ref().unwrap_or(file);
                Credentials::Certificate(Certificate::read(file, key_file).map_err(Error::Certificate)?)
            }
            (None, Some(secret)) => Credentials::Secret(secret.clone()),
            (None, None) => return Err(Error::NoCredentials),
        };
        Ok(Self {
            client: client.for_origin(&address.url().origin().ascii_serialization()),
            address,
            client_id: ClientId::new(microsoft.client_id.clone()),
            credentials,
            secret_expires_on: microsoft.client_secret_expires_on,
            clock_lead: AtomicI64::new(0),
            warned_on: Mutex::default(),
        })
    }

    /// Says when what proves who we are ends, where that is known.
    pub(super) fn expiry(&self) -> Option<Expiry> {
        match &self.credentials {
            Credentials::Certificate(certificate) => {
                Some(Expiry { what: "certificate", expires_at: certificate.expires_at })
            }
            Credentials::Secret(_) => {
                let midnight = self.secret_expires_on?.and_time(NaiveTime::MIN);
                Some(Expiry { what: "client secret", expires_at: midnight.and_utc() })
            }
        }
    }

    /// Gets a token and its life.
    ///
    /// An assertion that is refused while the service's clock and ours differ
    /// is made once more by the service's time.
    pub(super) async fn request(&self, resource: &str, claims: Option<&str>) -> Result<(Token, Duration), Error> {
        self.warn_ahead(Utc::now());
        match (self.ask(resource, claims).await, &self.credentials) {
            (Err(Error::Refused { clock, .. }), Credentials::Certificate(_)) if clock.lead().is_some() => {
                let lead_seconds = clock.lead().map_or(0, |lead| lead.num_seconds());
                warn!(lead_seconds, "signed by the time of the sign-in service, for this machine's clock is wrong");
                self.clock_lead.store(lead_seconds, Ordering::Relaxed);
                self.ask(resource, claims).await
            }
            (outcome, _) => outcome,
        }
    }

    async fn ask(&self, resource: &str, claims: Option<&str>) -> Result<(Token, Duration), Error> {
        let resource_name = || resource.to_owned();
        let client: EntraClient = oauth2::Client::new(self.client_id.clone())
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(self.address.clone());
        let (client, proof) = match &self.credentials {
            Credentials::Secret(secret) => {
                (client.set_client_secret(ClientSecret::new(secret.expose_secret().to_owned())), None)
            }
            Credentials::Certificate(certificate) => {
                let now = Utc::now() - TimeDelta::seconds(self.clock_lead.load(Ordering::Relaxed));
                let assertion = certificate.assertion(self.address.as_str(), &self.client_id, now);
                (client, Some(assertion.map_err(Error::Certificate)?))
            }
        };
        let exchange = Exchange { endpoint: self, status: AtomicU16::new(0), date: Mutex::default() };
        let mut request = client.exchange_client_credentials().add_scope(Scope::new(format!("{resource}/.default")));
        if let Some(proof) = &proof {
            request = request
                .add_extra_param("client_assertion_type", ASSERTION_TYPE)
                .add_extra_param("client_assertion", proof.as_str());
        }
        if let Some(claims) = claims {
            request = request.add_extra_param("claims", claims);
        }
        let outcome = request.request_async(&exchange).await;
        let status = exchange.status.into_inner();
        let date = exchange.date.into_inner().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(granted) => {
                let life = granted.expires_in().unwrap_or(UNTOLD_LIFE).min(LONGEST_LIFE);
                Ok((Token::new(granted.access_token.into_secret()), life))
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
                let (message, clock) = match &self.credentials {
                    Credentials::Secret(secret) => (without(&message, secret.expose_secret()), ClockGap::of(None)),
                    // Only an assertion depends on the time.
                    Credentials::Certificate(_) => {
                        let lead = date.map(|date| Utc::now() - date);
                        (without(&message, proof.as_deref().unwrap_or_default()), ClockGap::of(lead))
                    }
                };
                Err(Error::Refused { resource: resource_name(), error, code: code_of(text), message, clock })
            }
            // Both may hold the answer's body, and that may hold a token.
            Err(RequestTokenError::Parse(..) | RequestTokenError::Other(_)) => {
                Err(Error::Unreadable { resource: resource_name(), status })
            }
        }
    }

    /// Warns once a day, from thirty days before the end on.
    fn warn_ahead(&self, now: DateTime<Utc>) {
        let Some(expiry) = self.expiry().filter(|expiry| expiry.is_near(now)) else { return };
        let mut warned_on = self.warned_on.lock().unwrap_or_else(PoisonError::into_inner);
        if warned_on.replace(now.date_naive()) != Some(now.date_naive()) {
            let (what, expires_at, days_left) = (expiry.what, expiry.expires_at, expiry.days_left(now));
            warn!(what, %expires_at, days_left, "sign-in will end soon");
        }
    }
}

/// Sends what the `oauth2` crate has prepared, through our own client.
struct Exchange<'a> {
    endpoint: &'a Endpoint,
    status: AtomicU16,
    /// What the service takes for the time.
    date: Mutex<Option<DateTime<Utc>>>,
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
        let url = self.endpoint.address.url().clone();
        // A token request changes nothing at the other side.
        let mut outgoing = Request::new(parts.method, url).repeatable();
        outgoing.headers = parts.headers;
        outgoing.body = Some(body.into());
        let outcome = self.endpoint.client.send(&outgoing).await;
        let answer = outcome.map_err(NoAnswer::Http)?;
        let status = answer.status.as_u16();
        self.status.store(status, Ordering::Relaxed);
        let date = answer.header("date").and_then(|text| DateTime::parse_from_rfc2822(text).ok());
        *self.date.lock().unwrap_or_else(PoisonError::into_inner) = date.map(|date| date.to_utc());
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
}
