//! One file's part of a load, which can be taken back alone.

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch, StringArray};
use sqlx::{Executor as _, Row as _};

use super::ident::{Ident, Statement};
use super::load::{Error, Load};
use crate::contracts::Rejection;
use crate::ids::{BrandId, PipelineName};

/// A place to which a load can go back.
#[derive(Debug)]
pub struct Part {
    name: &'static str,
    columns: usize,
}

impl Load {
    /// Whose rows it loads.
    pub fn owner(&self) -> (PipelineName, BrandId) {
        (self.pipeline.clone(), self.brand.clone())
    }

    /// Opens a part. What happens until it is kept or taken back belongs to it, parts
    /// of another name within it too.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn begin_part(&mut self, name: &'static str) -> Result<Part, Error> {
        let query = Error::query("open a file's part of the load");
        let begin = Statement::new(format!("SAVEPOINT {}", Ident::known(name)));
        self.transaction.execute(begin.safe()).await.map_err(query)?;
        Ok(Part { name, columns: self.table.columns.len() })
    }

    /// Keeps what the part brought.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn keep_part(&mut self, part: Part) -> Result<(), Error> {
        let query = Error::query("keep a file's part of the load");
        let release = Statement::new(format!("RELEASE SAVEPOINT {}", Ident::known(part.name)));
        self.transaction.execute(release.safe()).await.map(drop).map_err(query)
    }

    /// Takes back what the part brought: rows, quarantine, ledger and new columns.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn take_back(&mut self, part: Part) -> Result<(), Error> {
        let query = Error::query("take a file's part of the load back");
        let back = Statement::new(format!("ROLLBACK TO SAVEPOINT {}", Ident::known(part.name)));
        self.transaction.execute(back.safe()).await.map_err(query)?;
        self.table.columns.truncate(part.columns);
        self.keep_part(part).await
    }

    /// Gives the table columns that it lacks so far, by name and PostgreSQL type. They
    /// come into being with the load; earlier rows have nothing in them.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn add_columns(&mut self, columns: &[(String, String)]) -> Result<(), Error> {
        for (name, sql) in columns {
            if self.table.columns.iter().any(|(known, _)| known == name) {
                continue;
            }
            let add = format!("ALTER TABLE pg_temp.staging ADD COLUMN {} {sql}", Ident::known(name));
            let add = Statement::new(add);
            self.transaction.execute(add.safe()).await.map_err(Error::query("add a column to staging"))?;
            self.table.columns.push((name.clone(), sql.clone()));
        }
        Ok(())
    }

    /// Takes out of staging what these files say about keys (or windows) of which the
    /// table has rows from a file that was changed later. Answers with how many rows.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn yield_to_newer(&mut self, file_ids: &[i64]) -> Result<u64, Error> {
        let query = Error::query("compare late files with newer rows");
        let columns = if self.table.window.is_empty() { &self.table.key } else { &self.table.window };
        let there: Option<String> = sqlx::query_scalar("SELECT to_regclass($1)::text")
            .bind(self.table.path())
            .fetch_one(&mut *self.transaction)
            .await
            .map_err(query)?;
        if columns.is_empty() || there.is_none() {
            return Ok(0);
        }
        let same: Vec<String> = columns.iter().map(|name| format!("t.{0} = s.{0}", Ident::known(name))).collect();
        let statement = format!(
            "WITH late AS (
                 SELECT s.seq, t.load_id FROM pg_temp.staging s
                 JOIN ops.files own ON own.file_id = s.file_id
                 JOIN {} t ON {}
                 JOIN ops.files newer ON newer.file_id = t.file_id
                 WHERE s.file_id = ANY($1) AND newer.pipeline = own.pipeline AND newer.modified_at > own.modified_at
             ), gone AS (
                 DELETE FROM pg_temp.staging s USING (SELECT DISTINCT seq FROM late) l WHERE s.seq = l.seq RETURNING s.seq
             )
             SELECT (SELECT count(*) FROM gone), ARRAY(SELECT DISTINCT load_id FROM late)",
            self.table.path(),
            same.join(" AND ")
        );
        let (gone, to): (i64, Vec<i64>) = sqlx::query_as(Statement::new(statement).safe())
            .bind(file_ids)
            .fetch_one(&mut *self.transaction)
            .await
            .map_err(query)?;
        // Without those loads these rows would be there.
        self.confirmed.extend(to);
        Ok(gone.unsigned_abs())
    }

    /// Finds rows of a file whose value in a column stands there again further down.
    /// Answers with the rows and those that have the value last. With `take_out` they
    /// go to quarantine.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn repeated(&mut self, file_id: i64, column: &str, take_out: bool) -> Result<Vec<(i64, i64)>, Error> {
        let query = Error::query("look for repeated values");
        let name = Ident::known(column);
        let ranked = format!(
            "ranked AS (
                 SELECT seq, source_row, to_jsonb(staging) AS whole,
                        first_value(seq) OVER w AS kept_seq, first_value(source_row) OVER w AS kept_row
                 FROM pg_temp.staging WHERE file_id = $1 AND {name} IS NOT NULL
                 WINDOW w AS (PARTITION BY {name} ORDER BY seq DESC)
             )"
        );
        let found = "coalesce(source_row, 0), coalesce(kept_row, 0)";
        if !take_out {
            let statement = format!("WITH {ranked} SELECT {found} FROM ranked WHERE seq <> kept_seq ORDER BY seq");
            let found = sqlx::query(Statement::new(statement).safe()).bind(file_id);
            let rows = found.fetch_all(&mut *self.transaction).await.map_err(query)?;
            return Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect());
        }
        let statement = format!(
            "WITH {ranked}, gone AS (
                 DELETE FROM pg_temp.staging s USING ranked r
                 WHERE r.seq <> r.kept_seq AND r.seq = s.seq
                 RETURNING r.seq, r.source_row, r.kept_row, r.whole
             ), kept AS (
                 INSERT INTO ops.quarantine (run_id, load_id, file_id, pipeline, brand, source_row,
                                             column_name, rule, reason, row_values)
                 SELECT $2, $3, $1, $4, $5, coalesce(source_row, 0), $6, 'unique',
                        'row ' || coalesce(kept_row, 0) || ' has the same value',
                        whole - 'seq' - 'file_id' - 'source_row'
                 FROM gone
             )
             SELECT {found} FROM gone ORDER BY seq"
        );
        let rows = sqlx::query(Statement::new(statement).safe())
            .bind(file_id)
            .bind(self.run_id.0)
            .bind(self.load_id.0)
            .bind(&self.pipeline.0)
            .bind(&self.brand.0)
            .bind(column)
            .fetch_all(&mut *self.transaction)
            .await
            .map_err(query)?;
        Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
    }

    /// Keeps refused rows with their reasons. `names` are the contract's columns.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn quarantine(
        &mut self,
        file_id: i64,
        names: &[String],
        rejected: &[(Rejection, Vec<Option<String>>)],
    ) -> Result<(), Error> {
        for chunk in rejected.chunks(1000) {
            let rows: Vec<i64> = chunk.iter().map(|(rejection, _)| rejection.row).collect();
            let columns: Vec<&str> = chunk.iter().map(|(rejection, _)| rejection.column.as_str()).collect();
            let rules: Vec<&str> = chunk.iter().map(|(rejection, _)| rejection.rule).collect();
            let reasons: Vec<String> = chunk.iter().map(|(rejection, _)| printable(&rejection.reason)).collect();
            let values: Vec<Option<String>> =
                chunk.iter().map(|(rejection, _)| rejection.value.as_deref().map(printable)).collect();
            let whole: Vec<serde_json::Value> = chunk
                .iter()
                .map(|(_, cells)| {
                    let cells = cells.iter().map(|cell| match cell {
                        Some(text) => serde_json::Value::String(printable(text)),
                        None => serde_json::Value::Null,
                    });
                    serde_json::Value::Object(names.iter().cloned().zip(cells).collect())
                })
                .collect();
            sqlx::query(
                "INSERT INTO ops.quarantine (run_id, load_id, file_id, pipeline, brand, source_row,
                                             column_name, rule, reason, value, row_values)
                 SELECT $1, $2, $3, $4, $5, r.* FROM unnest($6::bigint[], $7::text[], $8::text[], $9::text[],
                                                            $10::text[], $11::jsonb[]) AS r",
            )
            .bind(self.run_id.0)
            .bind(self.load_id.0)
            .bind(file_id)
            .bind(&self.pipeline.0)
            .bind(&self.brand.0)
            .bind(rows)
            .bind(columns)
            .bind(rules)
            .bind(reasons)
            .bind(values)
            .bind(whole)
            .execute(&mut *self.transaction)
            .await
            .map_err(Error::query("keep quarantined rows"))?;
        }
        Ok(())
    }
}

/// jsonb and text cannot hold a zero byte.
fn printable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A batch whose columns `json` are as jsonb takes them: a version, 1, before the text.
pub(super) fn with_json_versions(batch: RecordBatch, json: &[usize]) -> RecordBatch {
    if json.is_empty() {
        return batch;
    }
    let mut columns = batch.columns().to_vec();
    let mut fields: Vec<arrow::datatypes::Field> =
        batch.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    for index in json {
        let texts = arrow::compute::cast(&columns[*index], &arrow::datatypes::DataType::Utf8)
            .expect("a JSON column is some kind of text");
        let marked: StringArray =
            texts.as_string::<i32>().iter().map(|text| text.map(|text| format!("\u{1}{text}"))).collect();
        fields[*index] = arrow::datatypes::Field::new(fields[*index].name(), marked.data_type().clone(), true);
        columns[*index] = std::sync::Arc::new(marked) as ArrayRef;
    }
    let schema = std::sync::Arc::new(arrow::datatypes::Schema::new(fields));
    RecordBatch::try_new(schema, columns).expect("each column is as long as it was")
}
