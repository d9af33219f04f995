//! Settings, and what a caller may know before signing in.

use serde_json::{Map, Value, json};

use super::access::Caller;
use super::call::Call;
use super::reply::{Answer, Reply, exception, field_error, no_such_route, paid_feature};
use super::server::Server;
use super::state::State;

/// Who may read a setting in the properties.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Everybody,
    Users,
    Admins,
}

use Seen::{Admins, Everybody, Users};

/// Key, default as JSON, who sees it.
const SETTINGS: &[(&str, &str, Seen)] = &[
    ("admin-email", "null", Users),
    ("anon-tracking-enabled", "true", Everybody),
    ("application-name", "\"Metabase\"", Everybody),
    ("check-for-updates", "true", Admins),
    ("custom-formatting", "{}", Everybody),
    ("custom-homepage", "false", Users),
    ("custom-homepage-dashboard", "null", Users),
    ("email-configured?", "false", Everybody),
    ("email-from-address", "\"notifications@metabase.com\"", Admins),
    ("email-from-name", "null", Admins),
    ("email-reply-to", "null", Admins),
    ("email-smtp-host", "null", Admins),
    ("email-smtp-password", "null", Admins),
    ("email-smtp-port", "null", Admins),
    ("email-smtp-security", "\"none\"", Admins),
    ("email-smtp-username", "null", Admins),
    ("embedding-app-origin", "null", Admins),
    ("enable-embedding", "false", Everybody),
    ("enable-embedding-interactive", "false", Everybody),
    ("enable-embedding-sdk", "false", Everybody),
    ("enable-embedding-static", "false", Everybody),
    ("enable-nested-queries", "true", Users),
    ("enable-password-login", "true", Everybody),
    ("enable-public-sharing", "true", Users),
    ("enable-query-caching", "true", Users),
    ("enable-xrays", "true", Users),
    ("help-link", "\"metabase\"", Users),
    ("hide-stacktraces", "false", Admins),
    ("humanization-strategy", "\"simple\"", Admins),
    ("landing-page", "\"\"", Everybody),
    ("load-analytics", "true", Admins),
    ("map-tile-server-url", "\"https://{s}.tile.openstreetmap.org/{z}/{x}/{y}.png\"", Users),
    ("native-query-autocomplete-match-style", "\"substring\"", Users),
    ("persisted-models-enabled", "false", Users),
    ("report-timezone", "null", Users),
    ("session-cookies", "null", Everybody),
    ("session-timeout", "null", Everybody),
    ("show-homepage-data", "true", Users),
    ("show-homepage-xrays", "true", Users),
    ("show-metabot", "true", Users),
    ("show-metabase-links", "true", Everybody),
    ("site-locale", "\"en\"", Everybody),
    ("site-name", "\"Metabase\"", Everybody),
    ("site-url", "null", Everybody),
    ("start-of-week", "\"sunday\"", Everybody),
    ("subscription-allowed-domains", "null", Users),
    ("user-visibility", "\"all\"", Users),
];

/// Settings that need a licence to be changed.
const PAID: &[&str] = &["landing-page", "subscription-allowed-domains", "user-visibility"];
const SECRETS: &[&str] = &["email-smtp-password"];
const SMTP: &[&str] =
    &["email-smtp-host", "email-smtp-port", "email-smtp-security", "email-smtp-username", "email-smtp-password"];

/// A setting's value on a new server.
pub(super) fn default_of(key: &str) -> Value {
    SETTINGS
        .iter()
        .find(|(known, _, _)| *known == key)
        .and_then(|(_, default, _)| serde_json::from_str(default).ok())
        .unwrap_or_default()
}

/// Everything under `/api/setting`.
pub(super) fn handle(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    caller.must_be_admin()?;
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let rows: Vec<Value> = SETTINGS
                .iter()
                .map(|(key, _, _)| {
                    let variable = variable(key);
                    let given = state.environment.contains_key(*key);
                    // What the environment gives is not shown; the default says where it comes from.
                    let default =
                        if given { json!(format!("Using value of env var ${variable}")) } else { default_of(key) };
                    json!({
                        "key": key,
                        "value": state.settings.get(*key).filter(|_| !given).map(|_| shown(state, key)),
                        "is_env_setting": given,
                        "env_name": variable,
                        "description": null,
                        "default": default,
                    })
                })
                .collect();
            Ok(Reply::ok(rows))
        }
        ("GET", [key]) => {
            known(key)?;
            match shown(state, key) {
                Value::Null => Ok(Reply::empty()),
                value => Ok(Reply::ok(value)),
            }
        }
        ("PUT", [key]) => {
            set(state, key, call.field("value").cloned().unwrap_or_default())?;
            Ok(Reply::empty())
        }
        ("PUT", []) => {
            for key in call.fields().keys() {
                known(key)?;
            }
            for (key, value) in call.fields() {
                set(state, key, value.clone())?;
            }
            Ok(Reply::empty())
        }
        _ => Err(no_such_route()),
    }
}

/// `PUT /api/email`: the connection is tried before it is kept.
pub(super) async fn email(server: &Server, call: &Call, path: &[&str]) -> Option<Answer> {
    match (call.method.as_str(), path) {
        ("PUT", ["email"]) => Some(put_email(server, call).await),
        ("DELETE", ["email"]) => Some(server.write(|state| {
            state.caller(call)?.must_be_admin()?;
            for key in SMTP {
                changeable(state, key)?;
                state.settings.remove(*key);
            }
            Ok(Reply::empty())
        })),
        ("POST", ["email", "test"]) => Some(server.write(|state| {
            let caller = state.caller(call)?;
            caller.must_be_admin()?;
            if !state.smtp_configured() {
                return Err(Reply::json(400, json!({ "message": "SMTP host is not set." })));
            }
            let to = state.users[&caller.user_id].email.clone();
            state.mail("test", &to, json!({}));
            Ok(Reply::ok(json!({ "ok": true })))
        })),
        _ => None,
    }
}

async fn put_email(server: &Server, call: &Call) -> Answer {
    server.read(|state| {
        state.caller(call)?.must_be_admin()?;
        SMTP.iter().try_for_each(|key| changeable(state, key))
    })?;
    let host = call.optional_text("email-smtp-host")?.unwrap_or_default();
    let port = call
        .given("email-smtp-port")
        .and_then(|port| match port {
            Value::String(text) => text.parse().ok(),
            other => other.as_u64().and_then(|port| u16::try_from(port).ok()),
        })
        .unwrap_or(25_u16);
    let reached =
        tokio::time::timeout(std::time::Duration::from_secs(5), tokio::net::TcpStream::connect((host.as_str(), port)))
            .await;
    if !matches!(reached, Ok(Ok(_))) {
        return Err(Reply::json(
            400,
            json!({ "errors": {
                "email-smtp-host": "Wrong host or port",
                "email-smtp-port": "Wrong host or port",
            } }),
        ));
    }
    server.write(|state| {
        for (key, value) in call.fields() {
            state.settings.insert(key.clone(), value.clone());
        }
        Ok(Reply::ok(Value::Object(call.fields().clone())))
    })
}

/// `GET /api/session/properties`: more, the more the caller may.
pub(super) fn properties(state: &State, call: &Call) -> Reply {
    let seen = match state.caller(call) {
        Ok(caller) if caller.superuser => Admins,
        Ok(_) => Users,
        Err(_) => Everybody,
    };
    let mut answer = Map::new();
    for (key, _, needed) in SETTINGS {
        if *needed <= seen {
            answer.insert((*key).to_owned(), shown(state, key));
        }
    }
    let features = [
        "advanced_permissions",
        "sandboxes",
        "serialization",
        "sso_jwt",
        "audit_app",
        "config_text_file",
        "email_restrict_recipients",
        "email_allow_list",
        "official_collections",
        "tenants",
    ];
    let features: Map<String, Value> =
        features.into_iter().map(|name| (name.to_owned(), Value::Bool(state.features.contains(name)))).collect();
    answer.insert("email-configured?".into(), json!(state.smtp_configured()));
    answer.insert("setup-token".into(), json!(state.setup_token));
    answer.insert("has-user-setup".into(), json!(state.has_user_setup()));
    answer.insert("token-features".into(), Value::Object(features));
    answer.insert("version".into(), json!({ "tag": state.profile.tag(), "date": "2026-05-12", "hash": "0000000" }));
    answer.insert("password-complexity".into(), json!({ "total": 6, "digit": 1 }));
    Reply::ok(answer)
}

fn shown(state: &State, key: &str) -> Value {
    let value = state.setting(key);
    match value.as_str() {
        Some(_) if SECRETS.contains(&key) && state.environment.contains_key(key) => Value::Null,
        Some(secret) if SECRETS.contains(&key) => {
            let end: String = secret.chars().rev().take(2).collect();
            let end: String = end.chars().rev().collect();
            Value::from(format!("**********{end}"))
        }
        _ => value,
    }
}

fn variable(key: &str) -> String {
    format!("MB_{}", key.replace('-', "_").to_uppercase())
}

fn changeable(state: &State, key: &str) -> Result<(), Reply> {
    if state.environment.contains_key(key) {
        let text = format!("You cannot set {key}: it is given by the environment variable {}.", variable(key));
        return Err(Reply::text(400, &text));
    }
    Ok(())
}

/// Values that the real server checks by their kind.
fn sound(key: &str, value: &Value) -> bool {
    const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    match key {
        _ if value.is_null() => true,
        "start-of-week" => value.as_str().is_some_and(|day| DAYS.contains(&day)),
        "session-timeout" => {
            value["amount"].as_u64().is_some_and(|amount| amount > 0)
                && matches!(value["unit"].as_str(), Some("seconds" | "minutes" | "hours"))
        }
        _ => true,
    }
}

fn known(key: &str) -> Result<(), Reply> {
    if SETTINGS.iter().any(|(known, _, _)| *known == key) {
        Ok(())
    } else {
        Err(exception(&format!("Unknown setting: :{key}")))
    }
}

fn set(state: &mut State, key: &str, value: Value) -> Result<(), Reply> {
    known(key)?;
    changeable(state, key)?;
    if !sound(key, &value) {
        return Err(field_error(400, "value", &format!("{value} is no {key}.")));
    }
    if PAID.contains(&key) && !value.is_null() {
        return Err(paid_feature(&format!("Setting {key}")));
    }
    if default_of(key).is_boolean() && !(value.is_boolean() || value.is_null()) {
        let boolean = matches!(value.as_str(), Some("true" | "false"));
        if !boolean {
            return Err(field_error(400, "value", "value must be a boolean."));
        }
    }
    if value.is_null() {
        state.settings.remove(key);
    } else {
        let value = match value.as_str() {
            Some(text @ ("true" | "false")) if default_of(key).is_boolean() => Value::Bool(text == "true"),
            _ => value,
        };
        state.settings.insert(key.to_owned(), value);
    }
    Ok(())
}
