//! Connecting: to the server that settings name, or to the private one.

use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

use super::embedded::{self, Embedded};
use crate::settings;

/// Fewer changed rows than this move no plan.
const ANALYZE_ROWS: u64 = 10_000;

/// Why there is no warehouse.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `database.url` cannot be read. The cause is left out: it may quote the secret.
    #[error("failed to read `database.url`: it must be postgres://user:password@host:port/database")]
    Url,
    /// The server did not answer, or refused.
    #[error("failed to connect to PostgreSQL at `{address}`")]
    Connect {
        /// Host, port and database.
        address: String,
        /// What the server or the network said.
        source: sqlx::Error,
    },
    /// The private server could not be had.
    #[error("failed to start the private PostgreSQL")]
    Embedded(#[source] embedded::Error),
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Url => Some("set STOREKEEPER__DATABASE__URL, or leave it out for a private server"),
            Self::Connect { .. } => {
                Some("check that PostgreSQL runs, and the user, password and database in `database.url`")
            }
            Self::Embedded(error) => error.hint(),
        }
    }
}

/// Where PostgreSQL is, for those who connect to it on their own, as Metabase does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database.
    pub database: String,
}

/// The pool of connections as the owner of everything. Clones share it.
#[derive(Debug, Clone)]
pub struct Warehouse {
    pool: PgPool,
    address: Address,
    installation: String,
    /// How many rows a load changes for its partitions to be analysed.
    analyze_rows: u64,
    // Keeps the private server running for as long as somebody uses it.
    _embedded: Option<Arc<Embedded>>,
}

impl Warehouse {
    /// Connects to `database.url`, or starts (or joins) the private server below
    /// `installation.data_dir`. `supervisor` is the program that keeps it: ourselves.
    ///
    /// # Errors
    /// When no server can be reached or started.
    pub async fn connect(
        database: &settings::Database,
        installation: &settings::Installation,
        supervisor: &Path,
    ) -> Result<Self, Error> {
        let (options, embedded) = match &database.url {
            Some(url) => (PgConnectOptions::from_str(url.expose_secret()).map_err(|_| Error::Url)?, None),
            None => {
                let server = Embedded::join(&installation.data_dir, supervisor).await.map_err(Error::Embedded)?;
                (server.options(), Some(Arc::new(server)))
            }
        };
        let address = Address {
            host: options.get_host().to_owned(),
            port: options.get_port(),
            database: options.get_database().unwrap_or("postgres").to_owned(),
        };
        let options =
            options.application_name("storekeeper").options([("timezone", "UTC"), ("client_min_messages", "warning")]);
        let pool = PgPoolOptions::new()
            .max_connections(database.max_connections)
            .acquire_timeout(Duration::from_secs(30))
            .connect_with(options)
            .await
            .map_err(|source| Error::Connect {
                address: format!("{}:{}/{}", address.host, address.port, address.database),
                source,
            })?;
        Ok(Self {
            pool,
            address,
            installation: installation.name.clone(),
            analyze_rows: ANALYZE_ROWS,
            _embedded: embedded,
        })
    }

    /// The same, with another number of rows from which a load has statistics made.
    #[must_use]
    pub fn analyzing_from(self, rows: u64) -> Self {
        Self { analyze_rows: rows, ..self }
    }

    pub(super) fn analyze_rows(&self) -> u64 {
        self.analyze_rows
    }

    /// The pool.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Where the server is.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The installation's name: the prefix of every role we make.
    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// Closes the connections, so that a private server can stop at once.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
