//! A month's rows out of the table and back: how `archive` moves them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatchReader as _;
use arrow::datatypes::Schema;
use chrono::{Months, NaiveDate};
use futures::StreamExt as _;
use parquet::errors::ParquetError;
use sqlx::{Executor as _, PgConnection};

use super::archive::{Error, query};
use super::archive_file::{self, Part};
use super::archive_rows::{Decoder, KIND, RowDigest, encode, schema_of};
use super::copy;
use super::ident::{Ident, Statement};
use super::partitions::shown;
use super::table::{Table, list};

const BATCH_ROWS: usize = 8192;
/// The column of a file that tells earlier versions from rows of the table.
const SUPERSEDED: (&str, &str) = ("superseded_by", "bigint");

impl Table {
    pub(super) fn place(&self, dir: &Path) -> PathBuf {
        dir.join(self.brand()).join(&self.name)
    }

    /// The columns that the table has now, by name and PostgreSQL type.
    pub(super) async fn stored_columns(&self, connection: &mut PgConnection) -> Result<Vec<(String, String)>, Error> {
        sqlx::query_as(
            "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
             WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        )
        .bind(self.path())
        .fetch_all(connection)
        .await
        .map_err(query("list the columns"))
    }

    fn in_month(&self, month: NaiveDate) -> String {
        let column = Ident::known(self.partition_by.as_deref().unwrap_or_default());
        format!("{column} >= '{month}' AND {column} < '{}'", month + Months::new(1))
    }

    fn rows_of(&self, columns: &[String], month: NaiveDate) -> String {
        format!("SELECT {}, NULL::bigint FROM {}", list(columns), self.partition_path(month))
    }

    pub(super) fn versions_of(&self, columns: &[String], month: NaiveDate) -> String {
        format!("SELECT {}, superseded_by FROM {} WHERE {}", list(columns), self.history(), self.in_month(month))
    }

    /// Writes a month to a file.
    pub(super) async fn write(
        &self,
        connection: &mut PgConnection,
        columns: &[(String, String)],
        month: NaiveDate,
        path: PathBuf,
    ) -> Result<(PathBuf, RowDigest, RowDigest), Error> {
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        let schema = self.schema_with_versions(columns)?;
        let about = [
            ("storekeeper.brand", self.brand().to_owned()),
            ("storekeeper.table", self.name.clone()),
            ("storekeeper.month", shown(month)),
        ];
        let mut part = Part::open(path, schema.clone(), &about)?;
        let rows = self.send(connection, &self.rows_of(&names, month), &schema, Some(&mut part)).await?;
        let versions = self.send(connection, &self.versions_of(&names, month), &schema, Some(&mut part)).await?;
        Ok((part.finish()?, rows, versions))
    }

    /// Has PostgreSQL send rows, into a file if there is one; answers with their digest.
    async fn send(
        &self,
        connection: &mut PgConnection,
        select: &str,
        schema: &Arc<Schema>,
        mut into: Option<&mut Part>,
    ) -> Result<RowDigest, Error> {
        let unfit = |message| Error::Unfit { table: self.name.clone(), message };
        let action = query("read the rows of a month");
        let mut decoder = Decoder::new(schema.clone());
        let statement = format!("COPY ({select}) TO STDOUT (FORMAT binary)");
        let mut pieces = connection.copy_out_raw(&statement).await.map_err(action)?;
        while let Some(piece) = pieces.next().await {
            decoder.take(&piece.map_err(action)?).map_err(unfit)?;
            if decoder.held() >= BATCH_ROWS {
                let batch = decoder.batch();
                if let Some(part) = &mut into {
                    part.write(&batch)?;
                }
            }
        }
        if let (Some(part), true) = (&mut into, decoder.held() > 0) {
            part.write(&decoder.batch())?;
        }
        Ok(decoder.digest)
    }

    pub(super) async fn digest_of_rows(
        &self,
        connection: &mut PgConnection,
        columns: &[(String, String)],
        month: NaiveDate,
    ) -> Result<RowDigest, Error> {
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        self.send(connection, &self.rows_of(&names, month), &self.schema_with_versions(columns)?, None).await
    }

    pub(super) async fn digest_of_versions(
        &self,
        connection: &mut PgConnection,
        columns: &[(String, String)],
        month: NaiveDate,
    ) -> Result<RowDigest, Error> {
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        self.send(connection, &self.versions_of(&names, month), &self.schema_with_versions(columns)?, None).await
    }

    fn schema_with_versions(&self, columns: &[(String, String)]) -> Result<Arc<Schema>, Error> {
        let mut all = columns.to_vec();
        all.push((SUPERSEDED.0.to_owned(), SUPERSEDED.1.to_owned()));
        schema_of(&all).map(Arc::new).map_err(|(column, kind)| Error::Unfit {
            table: self.name.clone(),
            message: format!("column `{column}` is {kind}, which a file cannot hold"),
        })
    }

    /// Drops a month's partition and the earlier versions of its rows.
    pub(super) async fn drop_month(
        &self,
        connection: &mut PgConnection,
        month: NaiveDate,
        versions: i64,
    ) -> Result<(), Error> {
        let forget = format!("DELETE FROM {} WHERE {}", self.history(), self.in_month(month));
        let forgotten = connection.execute(Statement::new(forget).safe()).await;
        let forgotten = forgotten.map_err(query("take a month's versions out of the history"))?.rows_affected();
        if i64::try_from(forgotten).ok() != Some(versions) {
            let what = format!("the versions of {} that would leave the history", shown(month));
            return Err(Error::Differs { what, wanted: versions.to_string(), found: forgotten.to_string() });
        }
        // Readers wait behind this lock: better to give up than to have them wait long.
        for statement in
            ["SET LOCAL lock_timeout = '5s'".to_owned(), format!("DROP TABLE {}", self.partition_path(month))]
        {
            match connection.execute(Statement::new(statement).safe()).await {
                Ok(_) => {}
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("55P03") => {
                    return Err(Error::Busy { table: self.name.clone(), month: shown(month) });
                }
                Err(source) => return Err(query("drop a partition")(source)),
            }
        }
        Ok(())
    }

    /// Makes a month's partition beside the table and fills it, and the history, from a
    /// file. Answers with the file's columns.
    pub(super) async fn bring_back(
        &self,
        connection: &mut PgConnection,
        file: &Path,
        month: NaiveDate,
    ) -> Result<Vec<(String, String)>, Error> {
        let action = query("copy a month's rows back");
        let reader = archive_file::batches(file)?;
        let mut columns: Vec<(String, String)> = Vec::new();
        for field in reader.schema().fields() {
            let kind = field.metadata().get(KIND).cloned().unwrap_or_default();
            columns.push((field.name().clone(), kind));
        }
        columns.pop();
        let now = self.stored_columns(connection).await?;
        if let Some((name, kind)) = columns.iter().find(|column| !now.contains(column)) {
            let message = format!("the table has no column `{name}` of type {kind} any more, which the file has");
            return Err(Error::Unfit { table: self.name.clone(), message });
        }
        let declared: Vec<String> =
            columns.iter().map(|(name, kind)| format!("{} {kind}", Ident::known(name))).collect();
        let staging =
            format!("CREATE TEMPORARY TABLE brought ({}, superseded_by bigint) ON COMMIT DROP", declared.join(", "));
        connection.execute(Statement::new(staging).safe()).await.map_err(action)?;
        let mut sink =
            connection.copy_in_raw("COPY pg_temp.brought FROM STDIN (FORMAT binary)").await.map_err(action)?;
        sink.send(copy::HEADER).await.map_err(action)?;
        for batch in reader {
            let read = |source| Error::Parquet { action: "read", path: file.to_owned(), source: Box::new(source) };
            let batch = batch.map_err(|error| read(ParquetError::from(error)))?;
            sink.send(encode(&batch).as_slice()).await.map_err(action)?;
        }
        sink.send(copy::TRAILER).await.map_err(action)?;
        sink.finish().await.map_err(action)?;
        self.make_partition(connection, month).await?;
        let names = list(&columns.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>());
        for statement in [
            format!(
                "INSERT INTO {} ({names}) SELECT {names} FROM pg_temp.brought WHERE superseded_by IS NULL",
                self.partition_path(month)
            ),
            format!(
                "INSERT INTO {} ({names}, superseded_by) SELECT {names}, superseded_by FROM pg_temp.brought \
                 WHERE superseded_by IS NOT NULL",
                self.history()
            ),
        ] {
            connection.execute(Statement::new(statement).safe()).await.map_err(action)?;
        }
        Ok(columns)
    }
}
