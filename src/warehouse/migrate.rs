//! Brings the installation-wide schemas up to date.

use std::path::{Path, PathBuf};

use serde::Serialize;
use sqlx::Row as _;
use sqlx::migrate::Migrator;

use super::Warehouse;

/// Why the schemas could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The migrations could not be read or applied.
    #[error("failed to apply the migrations in `{folder}`")]
    Migrate {
        /// Their folder.
        folder: PathBuf,
        /// Which one, and why.
        source: sqlx::migrate::MigrateError,
    },
    /// The list of applied ones could not be read.
    #[error("failed to read which migrations were applied")]
    Status(#[source] sqlx::Error),
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Migrate { .. } => {
                Some("check `--definitions`: it must hold the `sql/migrations` of this very version")
            }
            Self::Status(_) => None,
        }
    }
}

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it is for.
    pub description: String,
    /// Whether this database has it.
    pub applied: bool,
}

async fn migrator(definitions: &Path) -> Result<(PathBuf, Migrator), Error> {
    let folder = definitions.join("sql/migrations");
    match Migrator::new(folder.as_path()).await {
        Ok(migrator) => Ok((folder, migrator)),
        Err(source) => Err(Error::Migrate { folder, source }),
    }
}

/// Applies the migrations that this database lacks. Two processes at once are
/// safe: one waits for the other.
///
/// # Errors
/// When one fails; those before it stay applied.
pub async fn migrate(warehouse: &Warehouse, definitions: &Path) -> Result<(), Error> {
    let (folder, migrator) = migrator(definitions).await?;
    migrator.run(warehouse.pool()).await.map_err(|source| Error::Migrate { folder, source })
}

/// The number of the newest migration that these definitions have.
///
/// # Errors
/// When the folder cannot be read.
pub async fn newest_migration(definitions: &Path) -> Result<i64, Error> {
    let (_, migrator) = migrator(definitions).await?;
    Ok(migrator.iter().map(|migration| migration.version).max().unwrap_or_default())
}

/// Lists all migrations, and says which this database has.
///
/// # Errors
/// When the folder or the database cannot be read.
pub async fn migration_status(warehouse: &Warehouse, definitions: &Path) -> Result<Vec<Migration>, Error> {
    let (_, migrator) = migrator(definitions).await?;
    let applied: Vec<i64> =
        match sqlx::query("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(warehouse.pool()).await {
            Ok(rows) => rows.iter().map(|row| row.get("version")).collect(),
            // A database that was never migrated has no list.
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => Vec::new(),
            Err(source) => return Err(Error::Status(source)),
        };
    let list = migrator.iter().map(|migration| Migration {
        version: migration.version,
        description: migration.description.to_string(),
        applied: applied.contains(&migration.version),
    });
    Ok(list.collect())
}
