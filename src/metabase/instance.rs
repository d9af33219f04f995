//! How the instance itself is to be set: what is sent, and when it is as wished. Pure.

use secrecy::SecretString;
use serde_json::{Map, Value, json};

use crate::settings::{self, CacheStrategy, MetabaseMailSecurity, Weekday};

/// The setting whose value Metabase never tells.
pub(super) const MAIL_PASSWORD: &str = "email-smtp-password";
/// The settings of the mail server: they are written together, and tried before they are kept.
pub(super) const MAIL_SERVER: [&str; 5] =
    ["email-smtp-host", "email-smtp-port", "email-smtp-security", "email-smtp-username", MAIL_PASSWORD];

/// The server by which Metabase sends mail.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mail {
    /// What is no secret, by Metabase's keys.
    pub(super) server: Map<String, Value>,
    /// Changes with the password, and does not tell it.
    pub(super) password_mark: Option<String>,
}

impl Mail {
    /// The server that the settings name; `mark` tells one password from another.
    pub(super) fn of(mail: &settings::MetabaseMail, mark: impl Fn(&SecretString) -> String) -> Self {
        let security = match mail.security {
            MetabaseMailSecurity::None => "none",
            MetabaseMailSecurity::Ssl => "ssl",
            MetabaseMailSecurity::Tls => "tls",
            MetabaseMailSecurity::Starttls => "starttls",
        };
        let [host, port, protection, username, _] = MAIL_SERVER.map(str::to_owned);
        let server = Map::from_iter([
            (host, json!(mail.host)),
            (port, json!(mail.port)),
            (protection, json!(security)),
            (username, json!(mail.username)),
        ]);
        Self { server, password_mark: mail.password.as_ref().map(mark) }
    }
}

/// The settings that have a value of their own. What is not configured is not among them.
pub(super) fn values(settings: &settings::Metabase) -> Vec<(&'static str, Value)> {
    let mut values = Vec::new();
    if let Some(zone) = settings.report_time_zone {
        values.push(("report-timezone", json!(zone.name())));
    }
    if let Some(day) = settings.start_of_week {
        let day = match day {
            Weekday::Monday => "monday",
            Weekday::Tuesday => "tuesday",
            Weekday::Wednesday => "wednesday",
            Weekday::Thursday => "thursday",
            Weekday::Friday => "friday",
            Weekday::Saturday => "saturday",
            Weekday::Sunday => "sunday",
        };
        values.push(("start-of-week", json!(day)));
    }
    if let Some(minutes) = settings.session_timeout_minutes {
        values.push(("session-timeout", json!({"amount": minutes, "unit": "minutes"})));
    }
    if let Some(mail) = &settings.mail {
        let named = [("email-from-address", &mail.from_address), ("email-from-name", &mail.from_name)];
        values.extend(named.into_iter().filter_map(|(key, value)| Some((key, json!(value.as_ref()?)))));
    }
    values
}

/// The one rule of the cache that open-source Metabase takes.
pub(super) fn cache_strategy(cache: settings::MetabaseCache) -> Value {
    match cache.strategy {
        CacheStrategy::Nocache => no_cache(),
        CacheStrategy::Ttl => json!({
            "type": "ttl",
            "multiplier": cache.multiplier,
            "min_duration_ms": cache.min_duration_milliseconds,
        }),
    }
}

/// What holds where no rule was ever written.
pub(super) fn no_cache() -> Value {
    json!({"type": "nocache"})
}

/// Says whether a setting is as wished; servers write some values in several forms.
pub(super) fn same(found: &Value, wanted: &Value) -> bool {
    if let (Some(found), Some(wanted)) = (seconds(found), seconds(wanted)) {
        return found == wanted;
    }
    let as_text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match wanted {
        // More may be in it than was sent.
        Value::Object(fields) => fields.iter().all(|(key, value)| found[key] == *value),
        _ => found == wanted || (!found.is_null() && !wanted.is_null() && as_text(found) == as_text(wanted)),
    }
}

/// The length of `{"amount": 8, "unit": "hours"}`, which may come as text about it.
fn seconds(value: &Value) -> Option<u64> {
    let read = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    let value: &Value = read.as_ref().unwrap_or(value);
    let unit = match value["unit"].as_str()? {
        "seconds" => 1,
        "minutes" => 60,
        "hours" => 3600,
        _ => return None,
    };
    value["amount"].as_u64()?.checked_mul(unit)
}

/// Writes a setting's value as people say it.
pub(super) fn words(value: &Value) -> Value {
    let text = |key: &str| value[key].as_str();
    let number = |key: &str| value[key].as_u64();
    if let (Some(amount), Some(unit)) = (number("amount"), text("unit")) {
        return format!("{amount} {unit}").into();
    }
    match (text("type"), number("multiplier"), number("min_duration_ms")) {
        (Some("nocache"), ..) => "every question is asked anew".into(),
        (Some("ttl"), Some(times), Some(least)) => {
            format!("{times} times as long as a query took, from {least} ms").into()
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_known_in_each_form_in_which_servers_write_it() {
        for (found, wanted) in [
            (json!("true"), json!(true)),
            (json!("587"), json!(587)),
            (json!({"amount": 8, "unit": "hours"}), json!({"amount": 480, "unit": "minutes"})),
            (json!("{\"amount\":480,\"unit\":\"minutes\"}"), json!({"amount": 480, "unit": "minutes"})),
            (json!({"type": "nocache", "name": "x"}), json!({"type": "nocache"})),
        ] {
            assert!(same(&found, &wanted), "{found} {wanted}");
        }
        for (found, wanted) in [
            (json!(null), json!("null")),
            (json!("monday"), json!("sunday")),
            (json!(null), json!({"amount": 480, "unit": "minutes"})),
            (json!({"amount": 480, "unit": "seconds"}), json!({"amount": 480, "unit": "minutes"})),
            (json!({"type": "ttl", "multiplier": 5}), json!({"type": "ttl", "multiplier": 10})),
        ] {
            assert!(!same(&found, &wanted), "{found} {wanted}");
        }
    }

    #[test]
    fn values_are_shown_as_people_say_them() {
        let shown = [
            json!({"amount": 480, "unit": "minutes"}),
            json!({"type": "ttl", "multiplier": 10, "min_duration_ms": 1000}),
            json!("monday"),
        ];
        insta::assert_snapshot!(shown.map(|value| words(&value).to_string()).join("\n"), @r#"
        "480 minutes"
        "10 times as long as a query took, from 1000 ms"
        "monday"
        "#);
    }
}
