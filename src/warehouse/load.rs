//! One load: rows, quarantine, lineage and outcome become visible together.
//!
//! A [`Load`] is one transaction. Rows are copied into a staging table that
//! PostgreSQL itself forgets when the transaction ends, however it ends; checks
//! run on it; then it is merged. Dropping a load takes everything back.

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use chrono::{DateTime, NaiveDate, Utc};
use futures::{Stream, StreamExt as _};
use sqlx::{Executor as _, PgConnection, Postgres, Row as _, Transaction};

use super::Warehouse;
use super::commit::commit;
use super::copy;
use super::ident::{Ident, Statement};
use super::part::with_json_versions;
use super::set_aside::SetAside;
use super::table::{Table, list};
use crate::ids::{BrandId, LoadId, PipelineName, ROW, RunId};

/// Rows are sent in pieces of about this size.
const PIECE_BYTES: usize = 1 << 20;

/// Why a load did not happen. Nothing of it is left behind.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// PostgreSQL refused.
    #[error("failed to {action}")]
    Query {
        /// What was tried.
        action: &'static str,
        /// What it said.
        source: sqlx::Error,
    },
    /// A column is there with another type.
    #[error("column `{column}` of `{table}` is {there}, the definition makes it {wanted}")]
    ColumnType {
        /// Table.
        table: String,
        /// Column.
        column: String,
        /// Its type now.
        there: String,
        /// Its type by the definition.
        wanted: String,
    },
    /// The connection broke in the middle of a commit.
    #[error("the connection broke while the load was committed, and the server does not say what became of it")]
    Unknown(#[source] sqlx::Error),
    /// What a load replaced is no longer kept.
    #[error("what load {load_id} replaced is no longer kept")]
    Pruned {
        /// Which.
        load_id: LoadId,
    },
    /// A month's rows are in a file.
    #[error("{month} of `{table}` is archived")]
    Archived {
        /// Table.
        table: String,
        /// Month.
        month: String,
        /// Whose.
        brand: String,
    },
    /// A check found rows that must not be.
    #[error("check `{name}` found {found}")]
    Check {
        /// The check.
        name: String,
        /// What it found, shortened.
        found: String,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Query { source: sqlx::Error::Database(error), .. } if error.code().as_deref() == Some("53100") => {
                Some("the database's disk is full: make room and run it again, nothing was lost")
            }
            Self::Query { .. } => None,
            Self::Unknown(_) => Some("run it again: what was committed is known then and not loaded twice"),
            Self::ColumnType { .. } => Some("give the column a new name, or change the table by a migration"),
            Self::Pruned { .. } => Some(
                "`warehouse.history_days` says how long that is; load a corrected file: its rows replace the wrong ones",
            ),
            Self::Archived { .. } => Some("bring the month back first: `storekeeper archive restore TABLE MONTH`"),
            Self::Check { .. } => Some("nothing was loaded; mend the file at its source, or the check"),
        }
    }

    pub(super) fn query(action: &'static str) -> impl Fn(sqlx::Error) -> Self + Copy {
        move |source| Self::Query { action, source }
    }
}

/// A file as the ledger keeps it.
#[derive(Debug, Clone, Default)]
pub struct FileEntry {
    /// Its name at the source.
    pub name: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub content_hash: String,
    /// Its size.
    pub size_bytes: u64,
    /// Where it was, for files of a drive.
    pub drive_id: Option<String>,
    /// The drive's name for it, which survives renaming.
    pub item_id: Option<String>,
    /// The drive's tag of its content.
    pub version: Option<String>,
    /// When it was changed last.
    pub modified_at: Option<DateTime<Utc>>,
    /// By whom.
    pub modified_by: Option<String>,
}

/// How rows met those that were there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// New rows.
    pub inserted: u64,
    /// Rows whose values changed.
    pub updated: u64,
    /// Rows that were there already, the same.
    pub unchanged: u64,
    /// Rows that disappeared.
    pub deleted: u64,
}

/// A load in progress.
#[derive(Debug)]
pub struct Load {
    warehouse: Warehouse,
    pub(super) transaction: Transaction<'static, Postgres>,
    pub(super) run_id: RunId,
    pub(super) load_id: LoadId,
    pub(super) pipeline: PipelineName,
    pub(super) brand: BrandId,
    pub(super) table: Table,
    pub(super) counts: Counts,
    /// Earlier loads whose rows this one said again, or left standing as newer.
    pub(super) confirmed: Vec<i64>,
    /// Of which part of the table this load is the whole truth.
    pub(super) covers: Option<serde_json::Value>,
    /// The months it speaks of, where the table is partitioned.
    pub(super) months: Vec<NaiveDate>,
    pub(super) set_aside: Vec<SetAside>,
}

impl Load {
    /// Opens the transaction and its staging table.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn begin(
        warehouse: &Warehouse,
        run_id: RunId,
        pipeline: &PipelineName,
        brand: &BrandId,
        table: Table,
        today: NaiveDate,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let query = Error::query("open the load");
        let mut transaction = warehouse.pool().begin().await.map_err(query)?;
        // A load sorts and hashes all its rows: with what a server gives each question, on disk.
        sqlx::query(
            "SELECT set_config('storekeeper.today', $1, true), set_config('work_mem', '128MB', true),
                    set_config('maintenance_work_mem', '256MB', true), set_config('jit', 'off', true)",
        )
        .bind(today.to_string())
        .execute(&mut *transaction)
        .await
        .map_err(query)?;
        let load_id: i64 = sqlx::query_scalar(
            "INSERT INTO ops.loads (run_id, pipeline, brand, table_name, committed_at)
             VALUES ($1, $2, $3, $4, $5) RETURNING load_id",
        )
        .bind(run_id.0)
        .bind(&pipeline.0)
        .bind(&brand.0)
        .bind(&table.name)
        .bind(now)
        .fetch_one(&mut *transaction)
        .await
        .map_err(query)?;
        let columns: Vec<String> =
            table.columns.iter().map(|(name, sql)| format!("{} {sql}", Ident::known(name))).collect();
        let staging = format!(
            "CREATE TEMPORARY TABLE staging ({}, source_row bigint, file_id bigint NOT NULL, \
             seq bigint GENERATED ALWAYS AS IDENTITY) ON COMMIT DROP",
            columns.join(", ")
        );
        transaction.execute(Statement::new(staging).safe()).await.map_err(query)?;
        let (pipeline, brand) = (pipeline.clone(), brand.clone());
        Ok(Self {
            warehouse: warehouse.clone(),
            transaction,
            run_id,
            load_id: LoadId(load_id),
            pipeline,
            brand,
            table,
            counts: Counts::default(),
            confirmed: Vec::new(),
            covers: None,
            months: Vec::new(),
            set_aside: Vec::new(),
        })
    }

    /// Its id.
    pub fn id(&self) -> LoadId {
        self.load_id
    }

    /// Enters a file into the ledger; answers with its id.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn open_file(&mut self, file: &FileEntry) -> Result<i64, Error> {
        sqlx::query_scalar(
            "INSERT INTO ops.files (load_id, pipeline, brand, name, content_hash, size_bytes,
                                    drive_id, item_id, version, modified_at, modified_by)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING file_id",
        )
        .bind(self.load_id.0)
        .bind(&self.pipeline.0)
        .bind(&self.brand.0)
        .bind(&file.name)
        .bind(&file.content_hash)
        .bind(i64::try_from(file.size_bytes).unwrap_or(i64::MAX))
        .bind(&file.drive_id)
        .bind(&file.item_id)
        .bind(&file.version)
        .bind(file.modified_at)
        .bind(&file.modified_by)
        .fetch_one(&mut *self.transaction)
        .await
        .map_err(Error::query("enter the file into the ledger"))
    }

    /// Copies a stream of batches into staging. The batches have the table's
    /// columns by name, and [`ROW`] where rows keep their number. `failed` says what
    /// a failure of ours is among the errors that the stream may end in.
    ///
    /// # Errors
    /// When PostgreSQL refuses, or the stream ends in an error of its own.
    pub async fn copy<S, E>(
        &mut self,
        file_id: i64,
        schema: &Schema,
        batches: S,
        failed: impl Fn(Error) -> E,
    ) -> Result<u64, E>
    where
        S: Stream<Item = Result<RecordBatch, E>>,
    {
        let query = |source| failed(Error::Query { action: "copy rows into staging", source });
        let mut indexes = Vec::new();
        let mut names = Vec::new();
        let mut json = Vec::new();
        for (name, sql) in &self.table.columns {
            // A column that another file of the load brought along stays empty for this one.
            let Ok(index) = schema.index_of(name) else { continue };
            indexes.push(index);
            names.push(name.clone());
            if sql == "jsonb" {
                json.push(index);
            }
        }
        if let Ok(index) = schema.index_of(ROW) {
            indexes.push(index);
            names.push("source_row".to_owned());
        }
        names.push("file_id".to_owned());
        let statement = format!("COPY pg_temp.staging ({}) FROM STDIN (FORMAT binary)", list(&names));
        let mut sink = self.transaction.copy_in_raw(&statement).await.map_err(query)?;
        let mut piece = copy::HEADER.to_vec();
        let mut batches = std::pin::pin!(batches);
        while let Some(batch) = batches.next().await {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    // The load ends here; the server's word on the abort adds nothing.
                    let _aborted = sink.abort("the source failed").await;
                    return Err(error);
                }
            };
            let batch = with_json_versions(batch, &json);
            copy::encode(&batch, &indexes, &[file_id], &mut piece);
            if piece.len() >= PIECE_BYTES {
                sink.send(piece.as_slice()).await.map_err(query)?;
                piece.clear();
            }
        }
        piece.extend_from_slice(copy::TRAILER);
        sink.send(piece.as_slice()).await.map_err(query)?;
        sink.finish().await.map_err(query)
    }

    /// Notes what was read of a file.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn close_file(&mut self, file_id: i64, sheet: Option<&str>, rows_read: u64) -> Result<(), Error> {
        sqlx::query("UPDATE ops.files SET sheet = $2, rows_read = $3 WHERE file_id = $1")
            .bind(file_id)
            .bind(sheet)
            .bind(i64::try_from(rows_read).unwrap_or(i64::MAX))
            .execute(&mut *self.transaction)
            .await
            .map_err(Error::query("close the file in the ledger"))?;
        Ok(())
    }

    /// Takes out rows whose key stands more than once. Within one file, all its sheets
    /// together, all but
    /// the last are quarantined; of two files the later one is right.
    /// Answers with what was quarantined, as (file, row, row that stayed).
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn settle_duplicates(&mut self) -> Result<Vec<(i64, i64, i64)>, Error> {
        let query = Error::query("settle rows with the same key");
        if self.table.key.is_empty() {
            return Ok(Vec::new());
        }
        let key = list(&self.table.key);
        // Mostly there are none. That is found by eight bytes a row, in half the time and a
        // fraction of the memory of the keys; two keys with one hash cost a look at them all.
        let repeated =
            format!("SELECT count(*) > count(DISTINCT hash_record_extended(ROW({key}), 0)) FROM pg_temp.staging");
        let repeated: bool = sqlx::query_scalar(Statement::new(repeated).safe())
            .fetch_one(&mut *self.transaction)
            .await
            .map_err(query)?;
        if !repeated {
            return Ok(Vec::new());
        }
        self.transaction.execute("ANALYZE pg_temp.staging").await.map_err(query)?;
        // A transform that keeps no row numbers has made the rows itself.
        let statement = format!(
            "WITH ranked AS (
                 SELECT seq, file_id, source_row, to_jsonb(staging) AS whole,
                        first_value(seq) OVER w AS kept_seq, first_value(source_row) OVER w AS kept_row,
                        first_value(file_id) OVER w AS kept_file, count(*) OVER (PARTITION BY {key}) AS copies
                 FROM pg_temp.staging
                 WINDOW w AS (PARTITION BY {key} ORDER BY seq DESC)
             ), gone AS (
                 DELETE FROM pg_temp.staging s USING ranked r
                 WHERE r.copies > 1 AND r.seq = s.seq AND r.seq <> r.kept_seq
                 RETURNING r.file_id, r.source_row, r.kept_row, r.kept_file, r.whole
             ), told AS (
                 -- The sheets of a workbook are one file, with an entry in the ledger each.
                 SELECT g.file_id, g.source_row, g.kept_row, g.whole,
                        CASE WHEN g.file_id <> g.kept_file THEN ' of sheet `' || kept.sheet || '`' ELSE '' END AS place
                 FROM gone g
                 JOIN ops.files own ON own.file_id = g.file_id
                 JOIN ops.files kept ON kept.file_id = g.kept_file
                 WHERE (own.name, own.content_hash) = (kept.name, kept.content_hash)
             ), noted AS (
                 INSERT INTO ops.quarantine (run_id, load_id, file_id, pipeline, brand, source_row,
                                             column_name, rule, reason, row_values)
                 SELECT $1, $2, file_id, $3, $4, coalesce(source_row, 0), $5, 'unique',
                        'row ' || coalesce(kept_row, 0) || place || ' has the same key',
                        whole - 'seq' - 'file_id' - 'source_row'
                 FROM told
             )
             SELECT file_id, coalesce(source_row, 0) AS source_row, coalesce(kept_row, 0) AS kept_row
             FROM told ORDER BY 1, 2"
        );
        let rows = sqlx::query(Statement::new(statement).safe())
            .bind(self.run_id.0)
            .bind(self.load_id.0)
            .bind(&self.pipeline.0)
            .bind(&self.brand.0)
            .bind(self.table.key.join(", "))
            .fetch_all(&mut *self.transaction)
            .await
            .map_err(query)?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
    }

    /// Runs a check: a query over `staging` that returns bad rows.
    ///
    /// # Errors
    /// When it returns any, or cannot run.
    pub async fn check(&mut self, name: &str, sql: &str) -> Result<(), Error> {
        let wrapped = format!("SELECT to_jsonb(bad)::text FROM ({}) AS bad LIMIT 5", sql.trim().trim_end_matches(';'));
        let found: Vec<String> = sqlx::query_scalar(Statement::new(wrapped).safe())
            .fetch_all(&mut *self.transaction)
            .await
            .map_err(Error::query("run a check"))?;
        if found.is_empty() {
            return Ok(());
        }
        Err(Error::Check { name: name.to_owned(), found: found.join(", ") })
    }

    /// The transaction, for what must become visible together with the rows.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Counts rows that were removed besides those of the merge.
    pub fn removed(&mut self, rows: u64) {
        self.counts.deleted += rows;
    }

    /// Makes everything visible at once; `now` is when.
    ///
    /// # Errors
    /// When PostgreSQL refuses; then nothing is.
    pub async fn commit(mut self, now: DateTime<Utc>) -> Result<(), Error> {
        let query = Error::query("commit the load");
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.confirmed.sort_unstable();
        self.confirmed.dedup();
        sqlx::query(
            "UPDATE ops.loads SET committed_at = $2, kept_history = true, rows_inserted = $3, rows_updated = $4,
                    rows_unchanged = $5, rows_deleted = $6, confirmed = $7, covers = $8
             WHERE load_id = $1",
        )
        .bind(self.load_id.0)
        .bind(now)
        .bind(number(self.counts.inserted))
        .bind(number(self.counts.updated))
        .bind(number(self.counts.unchanged))
        .bind(number(self.counts.deleted))
        .bind(&self.confirmed)
        .bind(&self.covers)
        .execute(&mut *self.transaction)
        .await
        .map_err(query)?;
        commit(&self.warehouse, self.transaction).await?;
        let changed = self.counts.inserted + self.counts.updated + self.counts.deleted;
        super::upkeep::analyze_changed(&self.warehouse, &self.table, &self.months, changed).await;
        Ok(())
    }
}
