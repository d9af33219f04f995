//! Who is to be invited, and the link with which she sets her password.
//!
//! Metabase invites every account it makes as soon as it has a mail server, and
//! nothing switches that off. So accounts are made while it has none, and the
//! mail is ours.

use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::json;

use super::actual::text;
use super::context::{Context, Error};
use super::tables::Kind;
use crate::access::Credentials;

/// A person with an account that was never used, as far as we know.
#[derive(Debug, Clone)]
pub struct Invitee {
    /// Our number of her.
    pub key: String,
    /// Her address.
    pub email: String,
    /// What she is called; may be empty.
    pub name: String,
    id: i64,
}

/// Lists people with an open account of ours who were not invited to this instance
/// yet; or the one person who is asked for, whether she was or not.
///
/// # Errors
/// When the instance or our own lists cannot be read, or nobody has that address.
pub async fn to_invite(context: &Context<'_>, person: Option<&str>) -> Result<Vec<Invitee>, Error> {
    let credentials = Credentials::open(&context.installation.data_dir).map_err(Error::Credentials)?;
    let client = context.open(&credentials).await?;
    let objects = context.ledger().read().await.map_err(Error::ledger("read what is ours"))?;
    let invited = context.ledger().invited().await.map_err(Error::ledger("read who was invited"))?;
    let wanted = person.map(|address| address.trim().to_lowercase());
    let mut found = Vec::new();
    for user in client.pages("api/user").await.map_err(Error::Metabase)? {
        let Some(id) = user["id"].as_i64() else { continue };
        let ours = objects.iter().find(|((kind, _), known)| *kind == Kind::Person && known.id == Some(id));
        let Some(((_, key), _)) = ours else { continue };
        let email = text(&user["email"]).unwrap_or_default().to_lowercase();
        let asked = match &wanted {
            Some(wanted) => *wanted == email,
            // Who has signed in has a password.
            None => !invited.contains(key) && user["last_login"].is_null(),
        };
        if asked {
            let name = text(&user["first_name"]).unwrap_or_default();
            found.push(Invitee { key: key.clone(), email, name, id });
        }
    }
    if wanted.is_some() && found.is_empty() {
        return Err(Error::NobodyToInvite);
    }
    Ok(found)
}

/// Notes the invitation and asks for a link. `None`: Metabase is older than v0.60
/// and mailed a link of its own.
///
/// # Errors
/// When the instance refuses; the invitation then counts as not made.
pub async fn invitation(context: &Context<'_>, person: &Invitee) -> Result<Option<SecretString>, Error> {
    // Noted first: better somebody who must ask than somebody who is mailed twice.
    context.ledger().invite(&person.key).await.map_err(Error::ledger("note an invitation"))?;
    match link(context, person).await {
        Ok(link) => Ok(link),
        Err(error) => {
            uninvite(context, person).await?;
            Err(error)
        }
    }
}

/// Takes the note of an invitation back: it certainly did not leave.
///
/// # Errors
/// When our own list cannot be written.
pub async fn uninvite(context: &Context<'_>, person: &Invitee) -> Result<(), Error> {
    context.ledger().uninvite(&person.key).await.map_err(Error::ledger("take an invitation back"))
}

async fn link(context: &Context<'_>, person: &Invitee) -> Result<Option<SecretString>, Error> {
    let credentials = Credentials::open(&context.installation.data_dir).map_err(Error::Credentials)?;
    let client = context.open(&credentials).await?;
    match client.post(&format!("api/user/{}/password-reset-url", person.id), &json!({})).await {
        Ok(answer) => match text(&answer["password_reset_url"]) {
            Some(link) => return Ok(Some(SecretString::from(link))),
            None => return Err(Error::NoLink),
        },
        Err(error) if matches!(error.status(), Some(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED)) => {}
        Err(error) => return Err(Error::Metabase(error)),
    }
    // An older release gives no link to anybody; it can only mail one, when it has a mail server.
    let host = client.get("api/setting/email-smtp-host").await.map_err(Error::Metabase)?;
    if text(&host).is_none() {
        return Err(Error::NoLink);
    }
    let body = json!({"email": person.email});
    client.post("api/session/forgot_password", &body).await.map_err(Error::Metabase)?;
    Ok(None)
}
