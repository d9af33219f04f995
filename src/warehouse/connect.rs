//! Connecting: to the server that settings name, or to the private one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgPool, PgPoolOptions};

use super::duties::Duty;
use super::embedded::{self, Embedded};
use super::endpoint::Endpoint;
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

/// A database that was found: connected to by nobody yet.
#[derive(Debug)]
pub struct Located {
    /// Where it is.
    pub endpoint: Endpoint,
    // Keeps the private server running for as long as this lives.
    embedded: Option<Arc<Embedded>>,
}

impl From<Endpoint> for Located {
    fn from(endpoint: Endpoint) -> Self {
        Self { endpoint, embedded: None }
    }
}

/// Finds the database that settings name; starts (or joins) the private server
/// where they name none.
///
/// # Errors
/// When the URL cannot be read or the private server not be had.
pub async fn locate(
    database: &settings::Database,
    installation: &settings::Installation,
    supervisor: &Path,
) -> Result<Located, Error> {
    match &database.url {
        Some(url) => Ok(Located { endpoint: Endpoint::from_url(url).ok_or(Error::Url)?, embedded: None }),
        None => {
            let server = Embedded::join(&installation.data_dir, supervisor).await.map_err(Error::Embedded)?;
            Ok(Located { endpoint: server.endpoint(), embedded: Some(Arc::new(server)) })
        }
    }
}

/// The pool of connections. Clones share it.
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
    /// Acts as the user of the URL, who has the owner's rights.
    ///
    /// # Errors
    /// When no server can be reached or started.
    pub async fn connect(
        database: &settings::Database,
        installation: &settings::Installation,
        supervisor: &Path,
    ) -> Result<Self, Error> {
        Self::connect_as(database, installation, supervisor, None).await
    }

    /// The same, to act as the role of a duty in every session. Until that role owns its
    /// part of this database, sessions act as the user of the URL.
    ///
    /// # Errors
    /// When no server can be reached or started.
    pub async fn connect_as(
        database: &settings::Database,
        installation: &settings::Installation,
        supervisor: &Path,
        duty: Option<Duty>,
    ) -> Result<Self, Error> {
        let Located { endpoint, embedded } = locate(database, installation, supervisor).await?;
        let options = endpoint.options();
        let address = Address {
            host: options.get_host().to_owned(),
            port: options.get_port(),
            database: options.get_database().unwrap_or("postgres").to_owned(),
        };
        let options =
            options.application_name("storekeeper").options([("timezone", "UTC"), ("client_min_messages", "warning")]);
        let acts_as = duty.map(|duty| (Duty::Owner.role(&installation.name), duty.role(&installation.name)));
        let pool = PgPoolOptions::new()
            .max_connections(database.max_connections)
            .after_connect(move |connection, _| {
                let acts_as = acts_as.clone();
                Box::pin(async move {
                    let Some((owner, role)) = acts_as else { return Ok(()) };
                    // The owner of `ops` tells whose database it is: roles are the whole cluster's.
                    sqlx::query(
                        "SELECT set_config('role', d.rolname::text, false)
                         FROM pg_namespace n JOIN pg_roles o ON o.oid = n.nspowner, pg_roles d
                         WHERE n.nspname = 'ops' AND o.rolname = $1 AND d.rolname = $2
                           AND pg_has_role(session_user, d.oid, 'MEMBER')",
                    )
                    .bind(owner)
                    .bind(role)
                    .execute(connection)
                    .await
                    .map(drop)
                })
            })
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
