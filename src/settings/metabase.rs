//! `[metabase]`: where the instance is, and how it is to be set.

use chrono_tz::Tz;
use secrecy::SecretString;
use serde::Deserialize;

/// `[metabase]`: the instance we are told to own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metabase {
    /// Where its API answers, e.g. `http://metabase:3000`.
    pub url: String,
    /// The address people type, for `site-url` and links in mails. Default: `url`.
    pub site_url: Option<String>,
    /// `site-name`.
    #[serde(default = "site_name")]
    pub site_name: String,
    /// `site-locale`. Default: `en`.
    #[serde(default = "locale")]
    pub locale: String,
    /// Sign-in of the service's own administrator.
    pub admin_email: String,
    /// People of ours who may be administrators of Metabase besides, by address; of anybody else the next apply
    /// takes it back.
    #[serde(default)]
    pub administrators: Vec<String>,
    /// A secret: `STOREKEEPER__METABASE__ADMIN_PASSWORD` or `admin_password_file`.
    pub admin_password: SecretString,
    /// Host at which Metabase reaches PostgreSQL. Default: as storekeeper does.
    pub database_host: Option<String>,
    /// Port at which Metabase reaches PostgreSQL. Default: as storekeeper does.
    pub database_port: Option<u16>,
    /// Whether Metabase's connections use TLS. Default: false.
    #[serde(default)]
    pub database_ssl: bool,
    /// Level of the tree at which PostgreSQL itself separates the rows.
    #[serde(default = "wall")]
    pub wall: Wall,
    /// What Metabase itself adds to the wall. Default: `collections`.
    #[serde(default = "isolation")]
    pub isolation: Isolation,
    /// Share of active people one apply may deactivate, 0 to 1. Default: 0.2.
    #[serde(default = "deactivation_limit")]
    pub deactivation_limit: f64,
    /// Share of the scopes that may lose a group or connection by one apply, 0 to 1. Default: 0.2.
    #[serde(default = "deletion_limit")]
    pub deletion_limit: f64,
    /// `report-timezone`: the zone in which Metabase reads and writes times. Not set: as it is.
    pub report_time_zone: Option<Tz>,
    /// `start-of-week`. Not set: as it is.
    pub start_of_week: Option<Weekday>,
    /// `session-timeout`: who does nothing for so long signs in again. Not set: as it is.
    pub session_timeout_minutes: Option<u32>,
    /// The dashboard that everybody sees first, e.g. `head_office@chain`; only while everybody
    /// may read it. Not set: none.
    pub home_page: Option<String>,
    /// `[metabase.mail]`: the server by which Metabase itself sends mail. Not set: as it is.
    pub mail: Option<MetabaseMail>,
    /// `[metabase.cache]`: for how long Metabase may repeat an answer. Not set: as it is.
    pub cache: Option<MetabaseCache>,
}

/// The level of the tree at which PostgreSQL separates rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wall {
    /// A role and a connection for each store (and each wider scope in use).
    Store,
    /// A role and a connection for each region; cards below carry a literal.
    Region,
    /// A role and a connection for each brand; cards below carry a literal.
    Brand,
}

/// What Metabase itself adds to the wall that PostgreSQL is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// Rights on collections: who reads a question may run it. Any edition.
    Collections,
    /// Besides, a question runs for no group that has no business with its connection,
    /// wherever the question lies. Needs the feature `advanced_permissions` of Pro.
    Blocked,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weekday {
    /// `monday`
    Monday,
    /// `tuesday`
    Tuesday,
    /// `wednesday`
    Wednesday,
    /// `thursday`
    Thursday,
    /// `friday`
    Friday,
    /// `saturday`
    Saturday,
    /// `sunday`, Metabase's own default.
    Sunday,
}

/// `[metabase.mail]`: subscriptions and alerts leave by this server. Our own mail does not.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetabaseMail {
    /// Server's name.
    pub host: String,
    /// Server's port. Default: 587.
    #[serde(default = "mail_port")]
    pub port: u16,
    /// How the conversation is protected. Default: `starttls`.
    #[serde(default = "mail_security")]
    pub security: MetabaseMailSecurity,
    /// Sign-in name, if the server wants one.
    pub username: Option<String>,
    /// A secret: `STOREKEEPER__METABASE__MAIL__PASSWORD` or `password_file`.
    pub password: Option<SecretString>,
    /// `email-from-address`. Not set: as it is.
    pub from_address: Option<String>,
    /// `email-from-name`. Not set: as it is.
    pub from_name: Option<String>,
}

/// How Metabase's conversation with its mail server is protected; its own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetabaseMailSecurity {
    /// Plain text.
    None,
    /// TLS from the first byte, in its oldest form.
    Ssl,
    /// TLS from the first byte.
    Tls,
    /// Plain text first, then TLS.
    Starttls,
}

/// `[metabase.cache]`: the one rule that open-source Metabase knows, for the whole instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetabaseCache {
    /// Whether answers are repeated at all.
    pub strategy: CacheStrategy,
    /// An answer is repeated for so many times as long as its query took. Default: 10.
    #[serde(default = "cache_multiplier")]
    pub multiplier: u32,
    /// Quicker queries are always asked anew. Default: 1000.
    #[serde(default = "cache_min_duration")]
    pub min_duration_milliseconds: u32,
}

/// Whether answers are repeated; Metabase's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheStrategy {
    /// Every question is asked anew.
    Nocache,
    /// For a while that grows with the query's own duration.
    Ttl,
}

impl Metabase {
    /// What types cannot say: keys below `metabase.`, each with what is wrong.
    pub(super) fn mistakes(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if self.session_timeout_minutes == Some(0) {
            mistakes.push(("session_timeout_minutes", "a session lasts at least a minute".to_owned()));
        }
        if let Some(mail) = &self.mail {
            if mail.host.trim().is_empty() {
                mistakes.push(("mail.host", "a mail server has a name".to_owned()));
            }
            if mail.username.is_some() != mail.password.is_some() {
                mistakes.push(("mail.username", "`username` and `password` go together: set both or none".to_owned()));
            }
        }
        if self.cache.is_some_and(|cache| cache.multiplier == 0) {
            mistakes.push(("cache.multiplier", "at least 1; `strategy = \"nocache\"` repeats nothing".to_owned()));
        }
        mistakes
    }
}

fn site_name() -> String {
    "storekeeper".to_owned()
}

fn locale() -> String {
    "en".to_owned()
}

fn wall() -> Wall {
    Wall::Store
}

fn deactivation_limit() -> f64 {
    0.2
}

fn deletion_limit() -> f64 {
    0.2
}

fn isolation() -> Isolation {
    Isolation::Collections
}

fn mail_port() -> u16 {
    587
}

fn mail_security() -> MetabaseMailSecurity {
    MetabaseMailSecurity::Starttls
}

fn cache_multiplier() -> u32 {
    10
}

fn cache_min_duration() -> u32 {
    1000
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::settings::read;

    fn told(section: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("t.toml");
        let text = format!("[metabase]\nurl = \"http://m\"\nadmin_email = \"a@b\"\n{section}");
        std::fs::write(&file, text).unwrap();
        let password = ("STOREKEEPER__METABASE__ADMIN_PASSWORD".to_owned(), "x".to_owned());
        let error = read(&[file], &BTreeMap::from([password])).unwrap_err();
        error.to_string().replace(&folder.path().display().to_string(), "")
    }

    #[test]
    fn an_instance_that_cannot_be_set_so_is_told() {
        insta::assert_snapshot!(told("session_timeout_minutes = 0\n[metabase.mail]\nhost = \"\"\nusername = \"u\"\n[metabase.cache]\nstrategy = \"ttl\"\nmultiplier = 0\n"), @r#"
        4 mistakes in the settings:
          /t.toml:4: a session lasts at least a minute
          /t.toml:6: a mail server has a name
          /t.toml:7: `username` and `password` go together: set both or none
          /t.toml:10: at least 1; `strategy = "nocache"` repeats nothing
        "#);
        insta::assert_snapshot!(told("start_of_week = \"mon\"\n"), @r"
        1 mistake in the settings:
          /t.toml:4: enum Weekday does not have variant constructor mon for key `metabase.start_of_week`
        ");
        insta::assert_snapshot!(told("report_time_zone = \"New York\"\n"), @r"
        1 mistake in the settings:
          /t.toml:4: failed to parse timezone: 'New York' for key `metabase.report_time_zone`
        ");
        let said = told("[metabase.mail]\nhost = \"h\"\npassword = \"s3cret\"\n");
        assert!(said.contains("`metabase.mail.password` is a secret") && !said.contains("s3cret"), "{said}");
    }
}
