//! Rows of archived months: a load sets them aside, and goes on with the others.

use chrono::NaiveDate;
use sqlx::Row as _;

use super::ident::{Ident, Statement};
use super::load::{Error, Load};
use super::partitions::shown;

/// The rule that rows of archived months are refused by.
pub const ARCHIVED_RULE: &str = "archived";

/// A row that a load set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The file it is from.
    pub file_id: i64,
    /// Its row there.
    pub source_row: i64,
    /// In words, with the remedy.
    pub reason: String,
}

impl Load {
    /// The rows that the merge set aside because their month is archived.
    pub fn set_aside(&self) -> &[SetAside] {
        &self.set_aside
    }

    /// The column whose months are archived.
    pub fn month_column(&self) -> &str {
        self.table.partition_by.as_deref().unwrap_or_default()
    }

    /// Takes rows of archived months out of staging and into quarantine: they would
    /// come into being a second time once the month is brought back. While the table is
    /// locked, so that no month is archived in between.
    pub(super) async fn set_archived_aside(&mut self) -> Result<(), Error> {
        let Some(column) = self.table.partition_by.clone() else { return Ok(()) };
        let months: Vec<NaiveDate> = self.table.archived(&mut self.transaction).await?;
        if months.is_empty() {
            return Ok(());
        }
        let name = Ident::known(&column);
        let statement = format!(
            "WITH gone AS (
                 DELETE FROM pg_temp.staging s WHERE date_trunc('month', s.{name})::date = ANY($1)
                 RETURNING s.file_id, coalesce(s.source_row, 0) AS source_row, s.{name} AS day, to_jsonb(s) AS whole
             ), told AS (
                 SELECT *, to_char(day, 'YYYY-MM') || ' of `' || $2 || '` is archived: bring it back with '
                     || '`storekeeper archive restore ' || $2 || ' ' || to_char(day, 'YYYY-MM') || ' --brand ' || $3
                     || '`, then load the row again' AS reason
                 FROM gone
             ), noted AS (
                 INSERT INTO ops.quarantine (run_id, load_id, file_id, pipeline, brand, source_row,
                                             column_name, rule, reason, value, row_values)
                 SELECT $4, $5, t.file_id, $6, $3, t.source_row, $7, $8, t.reason, t.day::text,
                        t.whole - 'seq' - 'file_id' - 'source_row'
                 FROM told t
                 -- A row that is tried again has its line already.
                 WHERE NOT EXISTS (SELECT FROM ops.quarantine q
                                   WHERE q.pipeline = $6 AND q.brand = $3 AND q.file_id = t.file_id
                                     AND q.source_row = t.source_row AND q.state = 'open')
             )
             SELECT file_id, source_row, reason FROM told ORDER BY file_id, source_row"
        );
        let rows = sqlx::query(Statement::new(statement).safe())
            .bind(&months)
            .bind(&self.table.name)
            .bind(&self.brand.0)
            .bind(self.run_id.0)
            .bind(self.load_id.0)
            .bind(&self.pipeline.0)
            .bind(&column)
            .bind(ARCHIVED_RULE)
            .fetch_all(&mut *self.transaction)
            .await
            .map_err(Error::query("set rows of archived months aside"))?;
        if let Some(first) = rows.first() {
            let months: Vec<String> = months.into_iter().map(shown).collect();
            tracing::warn!(
                table = self.table.name,
                rows = rows.len(),
                archived = months.join(", "),
                first = first.get::<String, _>("reason"),
                "rows of archived months were set aside"
            );
        }
        self.set_aside = rows
            .iter()
            .map(|row| SetAside { file_id: row.get(0), source_row: row.get(1), reason: row.get(2) })
            .collect();
        Ok(())
    }
}
