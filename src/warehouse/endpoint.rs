//! Where one database is, for ourselves and for PostgreSQL's own programs.

use std::fmt;
use std::str::FromStr as _;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _};
use url::Url;

/// One database and how to sign in to it. Never prints its password.
#[derive(Clone)]
pub struct Endpoint {
    options: PgConnectOptions,
    password: Option<SecretString>,
    /// Further settings, as libpq's variables name them.
    tls: Vec<(&'static str, String)>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.place())
    }
}

impl Endpoint {
    /// Reads `postgres://user:password@host:port/database`; nothing where it is no such URL.
    pub fn from_url(url: &SecretString) -> Option<Self> {
        let text = url.expose_secret();
        let options = PgConnectOptions::from_str(text).ok()?;
        let url = Url::parse(text).ok()?;
        let mut password = url.password().map(percent_decoded);
        let mut tls = Vec::new();
        for (key, value) in url.query_pairs() {
            match key.as_ref() {
                "password" => password = Some(value.into_owned()),
                "sslrootcert" => tls.push(("PGSSLROOTCERT", value.into_owned())),
                "sslcert" => tls.push(("PGSSLCERT", value.into_owned())),
                "sslkey" => tls.push(("PGSSLKEY", value.into_owned())),
                _ => {}
            }
        }
        Some(Self { options, password: password.map(SecretString::from), tls })
    }

    /// A database whose options are known.
    pub(super) fn new(options: PgConnectOptions, password: &str) -> Self {
        Self { options, password: Some(password.to_owned().into()), tls: Vec::new() }
    }

    /// The same server and user, another database.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        Self { options: self.options.clone().database(database), ..self.clone() }
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        // As PostgreSQL does where none is named.
        self.options.get_database().unwrap_or_else(|| self.options.get_username())
    }

    /// Whether another one is on the same server, as far as names tell.
    pub fn same_server(&self, other: &Self) -> bool {
        let server =
            |one: &Self| (one.options.get_host().to_owned(), one.options.get_socket().cloned(), one.options.get_port());
        server(self) == server(other)
    }

    /// Who signs in.
    pub fn user(&self) -> &str {
        self.options.get_username()
    }

    /// Host, port and database, for messages.
    pub fn place(&self) -> String {
        format!("{}:{}/{}", self.options.get_host(), self.options.get_port(), self.database())
    }

    /// How sqlx connects.
    pub(super) fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// Opens a connection of its own, past the pool.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        // Reading a whole table is slow by nature: no warning of that.
        let options = self.options().application_name("storekeeper backup").disable_statement_logging();
        let mut connection = PgConnection::connect_with(&options).await?;
        // A backup takes as long as it takes.
        connection.execute("SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0").await?;
        Ok(connection)
    }

    /// The variables that tell PostgreSQL's programs the same. An argument would
    /// show the password to everybody on the machine.
    pub(super) fn variables(&self) -> Vec<(&'static str, String)> {
        let host = match self.options.get_socket() {
            Some(folder) => folder.display().to_string(),
            None => self.options.get_host().to_owned(),
        };
        let ssl_mode = match self.options.get_ssl_mode() {
            PgSslMode::Disable => "disable",
            PgSslMode::Allow => "allow",
            PgSslMode::Prefer => "prefer",
            PgSslMode::Require => "require",
            PgSslMode::VerifyCa => "verify-ca",
            PgSslMode::VerifyFull => "verify-full",
        };
        let mut variables = vec![
            ("PGHOST", host),
            ("PGPORT", self.options.get_port().to_string()),
            ("PGUSER", self.user().to_owned()),
            ("PGDATABASE", self.database().to_owned()),
            ("PGSSLMODE", ssl_mode.to_owned()),
            ("PGAPPNAME", "storekeeper backup".to_owned()),
        ];
        variables.extend(self.password.iter().map(|password| ("PGPASSWORD", password.expose_secret().to_owned())));
        variables.extend(self.tls.iter().cloned());
        variables
    }
}

fn percent_decoded(text: &str) -> String {
    // `a=…` is the one form in which the `url` crate decodes.
    let form = format!("a={}", text.replace('+', "%2B"));
    url::form_urlencoded::parse(form.as_bytes()).next().map_or_else(String::new, |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_what_the_url_says_and_nobody_sees_the_password() {
        let url = "postgres://sk:p%40s+s@db.example.com:5433/ware?sslmode=verify-full&sslrootcert=/etc/ca.pem";
        let endpoint = Endpoint::from_url(&url.to_owned().into()).unwrap();
        let variables = endpoint.with_database("other").variables();
        for wanted in [
            ("PGHOST", "db.example.com"),
            ("PGPORT", "5433"),
            ("PGUSER", "sk"),
            ("PGDATABASE", "other"),
            ("PGPASSWORD", "p@s+s"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "/etc/ca.pem"),
        ] {
            assert!(variables.iter().any(|(key, value)| (*key, value.as_str()) == wanted), "{wanted:?}");
        }
        assert_eq!(format!("{endpoint:?}"), "Endpoint(db.example.com:5433/ware)");
        assert!(Endpoint::from_url(&"ware".to_owned().into()).is_none());
    }
}
