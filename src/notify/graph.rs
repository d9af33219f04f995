//! Graph's `sendMail` with the whole message as MIME.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::mailer::{Outcome, without_addresses};
use crate::http::{Client, Error as HttpError, Request};
use crate::telemetry::chain;

/// Gets a bearer token for Graph; the text of a failure is shown to the operator.
pub type Bearer = Arc<dyn Fn() -> BoxFuture<'static, Result<SecretString, String>> + Send + Sync>;

/// A way to Graph, made by who knows `[microsoft]`.
#[derive(Clone)]
pub struct Graph {
    /// The way out.
    pub client: Client,
    /// `microsoft.graph_url`: without its version.
    pub url: Url,
    /// Where tokens come from.
    pub bearer: Bearer,
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl Graph {
    /// Sends from the mailbox `sender`.
    pub(super) async fn send(&self, sender: &str, eml: &[u8]) -> Outcome {
        let token = match (self.bearer)().await {
            Ok(token) => token,
            Err(reason) => {
                return Outcome::Failed { reason: format!("no token for Graph: {reason}"), passing: true };
            }
        };
        let mut url = self.url.clone();
        match url.path_segments_mut() {
            Ok(mut path) => drop(path.pop_if_empty().extend(["v1.0", "users", sender, "sendMail"])),
            Err(()) => {
                return Outcome::Failed {
                    reason: "`microsoft.graph_url` cannot hold a path".to_owned(),
                    passing: false,
                };
            }
        }
        let request = Request::new(Method::POST, url)
            .secret_header("authorization", &format!("Bearer {}", token.expose_secret()))
            .body("text/plain", STANDARD.encode(eml));
        match self.client.send(&request).await {
            Ok(answer) if answer.status.is_success() => Outcome::Accepted { refused: 0 },
            Ok(answer) => refusal(answer.status.as_u16(), &answer.body),
            Err(HttpError::Send { source, .. }) if !source.is_connect() => {
                Outcome::Uncertain { reason: format!("no answer from Graph: {}", chain(&source)) }
            }
            Err(error) => Outcome::Failed { reason: without_addresses(&chain(&error)), passing: true },
        }
    }
}

fn refusal(status: u16, body: &[u8]) -> Outcome {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let said = |field: &str| body["error"][field].as_str().unwrap_or_default();
    let mut reason = without_addresses(&format!("Graph answered {status} {} {}", said("code"), said("message")));
    reason.truncate(reason.trim_end().len());
    match status {
        // A gateway gave up waiting: the mailbox behind it may have taken the mail.
        500 | 502 | 504 => Outcome::Uncertain { reason },
        429 | 503 | 509 => Outcome::Failed { reason, passing: true },
        401 => Outcome::Failed { reason, passing: true },
        403 => {
            reason.push_str("; the application needs Mail.Send, and its access policy must name this mailbox");
            Outcome::Failed { reason, passing: false }
        }
        404 => {
            reason.push_str("; `mail.from` must be a mailbox of this tenant");
            Outcome::Failed { reason, passing: false }
        }
        _ => Outcome::Failed { reason, passing: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_and_a_lost_gateway_is_uncertain() {
        let body = br#"{"error":{"code":"ErrorAccessDenied","message":"Access to ann@example.com is denied."}}"#;
        assert_eq!(
            refusal(403, body),
            Outcome::Failed {
                reason: "Graph answered 403 ErrorAccessDenied Access to (address) is denied.; the application needs Mail.Send, and its access policy must name this mailbox".into(),
                passing: false
            }
        );
        assert!(matches!(refusal(504, b"<html>"), Outcome::Uncertain { .. }));
        assert!(matches!(refusal(429, b""), Outcome::Failed { passing: true, .. }));
        assert!(matches!(refusal(413, b""), Outcome::Failed { passing: false, .. }));
    }
}
