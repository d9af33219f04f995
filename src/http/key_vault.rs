//! Secrets out of an Azure Key Vault.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::{Host, Url};

use super::client::{self, Client};
use super::managed_identity;
use super::request::{Request, shown};
use super::token_error;
use super::tokens::Tokens;
use crate::settings::{self, Settings, VaultSignIn};

const API_VERSION: &str = "7.4";

/// Why a secret did not come. Never holds one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is none of a secret in a vault.
    #[error("`{key}` names `{url}`, which is no secret in a key vault of this cloud")]
    Address {
        /// Setting that names it.
        key: String,
        /// What it names, without any query.
        url: String,
    },
    /// The client could not be built.
    #[error("failed to prepare the HTTP client for the key vault")]
    Client(#[source] client::Error),
    /// The application could not sign in.
    #[error("failed to sign in to the key vault as the application")]
    SignIn(#[source] token_error::Error),
    /// The machine could not sign in.
    #[error("failed to sign in to the key vault as this machine")]
    Identity(#[source] managed_identity::Error),
    /// The vault was not reached.
    #[error("failed to read the secret for `{key}` from the key vault")]
    Reach {
        /// Setting it is for.
        key: String,
        /// What came in the way.
        source: client::Error,
    },
    /// The vault said no.
    #[error("the key vault refused the secret for `{key}`: status {status}, `{code}`")]
    Refused {
        /// Setting it is for.
        key: String,
        /// Status.
        status: u16,
        /// The vault's own code.
        code: String,
    },
    /// The vault's answer holds no secret.
    #[error("the key vault's answer for `{key}` was not understood")]
    Unreadable {
        /// Setting it is for.
        key: String,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Address { .. } => {
                Some("write it `https://<vault>.vault.azure.net/secrets/<name>`, or as your cloud does")
            }
            Self::Client(_) | Self::Unreadable { .. } => None,
            Self::SignIn(error) => error.hint(),
            Self::Identity(error) => error.hint(),
            Self::Reach { source, .. } => source.hint(),
            Self::Refused { status: 404, .. } => Some("check the secret's name, and that it was not deleted"),
            Self::Refused { .. } => Some(
                "give whoever signs in the role `Key Vault Secrets User` on that vault or secret, and check its firewall",
            ),
        }
    }
}

/// Fetches every secret that the settings leave to a vault, by the name of its setting.
///
/// # Errors
/// When one of them cannot be had.
pub async fn secrets(settings: &Settings) -> Result<BTreeMap<String, SecretString>, Error> {
    let mut found = BTreeMap::new();
    if settings.vault_secrets.is_empty() {
        return Ok(found);
    }
    let client = Client::new(&settings.http).map_err(Error::Client)?;
    let cloud = settings.microsoft.as_ref().map(|microsoft| microsoft.cloud).unwrap_or_default();
    let mut addresses = Vec::new();
    for (key, text) in &settings.vault_secrets {
        addresses.push((key, address(key, text, cloud.vault_suffix())?));
    }
    let resource = cloud.vault_resource();
    let bearer = match (settings.key_vault.sign_in, &settings.microsoft) {
        (VaultSignIn::Application, Some(microsoft)) => {
            let tokens = Tokens::new(&client, microsoft).map_err(Error::SignIn)?;
            let token = tokens.bearer(&resource).await.map_err(Error::SignIn)?;
            SecretString::from(token.expose().to_owned())
        }
        _ => {
            let client = Client::direct(&settings.http).map_err(Error::Client)?;
            managed_identity::token(&client, &settings.key_vault, &resource).await.map_err(Error::Identity)?
        }
    };
    for (key, url) in addresses {
        found.insert(key.clone(), secret(&client, key, url, &bearer).await?);
    }
    Ok(found)
}

#[derive(Deserialize)]
struct Bundle {
    value: SecretString,
}

async fn secret(client: &Client, key: &str, url: Url, bearer: &SecretString) -> Result<SecretString, Error> {
    let client = client.for_origin(&url.origin().ascii_serialization());
    let request = Request::get(url).secret_header("authorization", &format!("Bearer {}", bearer.expose_secret()));
    let key = key.to_owned();
    let answer = match client.send(&request).await {
        Ok(answer) => answer,
        Err(source) => return Err(Error::Reach { key, source }),
    };
    if answer.status.as_u16() == 200 {
        let bundle = answer.json::<Bundle>();
        return bundle.map(|bundle| bundle.value).map_err(|_| Error::Unreadable { key });
    }
    let body: serde_json::Value = answer.json().unwrap_or_default();
    let code = body["error"]["code"].as_str().unwrap_or("no code");
    let code = code.chars().filter(|c| c.is_ascii_alphanumeric()).take(60).collect();
    Err(Error::Refused { key, status: answer.status.as_u16(), code })
}

/// The address to ask: a vault of this cloud over TLS, so that no token goes
/// elsewhere; or this machine, which is where tests keep theirs.
fn address(key: &str, text: &str, suffix: &str) -> Result<Url, Error> {
    let refused = |url: String| Error::Address { key: key.to_owned(), url };
    let mut url = Url::parse(text).map_err(|_| refused("something else".to_owned()))?;
    let known = match url.host() {
        Some(Host::Domain(name)) => url.scheme() == "https" && name.ends_with(suffix),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        _ => false,
    };
    let parts: Vec<&str> = url.path().split('/').filter(|part| !part.is_empty()).collect();
    if !known || parts.first() != Some(&"secrets") || !(2..=3).contains(&parts.len()) {
        return Err(refused(shown(&url)));
    }
    url.set_query(Some(&format!("api-version={API_VERSION}")));
    Ok(url)
}

impl settings::Cloud {
    fn vault_resource(self) -> String {
        format!("https://{}", self.vault_suffix().trim_start_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_a_vault_of_the_cloud_only() {
        let allowed = |text: &str| address("database.url", text, ".vault.azure.net").is_ok();
        assert!(allowed("https://shop.vault.azure.net/secrets/database-url"));
        assert!(allowed("https://shop.vault.azure.net/secrets/database-url/4387e9f3d6e14c459867679a90fd0f79"));
        assert!(allowed("http://127.0.0.1:4711/secrets/x"));
        assert!(!allowed("http://shop.vault.azure.net/secrets/x"));
        assert!(!allowed("https://shop.vault.azure.net.example.com/secrets/x"));
        assert!(!allowed("https://shop.vault.azure.net/keys/x"));
        assert!(!allowed("https://shop.vault.azure.net/secrets"));
        assert!(!allowed("https://shop.vault.azure.cn/secrets/x"));
        assert!(!allowed("database"));
    }
}
