//! Reads the files and variables, and collects every mistake before answering.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use config::{Config, FileFormat};
use croner::parser::{CronParser, Seconds, Year};
use secrecy::{ExposeSecret as _, SecretString};
use toml::de::{DeTable, DeValue};

use super::keys::{self, Kind};
use super::metabase::Metabase;
use super::types::{Cloud, Settings, VaultSignIn};
use crate::words::counted;

const DEFAULTS: &str = include_str!("../../config/default.toml");
const PREFIX: &str = "STOREKEEPER__";
const IN_VAULT: &str = ".key_vault";
const CLIENT_SECRET: &str = "microsoft.client_secret";

/// One mistake a person must fix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `config/production.toml:12` or the variable's name.
    pub place: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Mistakes in files or variables, all of them.
    #[error("{} in the settings:\n{}", counted(.0.len(), "mistake", "mistakes"), lines(.0))]
    Problems(Vec<Problem>),
}

impl Error {
    /// Says what the operator can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some("config/default.toml lists every option with its meaning")
    }
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

/// Reads defaults, then each file in turn, then the variables.
///
/// `variables` is the environment, given so that a test can give another.
///
/// # Errors
/// Every unknown key, wrong type, unreadable file and missing secret at once.
pub fn read(files: &[PathBuf], variables: &BTreeMap<String, String>) -> Result<Settings, Error> {
    read_with_secrets(files, variables, &BTreeMap::new())
}

/// The same, with the secrets that were fetched from a vault meanwhile.
///
/// # Errors
/// As [`read`].
pub fn read_with_secrets(
    files: &[PathBuf],
    variables: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, SecretString>,
) -> Result<Settings, Error> {
    let mut problems = Vec::new();
    let mut builder = Config::builder().add_source(config::File::from_str(DEFAULTS, FileFormat::Toml));
    let mut places = BTreeMap::new();
    let mut secret_files = BTreeMap::new();
    let mut vault_secrets = BTreeMap::new();
    for file in files {
        match std::fs::read_to_string(file) {
            Ok(text) => {
                let before = problems.len();
                check_file(file, &text, &mut problems, &mut places, &mut secret_files);
                vault_secrets.extend(in_vault(&text));
                if problems.len() == before {
                    builder =
                        builder.add_source(config::File::from_str(&without_secret_places(&text), FileFormat::Toml));
                }
            }
            Err(error) => problems.push(Problem {
                place: file.display().to_string(),
                message: format!("failed to read the file: {error}"),
            }),
        }
    }
    for (name, value) in variables.iter().filter(|(name, _)| name.starts_with(PREFIX)) {
        let path = name[PREFIX.len()..].to_lowercase().replace("__", ".");
        match keys::find(&path) {
            None => problems.push(unknown(name.clone(), &path)),
            Some(_) if vault_secret_of(&path).is_some() => {
                places.insert(path.clone(), name.clone());
                vault_secrets.insert(path.trim_end_matches(IN_VAULT).to_owned(), value.clone());
            }
            Some(_) if secret_of(&path).is_some() => {
                places.insert(path.clone(), name.clone());
                secret_files.insert(path, value.clone());
            }
            Some(kind) => {
                places.insert(path.clone(), name.clone());
                match typed(kind, value) {
                    Ok(value) => match builder.clone().set_override(&path, value) {
                        Ok(next) => builder = next,
                        Err(error) => problems.push(Problem { place: name.clone(), message: error.to_string() }),
                    },
                    Err(message) => problems.push(Problem { place: name.clone(), message }),
                }
            }
        }
    }
    for (path, file) in &secret_files {
        let place = places.get(path).cloned().unwrap_or_default();
        let key = secret_of(path).unwrap_or_default();
        match std::fs::read_to_string(file) {
            Ok(text) => match builder.clone().set_override(key, text.trim_end_matches(['\r', '\n'])) {
                Ok(next) => builder = next,
                Err(error) => problems.push(Problem { place, message: error.to_string() }),
            },
            Err(error) => {
                problems.push(Problem { place, message: format!("failed to read secret file `{file}`: {error}") })
            }
        }
    }
    // What a variable or a file gives, wins.
    vault_secrets.retain(|key, _| {
        !secret_files.keys().any(|path| secret_of(path) == Some(key)) && !variables.contains_key(&variable(key))
    });
    for key in vault_secrets.keys() {
        let secret = secrets.get(key).map_or("", |secret| secret.expose_secret());
        match builder.clone().set_override(key, secret) {
            Ok(next) => builder = next,
            Err(error) => problems.push(Problem { place: format!("`{key}`"), message: error.to_string() }),
        }
    }
    match builder.build() {
        Ok(merged) => finish(merged, &places, problems).and_then(|settings| opened(settings, vault_secrets)),
        Err(error) => {
            problems.push(Problem { place: "settings".to_owned(), message: error.to_string() });
            Err(Error::Problems(problems))
        }
    }
}

/// Notes which secrets lie in a vault, if they can be got from there.
fn opened(settings: Settings, vault_secrets: BTreeMap<String, String>) -> Result<Settings, Error> {
    let refused = |message: &str| {
        let place = "`key_vault.sign_in`".to_owned();
        Err(Error::Problems(vec![Problem { place, message: message.to_owned() }]))
    };
    if settings.key_vault.sign_in == VaultSignIn::Application && !vault_secrets.is_empty() {
        match &settings.microsoft {
            None => return refused("there is no `[microsoft]` whose application could open the vault"),
            Some(microsoft) if microsoft.certificate_file.is_none() && vault_secrets.contains_key(CLIENT_SECRET) => {
                return refused(
                    "`microsoft.client_secret` cannot come from a vault that is opened with that same secret: sign in with a certificate or as `managed_identity`",
                );
            }
            Some(_) => {}
        }
    }
    Ok(Settings { vault_secrets, ..settings })
}

fn finish(
    mut merged: Config,
    places: &BTreeMap<String, String>,
    mut problems: Vec<Problem>,
) -> Result<Settings, Error> {
    merged = with_addresses(merged);
    for (section, secret) in [("microsoft", "client_secret"), ("metabase", "admin_password")] {
        let certificate = section == "microsoft" && merged.get_string("microsoft.certificate_file").is_ok();
        if merged.get_table(section).is_ok()
            && merged.get_string(&format!("{section}.{secret}")).is_err()
            && !certificate
        {
            problems.push(Problem {
                place: format!("[{section}]"),
                message: format!(
                    "secret `{secret}` is missing: set {PREFIX}{}__{} or `{secret}_file`",
                    section.to_uppercase(),
                    secret.to_uppercase()
                ),
            });
        }
    }
    if !problems.is_empty() {
        return Err(Error::Problems(problems));
    }
    let settings: Settings = merged.try_deserialize().map_err(|error| {
        let text = error.to_string();
        let place = places
            .iter()
            .find(|(key, _)| text.contains(&format!("`{key}`")))
            .map_or_else(|| "settings".to_owned(), |(_, place)| place.clone());
        Error::Problems(vec![Problem { place, message: text }])
    })?;
    let problems = check_values(&settings, places);
    if problems.is_empty() { Ok(settings) } else { Err(Error::Problems(problems)) }
}

/// Fills in the addresses of the cloud that is meant.
fn with_addresses(merged: Config) -> Config {
    if merged.get_table("microsoft").is_err() {
        return merged;
    }
    // A cloud that does not exist is named when the section is read.
    let cloud = merged.get::<Cloud>("microsoft.cloud").unwrap_or_default();
    let filled = Config::builder()
        .set_default("microsoft.authority_url", cloud.authority_url())
        .and_then(|builder| builder.set_default("microsoft.graph_url", cloud.graph_url()))
        .and_then(|builder| builder.add_source(merged.clone()).build());
    filled.unwrap_or(merged)
}

/// What types cannot say.
fn check_values(settings: &Settings, places: &BTreeMap<String, String>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |key: String, message: String| {
        let place = places.get(&key).cloned().unwrap_or_else(|| format!("`{key}`"));
        problems.push(Problem { place, message });
    };
    let plain = |text: &str| {
        !text.is_empty()
            && text.len() <= 24
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    if !plain(&settings.installation.name) {
        let name = &settings.installation.name;
        refuse(
            "installation.name".to_owned(),
            format!("`{name}` names database roles: lower-case letters, digits, `_`, at most 24, a letter first"),
        );
    }
    for (id, brand) in &settings.brands {
        if !plain(&id.0) || id.0 == "all" {
            refuse(
                format!("brands.{id}.title"),
                format!(
                    "brand id `{id}` names a schema: lower-case letters, digits, `_`, at most 24, a letter first, not `all`"
                ),
            );
        }
        if let Some(drive) = &brand.drive {
            let given = [&drive.site, &drive.id, &drive.user].iter().filter(|way| way.is_some()).count();
            if given != 1 {
                refuse(
                    format!("brands.{id}.drive.site"),
                    format!("brand `{id}` names its drive in {given} ways: give exactly one of `site`, `id`, `user`"),
                );
            }
        }
    }
    if !(1..=5000).contains(&settings.sources.dataverse_page_size) {
        refuse("sources.dataverse_page_size".to_owned(), "a Dataverse page has 1 to 5000 rows".to_owned());
    }
    if !(1..=32).contains(&settings.sources.concurrent_downloads) {
        refuse("sources.concurrent_downloads".to_owned(), "1 to 32 files are fetched at once".to_owned());
    }
    if let Some(cron) = settings.audit.cron.as_ref().filter(|cron| !cron.is_empty()) {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        if let Err(error) = parser.parse(cron) {
            refuse("audit.cron".to_owned(), format!("`{cron}` is no cron expression of five fields: {error}"));
        }
    }
    if settings.audit.sample == 0 {
        refuse("audit.sample".to_owned(), "an audit that tries nothing foreign proves nothing".to_owned());
    }
    for (key, message) in settings.metabase.iter().flat_map(Metabase::mistakes) {
        refuse(format!("metabase.{key}"), message);
    }
    if settings.backup.keep_last == 0 {
        refuse("backup.keep_last".to_owned(), "at least the newest backup is kept".to_owned());
    }
    if let Some(cron) = &settings.backup.cron {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        if let Err(error) = parser.parse(cron) {
            refuse("backup.cron".to_owned(), format!("`{cron}` is no cron expression of five fields: {error}"));
        }
        if settings.backup.target.is_none() {
            refuse("backup.cron".to_owned(), "backups have a schedule and no place: set `backup.target`".to_owned());
        }
    }
    if settings.backup.s3.access_key_id.is_some() != settings.backup.s3.secret_access_key.is_some() {
        refuse(
            "backup.s3.access_key_id".to_owned(),
            "`access_key_id` and `secret_access_key` go together: set both or none".to_owned(),
        );
    }
    problems
}

/// Notes unknown keys, wrong types and secrets, and where each key stands.
fn check_file(
    file: &Path,
    text: &str,
    problems: &mut Vec<Problem>,
    places: &mut BTreeMap<String, String>,
    secret_files: &mut BTreeMap<String, String>,
) {
    let at = |offset: usize| {
        let line = text[..offset.min(text.len())].matches('\n').count() + 1;
        format!("{}:{line}", file.display())
    };
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            problems.push(Problem { place: at(offset), message: error.message().to_owned() });
            return;
        }
    };
    let mut pending: Vec<(String, DeTable<'_>)> = vec![(String::new(), table)];
    while let Some((prefix, table)) = pending.pop() {
        for (key, value) in table {
            let path =
                if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
            let place = at(key.span().start);
            let value = value.into_inner();
            if let DeValue::Table(inner) = value {
                if keys::find(&path) == Some(Kind::Secret) && inner.is_empty() {
                    problems.push(Problem { place, message: format!("`{path}` names no `key_vault`") });
                } else if keys::is_section(&path) {
                    pending.push((path, inner));
                } else {
                    problems.push(unknown(place, &path));
                }
                continue;
            }
            match keys::find(&path) {
                None => problems.push(unknown(place, &path)),
                Some(Kind::Secret) => problems.push(Problem {
                    place,
                    message: format!(
                        "`{path}` is a secret and must not stand in a file: set {} or `{path}_file`",
                        variable(&path)
                    ),
                }),
                Some(kind) if !matches(kind, &value) => problems.push(Problem {
                    place,
                    message: format!("`{path}` must be {}, not {}", expected(kind), value.type_str()),
                }),
                Some(_) => {
                    if let (Some(_), DeValue::String(name)) = (secret_of(&path), &value) {
                        secret_files.insert(path.clone(), name.to_string());
                    }
                    places.insert(path, place);
                }
            }
        }
    }
    problems.sort_by_key(|problem| natural(&problem.place));
}

fn natural(place: &str) -> (String, usize) {
    match place.rsplit_once(':') {
        Some((file, line)) => (file.to_owned(), line.parse().unwrap_or(0)),
        None => (place.to_owned(), 0),
    }
}

/// `x` for the key `x_file` of a secret `x`.
fn secret_of(path: &str) -> Option<&str> {
    path.strip_suffix("_file").filter(|key| keys::find(key) == Some(Kind::Secret))
}

/// `x` for the key `x.key_vault` of a secret `x`.
fn vault_secret_of(path: &str) -> Option<&str> {
    path.strip_suffix(IN_VAULT).filter(|key| keys::find(key) == Some(Kind::Secret))
}

/// The variable that sets a key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase().replace('.', "__"))
}

/// Which secrets a file leaves to a vault, each with its address there.
fn in_vault(text: &str) -> BTreeMap<String, String> {
    fn collect(prefix: &str, table: &toml::Table, found: &mut BTreeMap<String, String>) {
        for (key, value) in table {
            let path = format!("{prefix}{key}");
            match value {
                toml::Value::String(text) if vault_secret_of(&path).is_some() => {
                    found.insert(prefix.trim_end_matches('.').to_owned(), text.clone());
                }
                toml::Value::Table(inner) => collect(&format!("{path}."), inner, found),
                _ => {}
            }
        }
    }
    let mut found = BTreeMap::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        collect("", &table, &mut found);
    }
    found
}

/// The structs know secrets, not where they lie: those lines are taken out before merging.
fn without_secret_places(text: &str) -> String {
    let Ok(mut table) = text.parse::<toml::Table>() else {
        return text.to_owned();
    };
    fn strip(prefix: &str, table: &mut toml::Table) {
        table.retain(|key, value| {
            let path = format!("{prefix}{key}");
            secret_of(&path).is_none() && !(value.is_table() && keys::find(&path) == Some(Kind::Secret))
        });
        for (key, value) in table.iter_mut() {
            if let toml::Value::Table(inner) = value {
                strip(&format!("{prefix}{key}."), inner);
            }
        }
    }
    strip("", &mut table);
    table.to_string()
}

fn unknown(place: String, path: &str) -> Problem {
    let message = match keys::nearest(path) {
        Some(near) => format!("unknown key `{path}`; did you mean `{near}`?"),
        None => format!("unknown key `{path}`"),
    };
    Problem { place, message }
}

fn matches(kind: Kind, value: &DeValue<'_>) -> bool {
    match kind {
        Kind::Text | Kind::Secret => value.is_str(),
        Kind::Number => value.is_integer() || value.is_float(),
        Kind::Flag => value.is_bool(),
        Kind::List => value.is_array(),
    }
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Secret => "text",
        Kind::Number => "a number",
        Kind::Flag => "true or false",
        Kind::List => "a list",
    }
}

fn typed(kind: Kind, value: &str) -> Result<config::Value, String> {
    Ok(match kind {
        Kind::Text | Kind::Secret => value.into(),
        Kind::Flag => value.parse::<bool>().map_err(|_| "must be true or false".to_owned())?.into(),
        Kind::List => {
            let items: Vec<&str> = value.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
            items.into()
        }
        Kind::Number => match (value.parse::<i64>(), value.parse::<f64>()) {
            (Ok(whole), _) => whole.into(),
            (_, Ok(part)) => part.into(),
            _ => return Err("must be a number".to_owned()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.toml");
        std::fs::write(&file, text).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        read(&[file], &variables).map_err(|error| error.to_string().replace(&dir.path().display().to_string(), ""))
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_line() {
        let text = "[log]\nformt = \"json\"\n[database]\nmax_connections = \"many\"\nurl = \"postgres://u:p@h/d\"\n[microsoft]\ntenant_id = \"t\"\nclient_id = \"c\"\n";
        insta::assert_snapshot!(read_text(text, &[("STOREKEEPER__MAIL__SMTP__PORTT", "25")]).unwrap_err(), @r"
        4 mistakes in the settings:
          /t.toml:2: unknown key `log.formt`; did you mean `log.format`?
          /t.toml:4: `database.max_connections` must be a number, not string
          /t.toml:5: `database.url` is a secret and must not stand in a file: set STOREKEEPER__DATABASE__URL or `database.url_file`
          STOREKEEPER__MAIL__SMTP__PORTT: unknown key `mail.smtp.portt`; did you mean `mail.smtp.port`?
        ");
    }

    #[test]
    fn a_missing_secret_is_named_with_both_ways_to_give_it() {
        let text = "[microsoft]\ntenant_id = \"t\"\nclient_id = \"c\"\n";
        insta::assert_snapshot!(read_text(text, &[]).unwrap_err(), @r"
        1 mistake in the settings:
          [microsoft]: secret `client_secret` is missing: set STOREKEEPER__MICROSOFT__CLIENT_SECRET or `client_secret_file`
        ");
    }

    #[test]
    fn a_variable_beats_a_file_and_a_secret_file_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("secret");
        std::fs::write(&secret, "s3cret\n").unwrap();
        let text = format!(
            "[log]\nfilter = \"warn\"\n[microsoft]\ntenant_id = \"t\"\nclient_id = \"c\"\nclient_secret_file = \"{}\"\n[brands.harbor]\ntitle = \"Harbor\"\ndrive = {{ site = \"h:/sites/x\" }}\n",
            secret.display()
        );
        let settings = read_text(&text, &[("STOREKEEPER__LOG__FILTER", "debug")]).unwrap();
        assert_eq!(settings.log.filter, "debug");
        let microsoft = settings.microsoft.unwrap();
        assert_eq!(secrecy::ExposeSecret::expose_secret(microsoft.client_secret.as_ref().unwrap()), "s3cret");
        assert!(!format!("{microsoft:?}").contains("s3cret"));
        assert_eq!(settings.brands.len(), 1);
    }

    #[test]
    fn backups_that_cannot_be_made_are_told() {
        let text = "[backup]\ncron = \"61 2 * * *\"\nkeep_last = 0\n[backup.s3]\naccess_key_id = \"AKIA\"\n";
        let said = read_text(text, &[]).unwrap_err();
        for wanted in [
            "/t.toml:2: `61 2 * * *` is no cron expression",
            "/t.toml:2: backups have a schedule and no place",
            "/t.toml:3: at least the newest backup is kept",
            "/t.toml:5: `access_key_id` and `secret_access_key` go together",
        ] {
            assert!(said.contains(wanted), "{wanted} is not in {said}");
        }
    }

    #[test]
    fn every_key_stands_in_the_default_file() {
        let sample =
            DEFAULTS.lines().map(|line| line.strip_prefix("#? ").unwrap_or(line)).collect::<Vec<_>>().join("\n");
        for (key, kind) in keys::KEYS {
            let name = key.rsplit('.').next().unwrap_or(key);
            let wanted = if *kind == Kind::Secret { format!("{name}_file") } else { name.to_owned() };
            assert!(sample.contains(&wanted), "`{key}` is not in config/default.toml");
        }
        let mut problems = Vec::new();
        check_file(Path::new("default.toml"), &sample, &mut problems, &mut BTreeMap::new(), &mut BTreeMap::new());
        assert_eq!(problems, Vec::new());
    }
}
