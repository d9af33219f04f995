//! Tokens for the machine we run on, as Azure gives them to its own.

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::client::{self, Client};
use super::request::Request;
use crate::settings;

/// Why the machine got no token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address makes no sense.
    #[error("`key_vault.identity_url` is no address")]
    Address,
    /// Nobody answered.
    #[error("failed to reach the identity service of this machine")]
    Reach(#[source] client::Error),
    /// It said no.
    #[error("the identity service of this machine answered {status} to a token request for `{resource}`")]
    Refused {
        /// What the token was for.
        resource: String,
        /// Status.
        status: u16,
    },
    /// It said something else.
    #[error("the answer of the identity service of this machine was not understood")]
    Unreadable,
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Address => "leave `key_vault.identity_url` out, outside of tests",
            Self::Reach(_) => {
                "only a machine in Azure has such a service; elsewhere set `key_vault.sign_in = \"application\"`"
            }
            Self::Refused { .. } => {
                "give the machine a managed identity; where it has several, name one in `key_vault.client_id`"
            }
            Self::Unreadable => "see what answers at `key_vault.identity_url`",
        })
    }
}

#[derive(Deserialize)]
struct Granted {
    access_token: SecretString,
}

/// Asks for a token. The answer's life is not read: what it opens is opened at once.
pub(super) async fn token(
    client: &Client,
    settings: &settings::KeyVault,
    resource: &str,
) -> Result<SecretString, Error> {
    let base = settings.identity_url.trim_end_matches('/');
    let mut url = Url::parse(&format!("{base}/metadata/identity/oauth2/token")).map_err(|_| Error::Address)?;
    url.query_pairs_mut().append_pair("api-version", "2018-02-01").append_pair("resource", resource);
    if let Some(id) = &settings.client_id {
        url.query_pairs_mut().append_pair("client_id", id);
    }
    let mut attempt = 1;
    loop {
        let request = Request::get(url.clone()).header("metadata", "true");
        let answer = client.send(&request).await.map_err(Error::Reach)?;
        let status = answer.status.as_u16();
        match status {
            200 => return answer.json::<Granted>().map(|granted| granted.access_token).map_err(|_| Error::Unreadable),
            // A machine that has just started answers so until its identity is known.
            404 | 410 if attempt < client.attempts() => {
                client.back_off(attempt).await;
                attempt += 1;
            }
            _ => return Err(Error::Refused { resource: resource.to_owned(), status }),
        }
    }
}
