//! Old months go to Parquet files, and come back from them.
//!
//! A month is written under a temporary name, taken by the disk, renamed, and read back:
//! only if the file holds the very rows that PostgreSQL sent, are they dropped, in the
//! transaction that enters the file into the ledger. Killed before that, the rows are
//! where they were, and the next one writes the same file again.
//!
//! While a month is archived nothing writes into it: loads set its rows aside, and what
//! would make its partition is refused.

use std::path::{Path, PathBuf};

use chrono::{DateTime, Days, Months, NaiveDate, Utc};
use serde::Serialize;
use sqlx::Executor as _;
use tracing::info;

use super::archive_file::{self, Contents};
use super::archive_ledger::{self, Archive};
use super::ident::Statement;
use super::load;
use super::partitions::{month_of, shown};
use super::table::Table;
use super::upkeep::Kept;
use super::{Warehouse, history};
use crate::crash;
use crate::telemetry::chain;

/// Days for which a month that was brought back is left alone.
const REST_DAYS: u64 = 7;

/// Why a month was not archived, or did not come back. Its rows are where they were.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The warehouse.
    #[error(transparent)]
    Load(#[from] load::Error),
    /// PostgreSQL refused.
    #[error("failed to {action}")]
    Query {
        /// What was tried.
        action: &'static str,
        /// What it said.
        source: sqlx::Error,
    },
    /// Somebody reads the table, and does not stop.
    #[error("`{table}` is being read: the partition of {month} could not be dropped in time")]
    Busy {
        /// Table.
        table: String,
        /// Month.
        month: String,
    },
    /// The disk refused.
    #[error("failed to {action} `{path}`")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is no Parquet, or not whole.
    #[error("failed to {action} `{path}`")]
    Parquet {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: Box<parquet::errors::ParquetError>,
    },
    /// A value or type that the file cannot hold.
    #[error("`{table}`: {message}")]
    Unfit {
        /// Table.
        table: String,
        /// What.
        message: String,
    },
    /// Two things that should be the same are not.
    #[error("{what}: {found} instead of {wanted}")]
    Differs {
        /// Of what.
        what: String,
        /// What the ledger says, or PostgreSQL sent.
        wanted: String,
        /// What is there.
        found: String,
    },
    /// There is nothing to bring back.
    #[error("{month} of `{table}` is not archived")]
    NotArchived {
        /// Table.
        table: String,
        /// Month.
        month: String,
    },
    /// There is nothing to archive.
    #[error("`{table}` has no partition of {month}")]
    NoPartition {
        /// Table.
        table: String,
        /// Month.
        month: String,
    },
    /// A worker ended in a way that should not happen.
    #[error("the worker that read the file ended early")]
    Worker(#[source] tokio::task::JoinError),
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Load(error) => error.hint(),
            Self::Query { .. } | Self::Worker(_) => None,
            Self::Busy { .. } => Some("nothing was changed; run it again when fewer people read"),
            Self::File { .. } => {
                Some("check `warehouse.archive_dir`: the path, the disk, the rights; nothing was lost")
            }
            Self::Parquet { .. } => Some("the file is damaged: bring it back from a backup of the archive's folder"),
            Self::Unfit { .. } => {
                Some("this table cannot be archived: set `archive_after_months = 0` in its definition")
            }
            Self::Differs { .. } => {
                Some("nothing was changed; a damaged file comes back from a backup of the archive's folder")
            }
            Self::NotArchived { .. } => Some("`storekeeper archive list` shows what is"),
            Self::NoPartition { .. } => None,
        }
    }
}

pub(super) fn query(action: &'static str) -> impl Fn(sqlx::Error) -> Error + Copy {
    move |source| Error::Query { action, source }
}

/// What became of a month.
#[derive(Debug, Clone, Serialize)]
pub struct Archived {
    /// Whose.
    pub brand: String,
    /// Table.
    pub table: String,
    /// Month, e.g. `2023-01`.
    pub month: String,
    /// The ledger's entry, where it was archived.
    pub archive: Option<Archive>,
    /// Why it was not.
    pub error: Option<String>,
    /// What to do then.
    pub hint: Option<String>,
}

impl Archived {
    /// A month that nothing became of yet.
    pub fn due(table: &Table, month: NaiveDate) -> Self {
        let (brand, name) = (table.brand().to_owned(), table.name.clone());
        Self { brand, table: name, month: shown(month), archive: None, error: None, hint: None }
    }
}

/// The months that are due by what the definitions say; oldest first. A month that was
/// brought back is left alone for a week.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn due(warehouse: &Warehouse, tables: &[Kept], now: DateTime<Utc>) -> Result<Vec<(Table, NaiveDate)>, Error> {
    let mut due = Vec::new();
    let mut connection = warehouse.pool().acquire().await.map_err(query("list the months that are due"))?;
    for kept in tables {
        let Some(after) = kept.archive_after_months.filter(|after| *after > 0) else { continue };
        // The month that ended `after` months ago is the first that goes.
        let Some(before) = month_of(now.date_naive()).checked_sub_months(Months::new(after)) else { continue };
        let rested = archive_ledger::restored_since(&mut connection, &kept.table, now - Days::new(REST_DAYS)).await?;
        let months = kept.table.months(&mut connection).await?;
        let old = months.into_iter().filter(|month| *month < before && !rested.contains(month));
        due.extend(old.map(|month| (kept.table.clone(), month)));
    }
    Ok(due)
}

/// Archives months one by one; one that cannot be keeps no other from it.
pub async fn archive(
    warehouse: &Warehouse,
    dir: &Path,
    months: Vec<(Table, NaiveDate)>,
    now: DateTime<Utc>,
) -> Vec<Archived> {
    let mut all = Vec::new();
    for (table, month) in months {
        let mut outcome = Archived::due(&table, month);
        match archive_month(warehouse, dir, &table, month, now).await {
            Ok(archive) => {
                info!(
                    brand = outcome.brand,
                    table = outcome.table,
                    month = outcome.month,
                    rows = archive.rows,
                    "archived"
                );
                outcome.archive = Some(archive);
            }
            Err(error) => {
                tracing::error!(brand = outcome.brand, table = outcome.table, month = outcome.month, error = %chain(&error), "not archived");
                (outcome.error, outcome.hint) = (Some(chain(&error)), error.hint().map(str::to_owned));
            }
        }
        all.push(outcome);
    }
    all
}

async fn archive_month(
    warehouse: &Warehouse,
    dir: &Path,
    table: &Table,
    month: NaiveDate,
    now: DateTime<Utc>,
) -> Result<Archive, Error> {
    let action = query("archive a month");
    let mut transaction = warehouse.pool().begin().await.map_err(action)?;
    table.lock(&mut transaction).await?;
    if !table.months(&mut transaction).await?.contains(&month) {
        return Err(Error::NoPartition { table: table.name.clone(), month: shown(month) });
    }
    history::ensure_schema(&mut transaction, &table.brand().into()).await?;
    table.ensure_history(&mut transaction).await?;
    // Loads queue for the table already; this is for those who write by hand.
    let lock = format!("LOCK TABLE {}, {} IN SHARE MODE", table.partition_path(month), table.history());
    transaction.execute(Statement::new(lock).safe()).await.map_err(action)?;
    let columns = table.stored_columns(&mut transaction).await?;
    let place = table.place(dir);
    let part = place.join(format!(".{}.part", table.partition_name(month)));
    let (path, rows, versions) = table.write(&mut transaction, &columns, month, part).await?;
    crash::point("archive_written");
    // Named by its content: an archive of the same month that was brought back stays.
    let (sha256, size_bytes) = archive_file::sha256(&path)?;
    let file = place.join(format!("{}_{}.parquet", table.partition_name(month), &sha256[..12]));
    archive_file::rename(&path, &file)?;
    crash::point("archive_renamed");
    let found = archive_file::contents(&file, &sha256).await?;
    same(&file, &Contents { sha256, size_bytes, rows, versions }, &found)?;
    crash::point("archive_read_back");
    let archive = archive_ledger::enter(&mut transaction, table, month, &relative(dir, &file), &found, now).await?;
    table.drop_month(&mut transaction, month, found.versions.rows).await?;
    crash::point("archive_dropped");
    transaction.commit().await.map_err(action)?;
    crash::point("archive_committed");
    Ok(archive)
}

fn relative(dir: &Path, file: &Path) -> String {
    file.strip_prefix(dir).unwrap_or(file).display().to_string()
}

/// Holds what is there against what should be.
fn same(file: &Path, wanted: &Contents, found: &Contents) -> Result<(), Error> {
    let differs = |what: &str, wanted: String, found: String| {
        let what = format!("the {what} of `{}`", file.display());
        if wanted == found { Ok(()) } else { Err(Error::Differs { what, wanted, found }) }
    };
    differs("rows", wanted.rows.rows.to_string(), found.rows.rows.to_string())?;
    differs("earlier versions", wanted.versions.rows.to_string(), found.versions.rows.to_string())?;
    differs("digest of the rows", wanted.rows.text(), found.rows.text())?;
    differs("digest of the earlier versions", wanted.versions.text(), found.versions.text())
}

/// Holds archived files against the ledger; answers with each and what is wrong with it.
///
/// # Errors
/// When the ledger cannot be read.
pub async fn verify(warehouse: &Warehouse, dir: &Path) -> Result<Vec<Archived>, Error> {
    let mut all = Vec::new();
    for archive in archive_ledger::list(warehouse).await? {
        if archive.restored_at.is_some() {
            continue;
        }
        let checked = check(dir, &archive).await;
        let (error, hint) = match checked {
            Ok(_) => (None, None),
            Err(error) => (Some(chain(&error)), error.hint().map(str::to_owned)),
        };
        let (brand, table, month) = (archive.brand.clone(), archive.table.clone(), archive.month.clone());
        all.push(Archived { brand, table, month, archive: Some(archive), error, hint });
    }
    Ok(all)
}

async fn check(dir: &Path, archive: &Archive) -> Result<Contents, Error> {
    let file = dir.join(&archive.file);
    let found = archive_file::contents(&file, &archive.sha256).await?;
    for (what, wanted, there) in [
        ("rows", archive.rows.to_string(), found.rows.rows.to_string()),
        ("digest of the rows", archive.row_digest.clone(), found.rows.text()),
        ("earlier versions", archive.versions.to_string(), found.versions.rows.to_string()),
        ("digest of the earlier versions", archive.version_digest.clone(), found.versions.text()),
    ] {
        if wanted != there {
            let what = format!("the {what} of `{}`", file.display());
            return Err(Error::Differs { what, wanted, found: there });
        }
    }
    Ok(found)
}

/// Brings a month's rows and their earlier versions back. The file stays.
///
/// # Errors
/// When the month is not archived, its file is not what the ledger says, or the rows
/// that came back are not the same ones; then nothing was changed.
pub async fn restore(
    warehouse: &Warehouse,
    dir: &Path,
    table: &Table,
    month: NaiveDate,
    now: DateTime<Utc>,
) -> Result<Archive, Error> {
    let action = query("bring a month back");
    let mut transaction = warehouse.pool().begin().await.map_err(action)?;
    table.lock(&mut transaction).await?;
    let Some(archive) = archive_ledger::live(&mut transaction, table, month).await? else {
        return Err(Error::NotArchived { table: table.name.clone(), month: shown(month) });
    };
    let wanted = check(dir, &archive).await?;
    let file = dir.join(&archive.file);
    let columns = table.bring_back(&mut transaction, &file, month).await?;
    crash::point("restore_copied");
    let rows = table.digest_of_rows(&mut transaction, &columns, month).await?;
    let versions = table.digest_of_versions(&mut transaction, &columns, month).await?;
    let there = Contents { sha256: archive.sha256.clone(), size_bytes: archive.size_bytes, rows, versions };
    same(&file, &wanted, &there)?;
    table.attach_partition(&mut transaction, month).await?;
    let archive = archive_ledger::settle(&mut transaction, &archive, now).await?;
    crash::point("restore_settled");
    transaction.commit().await.map_err(action)?;
    super::upkeep::analyze_changed(warehouse, table, &[month], u64::try_from(archive.rows).unwrap_or(0)).await;
    info!(brand = archive.brand, table = archive.table, month = archive.month, rows = archive.rows, "brought back");
    Ok(archive)
}
