//! Gets the key that everything else is done with, once.
//!
//! Metabase counts every sign-in, also those it refuses while it refuses, and
//! the wait it names does not help. So there is at most one sign-in: it makes
//! an API key, which is kept. A refusal is kept too: for an hour nobody tries
//! again, whatever the answer's text says.

use chrono::{DateTime, Duration, Utc};
use reqwest::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tracing::info;

use super::client::{self, Client, Proof};
use crate::access::{Credentials, CredentialsError};
use crate::http;
use crate::settings;
use crate::warehouse::hexadecimal;

const ANY_PASSWORD: &str = "*";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Metabase refused the sign-in.
    #[error("Metabase refused the sign-in of `metabase.admin_email`")]
    SignIn(#[source] client::Error),
    /// It refused one within the last hour; trying again would make it worse.
    #[error("Metabase refused a sign-in less than an hour ago; the next is tried after {until}")]
    Wait {
        /// When.
        until: DateTime<Utc>,
    },
    /// A call failed.
    #[error("failed to get an API key")]
    Call(#[from] client::Error),
    /// The key could not be kept.
    #[error("failed to keep the API key")]
    Keep(#[from] CredentialsError),
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::SignIn(_) => {
                Some("correct `metabase.admin_email` and its password; ten refusals within an hour lock the account")
            }
            Self::Wait { .. } => Some("with a corrected password in the settings it is tried at once"),
            Self::Call(error) => error.hint(),
            Self::Keep(error) => error.hint(),
        }
    }
}

/// What Metabase takes from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// The kept key.
    Key,
    /// The administrator's password; there is no kept key yet, or it is no good any more.
    Password,
    /// Nobody set the instance up: the first `plan` does, with the password.
    NotSetUp,
}

/// A client that may do everything.
pub(super) struct Opened {
    pub(super) client: Client,
    /// Whether the instance was set up just now: nothing in it is ours yet.
    pub(super) fresh: bool,
}

/// Opens a client that may do everything: with the kept key, or after first
/// set-up or one sign-in with a new key.
pub(super) async fn open(
    client: &Client,
    settings: &settings::Metabase,
    installation: &str,
    credentials: &Credentials,
    now: DateTime<Utc>,
) -> Result<Opened, Error> {
    let instance = &instance_of(settings);
    if let Some(with_key) = with_kept_key(client, instance, credentials).await? {
        return Ok(Opened { client: with_key, fresh: false });
    }
    let properties = client.get("api/session/properties").await?;
    let fresh = setup_token(&properties).is_some();
    let session = match setup_token(&properties) {
        Some(token) => set_up(client, settings, token).await?,
        None => sign_in(client, settings, credentials, now).await?,
    };
    credentials.forget(&refusal_of(instance))?;
    let signed_in = with_session(client, &session)?;
    let (_, key) = make_key(&signed_in, installation, instance, now).await?;
    credentials.keep(&key_of(instance), &key)?;
    // The session ends by itself too; ours is only gone sooner.
    let _signed_out = signed_in.delete("api/session").await;
    info!("made an API key");
    Ok(Opened { client: client.with(Proof::Key(key)), fresh })
}

/// Tries what [`open`] would sign in with, and leaves nothing behind: no key is made, and an
/// instance that was never set up stays so. At most one sign-in, none within an hour of a refusal.
///
/// # Errors
/// When Metabase refuses, or cannot be reached.
pub async fn try_sign_in(
    http: &http::Client,
    settings: &settings::Metabase,
    installation: &settings::Installation,
    now: DateTime<Utc>,
) -> Result<Accepted, Error> {
    let client = &Client::new(http, &settings.url)?;
    let credentials = &Credentials::open(&installation.data_dir)?;
    let instance = &instance_of(settings);
    if with_kept_key(client, instance, credentials).await?.is_some() {
        return Ok(Accepted::Key);
    }
    if setup_token(&client.get("api/session/properties").await?).is_some() {
        return Ok(Accepted::NotSetUp);
    }
    let session = sign_in(client, settings, credentials, now).await?;
    credentials.forget(&refusal_of(instance))?;
    let _signed_out = with_session(client, &session)?.delete("api/session").await;
    Ok(Accepted::Password)
}

/// The client with the kept key, where there is one that still may do everything.
async fn with_kept_key(client: &Client, instance: &str, credentials: &Credentials) -> Result<Option<Client>, Error> {
    let Some(key) = credentials.read(&key_of(instance))? else { return Ok(None) };
    let with_key = client.with(Proof::Key(key));
    match with_key.get("api/user/current").await {
        Ok(user) if user["is_superuser"] == json!(true) => Ok(Some(with_key)),
        // Somebody deleted the key, or the instance was made anew.
        Ok(_) => Ok(None),
        Err(error) if matches!(error.status(), Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Signs in by password, and keeps a refusal.
async fn sign_in(
    client: &Client,
    settings: &settings::Metabase,
    credentials: &Credentials,
    now: DateTime<Utc>,
) -> Result<Value, Error> {
    let refusal = refusal_of(&instance_of(settings));
    let password = settings.admin_password.expose_secret();
    let tried = hexadecimal(&Sha256::digest(format!("{} {password}", settings.admin_email)));
    not_too_soon(credentials, &refusal, &tried, now)?;
    let body = json!({"username": settings.admin_email, "password": password});
    match client.post("api/session", &body).await {
        Ok(session) => Ok(session),
        Err(error) => {
            // Anything else says nothing of the password, such as a server that is ill.
            let refusals = [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED];
            if let client::Error::Refused { fields, status, .. } = &error
                && refusals.contains(status)
            {
                // Throttled: no password helps within the hour.
                let throttled = fields.iter().any(|field| field == "username");
                let with = if throttled { ANY_PASSWORD } else { &tried };
                let note = SecretString::from(format!("{with} {}", now.to_rfc3339()));
                credentials.keep(&refusal, &note)?;
                return Err(Error::SignIn(error));
            }
            Err(error.into())
        }
    }
}

fn with_session(client: &Client, session: &Value) -> Result<Client, Error> {
    let id = session["id"].as_str().ok_or(client::Error::Shape { call: "POST api/session", missing: "id" })?;
    Ok(client.with(Proof::Session(SecretString::from(id.to_owned()))))
}

fn key_of(instance: &str) -> String {
    format!("metabase-{instance}.key")
}

fn refusal_of(instance: &str) -> String {
    format!("metabase-{instance}.refused")
}

/// Makes a key that may do everything; gives its id and itself.
async fn make_key(
    client: &Client,
    installation: &str,
    instance: &str,
    now: DateTime<Utc>,
) -> Result<(i64, SecretString), Error> {
    let administrators = administrators(&client::list(client.get("api/permissions/group").await?));
    let body = json!({"name": key_name(installation, instance, now), "group_id": administrators});
    let answer = client.post("api/api-key", &body).await?;
    let key = answer["unmasked_key"]
        .as_str()
        .ok_or(client::Error::Shape { call: "POST api/api-key", missing: "unmasked_key" })?;
    Ok((client::id_of(&answer, "POST api/api-key")?, SecretString::from(key.to_owned())))
}

/// Makes a new key, keeps it, tries it, and only then removes the older ones of
/// ours: at every moment the kept key works.
pub(super) async fn rotate(
    client: &Client,
    settings: &settings::Metabase,
    installation: &str,
    credentials: &Credentials,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let instance = &instance_of(settings);
    let (id, key) = make_key(client, installation, instance, now).await?;
    credentials.keep(&key_of(instance), &key)?;
    let renewed = client.with(Proof::Key(key));
    renewed.get("api/user/current").await?;
    for old in keys(&renewed, installation, instance).await?.into_iter().filter(|old| *old != id) {
        renewed.delete(&format!("api/api-key/{old}")).await?;
    }
    info!("made a new API key and removed the older ones");
    Ok(())
}

/// Removes all our keys to the instance, the one in use last, and the kept one.
pub(super) async fn remove_keys(
    client: &Client,
    settings: &settings::Metabase,
    installation: &str,
    credentials: &Credentials,
) -> Result<(), Error> {
    let instance = &instance_of(settings);
    let current = client.get("api/user/current").await?;
    let name = current["first_name"].as_str().unwrap_or_default().to_owned();
    let mut all = Vec::new();
    for key in client::list(client.get("api/api-key").await?) {
        if let Some(id) = key["id"].as_i64().filter(|_| is_ours(&key, installation, instance)) {
            all.push((key["name"] == name.as_str(), id));
        }
    }
    all.sort_unstable();
    for (_, id) in all {
        client.delete(&format!("api/api-key/{id}")).await?;
    }
    credentials.forget(&key_of(instance))?;
    Ok(())
}

/// Tells instances apart in names of files and keys.
fn instance_of(settings: &settings::Metabase) -> String {
    hexadecimal(&Sha256::digest(settings.url.trim_end_matches('/')))[..12].to_owned()
}

/// The ids of the keys that we made.
async fn keys(client: &Client, installation: &str, instance: &str) -> Result<Vec<i64>, Error> {
    let keys = client::list(client.get("api/api-key").await?);
    let ours = keys.iter().filter(|key| is_ours(key, installation, instance));
    Ok(ours.filter_map(|key| key["id"].as_i64()).collect())
}

fn is_ours(key: &Value, installation: &str, instance: &str) -> bool {
    key["name"].as_str().is_some_and(|name| name.starts_with(&format!("{installation} {instance} ")))
}

/// Names are unique among keys, and an older key of ours may still be there.
fn key_name(installation: &str, instance: &str, now: DateTime<Utc>) -> String {
    format!("{installation} {instance} {:x}", rand::random::<u32>() ^ now.timestamp() as u32)
}

fn setup_token(properties: &Value) -> Option<&str> {
    if properties["has-user-setup"] == json!(true) {
        return None;
    }
    properties["setup-token"].as_str()
}

async fn set_up(client: &Client, settings: &settings::Metabase, token: &str) -> Result<Value, Error> {
    let body = json!({
        "token": token,
        "user": {
            "email": settings.admin_email,
            "password": settings.admin_password.expose_secret(),
            "first_name": "Store",
            "last_name": "Keeper",
        },
        "prefs": {"site_name": settings.site_name, "site_locale": settings.locale},
    });
    let answer = client.post("api/setup", &body).await?;
    info!("set Metabase up");
    Ok(answer)
}

/// Refuses a sign-in with the same password within an hour of a refusal.
fn not_too_soon(credentials: &Credentials, refusal: &str, tried: &str, now: DateTime<Utc>) -> Result<(), Error> {
    let Some(kept) = credentials.read(refusal)? else {
        return Ok(());
    };
    let (with, at) = kept.expose_secret().split_once(' ').unwrap_or_default();
    let Ok(at) = DateTime::parse_from_rfc3339(at) else {
        return Ok(());
    };
    let until = at.to_utc() + Duration::hours(1);
    if [tried, ANY_PASSWORD].contains(&with) && now < until { Err(Error::Wait { until }) } else { Ok(()) }
}

/// Finds the administrators' group: by its kind, on old servers by its name.
pub(super) fn administrators(groups: &[Value]) -> i64 {
    magic(groups, "admin", "Administrators", 2)
}

/// Finds the group of everybody.
pub(super) fn all_users(groups: &[Value]) -> i64 {
    magic(groups, "all-internal-users", "All Users", 1)
}

fn magic(groups: &[Value], kind: &str, name: &str, usual: i64) -> i64 {
    let by = |key: &str, value: &str| groups.iter().find(|group| group[key] == value);
    by("magic_group_type", kind).or_else(|| by("name", name)).and_then(|group| group["id"].as_i64()).unwrap_or(usual)
}
