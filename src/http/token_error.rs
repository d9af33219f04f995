//! Why there is no token, and what a person can do about it.

use std::fmt;
use std::sync::Arc;

use chrono::TimeDelta;

use super::{assertion, client};

/// A gap between two clocks that is smaller than this explains nothing.
const CLOCK_GAP_SECONDS: i64 = 60;

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
    #[error("the sign-in service refused a token for `{resource}`: {message}{clock}")]
    Refused {
        /// What the token was for.
        resource: String,
        /// `invalid_client` and the like.
        error: String,
        /// Number behind `AADSTS`.
        code: Option<u32>,
        /// First line of what the service says.
        message: String,
        /// How far this machine's clock is ahead of the service's, where that matters.
        clock: ClockGap,
    },
    /// The certificate cannot prove who we are.
    #[error("failed to prove who we are with the certificate")]
    Certificate(#[source] assertion::Error),
    /// There is nothing to prove it with.
    #[error("`[microsoft]` has neither a client secret nor a certificate")]
    NoCredentials,
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
            Self::Certificate(error) => error.hint(),
            Self::NoCredentials => Some(
                "give `microsoft.client_secret`, or `microsoft.certificate_file` with `microsoft.private_key_file`",
            ),
            Self::Refused { clock: ClockGap(Some(_)), .. } => Some("set this machine's clock"),
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
            "the tenant is not known: check `microsoft.tenant_id` (a GUID or a verified domain) and `microsoft.cloud`"
        }
        Some(90_038 | 900_382 | 900_432) => "the tenant lives in another cloud: check `microsoft.cloud`",
        Some(500_011) => "the resource is not known in this tenant: check `dataverse_url` or `microsoft.graph_url`",
        Some(70_011 | 700_022 | 28_002) => {
            "the resource's address is not what the service expects: check `dataverse_url` or `microsoft.graph_url`"
        }
        Some(530_032 | 53_003) => "conditional access blocks the application: have an administrator exempt it",
        _ if error == "invalid_client" => "check `microsoft.client_id` and the secret or certificate",
        _ => "look the AADSTS number up in Microsoft's list of sign-in error codes",
    }
}

/// A clock's lead on the service's, or its lag; nothing where both agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockGap(Option<TimeDelta>);

impl ClockGap {
    pub(super) fn of(lead: Option<TimeDelta>) -> Self {
        Self(lead.filter(|lead| lead.num_seconds().abs() >= CLOCK_GAP_SECONDS))
    }

    pub(super) fn lead(self) -> Option<TimeDelta> {
        self.0
    }
}

impl fmt::Display for ClockGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(lead) = self.0 else { return Ok(()) };
        let side = if lead > TimeDelta::zero() { "ahead of" } else { "behind" };
        write!(f, " (this machine's clock is {} seconds {side} the service's)", lead.num_seconds().abs())
    }
}

/// The number behind `AADSTS`.
pub(super) fn code_of(text: &str) -> Option<u32> {
    let rest = text.split_once("AADSTS")?.1;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// A text without a secret, should the other side have quoted it.
pub(super) fn without(text: &str, secret: &str) -> String {
    if secret.is_empty() {
        return text.to_owned();
    }
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    text.replace(secret, "[secret]").replace(&encoded, "[secret]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_and_never_the_secret() {
        let text = "AADSTS7000222: The provided client secret keys are expired.\r\nTrace ID: x";
        assert_eq!(code_of(text), Some(7_000_222));
        assert_eq!(code_of("no number"), None);
        assert!(refusal_hint("invalid_client", code_of(text)).contains("expired"));
        assert_eq!(without("secret `a+b=` or a%2Bb%3D", "a+b="), "secret `[secret]` or [secret]");
    }

    #[test]
    fn a_clock_is_named_only_where_it_is_far_off() {
        let said = |seconds| ClockGap::of(Some(TimeDelta::seconds(seconds))).to_string();
        assert_eq!(said(59), "");
        assert_eq!(said(-700), " (this machine's clock is 700 seconds behind the service's)");
        assert!(said(60).contains("60 seconds ahead of"));
    }
}
