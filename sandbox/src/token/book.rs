//! Which tokens were issued, for what, and until when.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::wire::locked;

/// The tokens in circulation; clones share them.
#[derive(Debug, Clone, Default)]
pub struct TokenBook {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    resources: BTreeSet<String>,
    tokens: HashMap<String, Token>,
}

#[derive(Debug)]
struct Token {
    label: String,
    client_id: String,
    resource: String,
    expires_at: DateTime<Utc>,
    revoked: bool,
}

/// Why a token is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no token in the request.
    Missing,
    /// The token was never issued, or was taken back.
    Unknown,
    /// The token was issued for another resource.
    WrongAudience,
    /// The token is past its life.
    Expired,
}

impl TokenBook {
    /// Makes a resource known; only for known ones are tokens issued.
    pub fn enter_resource(&self, resource: &str) {
        locked(&self.state).resources.insert(bare(resource).to_owned());
    }

    pub(super) fn knows_resource(&self, resource: &str) -> bool {
        locked(&self.state).resources.contains(bare(resource))
    }

    /// Issues a token; the n-th token of the same parameters is always the same text.
    pub fn issue(&self, client_id: &str, resource: &str, expires_at: DateTime<Utc>) -> String {
        let mut state = locked(&self.state);
        let number = state.tokens.len() + 1;
        let resource = bare(resource);
        let digest = Sha256::digest(format!("{client_id} {resource} {number}"));
        let text = format!("opaque.{}", URL_SAFE_NO_PAD.encode(digest));
        let token = Token {
            label: format!("token {number} for {resource}"),
            client_id: client_id.to_owned(),
            resource: resource.to_owned(),
            expires_at,
            revoked: false,
        };
        state.tokens.insert(text.clone(), token);
        text
    }

    /// Checks a token for any of the names a resource goes by.
    pub fn check(&self, token: Option<&str>, resources: &[String], now: DateTime<Utc>) -> Result<(), Refusal> {
        let state = locked(&self.state);
        let found = state.tokens.get(token.ok_or(Refusal::Missing)?).ok_or(Refusal::Unknown)?;
        if found.revoked {
            Err(Refusal::Unknown)
        } else if !resources.iter().any(|resource| bare(resource) == found.resource) {
            Err(Refusal::WrongAudience)
        } else if found.expires_at <= now {
            Err(Refusal::Expired)
        } else {
            Ok(())
        }
    }

    /// Names a token for the log, e.g. `token 3 for https://graph.microsoft.com`.
    pub fn label(&self, token: &str) -> String {
        let state = locked(&self.state);
        state.tokens.get(token).map_or_else(|| "unknown token".to_owned(), |found| found.label.clone())
    }

    /// Says which application a token was issued to; empty for a token nobody issued.
    pub(crate) fn client_of(&self, token: &str) -> String {
        let state = locked(&self.state);
        state.tokens.get(token).map_or_else(String::new, |found| found.client_id.clone())
    }

    /// Takes back every token issued so far.
    pub fn revoke_all(&self) {
        locked(&self.state).tokens.values_mut().for_each(|token| token.revoked = true);
    }
}

/// A resource with and without a trailing slash is the same to the services that check it.
fn bare(resource: &str) -> &str {
    resource.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_resource_until_it_expires_or_is_revoked() {
        let book = TokenBook::default();
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or_default();
        let token = book.issue("app", "https://a.example/", at(100));
        let a = ["https://a.example".to_owned()];
        let b = ["https://b.example".to_owned()];
        assert_eq!(book.check(Some(&token), &a, at(99)), Ok(()));
        assert_eq!(book.check(Some(&token), &b, at(99)), Err(Refusal::WrongAudience));
        assert_eq!(book.check(Some(&token), &a, at(100)), Err(Refusal::Expired));
        assert_eq!(book.check(Some("x"), &a, at(99)), Err(Refusal::Unknown));
        assert_eq!(book.check(None, &a, at(99)), Err(Refusal::Missing));
        book.revoke_all();
        assert_eq!(book.check(Some(&token), &a, at(99)), Err(Refusal::Unknown));
        assert_eq!(book.label(&token), "token 1 for https://a.example");
    }
}
