//! Rows that come late: what a replayed row must not overwrite.
//!
//! A refused row belongs to the moment of its file. By the time it is mended the
//! table may have moved on, so each staged row is held against what is there.

use sqlx::{Executor as _, Row as _};

use super::ident::{Ident, Statement};
use super::load::{Error, Load};
use super::table::{WriteDisposition, list};

/// A staged row that was taken out again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GaveWay {
    /// The file it is from.
    pub file_id: i64,
    /// Its row there.
    pub source_row: i64,
    /// Whether what is there is newer; otherwise nobody can tell.
    pub newer: bool,
    /// In words.
    pub reason: String,
}

impl Load {
    /// Takes rows out of staging that would overwrite newer data, or may do so.
    /// `disposition` is the pipeline's own; a replay itself only adds and updates.
    ///
    /// With a key, a row gives way to a row of the same key that is from a later
    /// file, or further down in the same one. Where the row that is there is from
    /// an *earlier* file, it is overwritten only if no file was loaded since: a
    /// file that told the same values again has left no trace in the row.
    /// With `replace` any later file is the whole truth. Without a key, a row
    /// gives way to nothing, but where its file came again under the same name
    /// nobody can tell whether it is there already.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn give_way(&mut self, disposition: WriteDisposition) -> Result<Vec<GaveWay>, Error> {
        let query = Error::query("hold the rows against newer data");
        self.table.ensure(&mut self.transaction).await?;
        let later = "SELECT FROM ops.files f JOIN ops.loads l USING (load_id)
                     WHERE f.pipeline = $1 AND f.brand = $2 AND f.file_id > s.file_id AND l.undone_by IS NULL";
        let verdict = if disposition == WriteDisposition::Replace {
            format!("CASE WHEN EXISTS ({later}) THEN 'a later file tells the whole table' END AS newer, NULL AS unsure")
        } else if self.table.key.is_empty() {
            format!(
                "NULL AS newer, CASE WHEN EXISTS ({later} AND f.name = (
                     SELECT name FROM ops.files own WHERE own.file_id = s.file_id))
                 THEN 'its file came again since: it may have been loaded with that' END AS unsure"
            )
        } else {
            let pairs = |names: &[String]| -> String {
                let pairs: Vec<String> =
                    names.iter().map(|name| format!("t.{0} = s.{0}", Ident::known(name))).collect();
                pairs.join(" AND ")
            };
            let (path, same_key) = (self.table.path(), pairs(&self.table.key));
            let there = format!("SELECT FROM {path} t WHERE {same_key}");
            let window = if disposition == WriteDisposition::ReplaceWindow {
                let same = pairs(&self.table.window);
                format!(
                    "WHEN EXISTS (SELECT FROM {path} t WHERE {same} AND t.file_id > s.file_id)
                     THEN 'a later file tells its window'"
                )
            } else {
                String::new()
            };
            format!(
                "CASE WHEN s._copy > 1 THEN 'a later row has the same key'
                      WHEN EXISTS ({there} AND (t.file_id, coalesce(t.source_row, 0)) >= (s.file_id, s.source_row))
                      THEN 'a later row with its key is loaded'
                      {window} END AS newer,
                 CASE WHEN EXISTS ({there}) AND EXISTS ({later})
                      THEN 'its key is loaded, and files came since that may have told it again' END AS unsure"
            )
        };
        let copy = if self.table.key.is_empty() {
            "1".to_owned()
        } else {
            let key = list(&self.table.key);
            format!("row_number() OVER (PARTITION BY {key} ORDER BY file_id DESC, source_row DESC, seq DESC)")
        };
        let statement = format!(
            "WITH s AS (SELECT *, {copy} AS _copy FROM pg_temp.staging),
                  judged AS (SELECT s.seq, {verdict} FROM s),
                  gone AS (DELETE FROM pg_temp.staging g USING judged j
                           WHERE g.seq = j.seq AND coalesce(j.newer, j.unsure) IS NOT NULL
                           RETURNING g.file_id, coalesce(g.source_row, 0) AS source_row, j.newer, j.unsure)
             SELECT file_id, source_row, newer IS NOT NULL AS newer, coalesce(newer, unsure) AS reason
             FROM gone ORDER BY 1, 2"
        );
        self.transaction.execute("ANALYZE pg_temp.staging").await.map_err(query)?;
        let rows = sqlx::query(Statement::new(statement).safe())
            .bind(&self.pipeline.0)
            .bind(&self.brand.0)
            .fetch_all(&mut *self.transaction)
            .await
            .map_err(query)?;
        let gone = |row: &sqlx::postgres::PgRow| GaveWay {
            file_id: row.get("file_id"),
            source_row: row.get("source_row"),
            newer: row.get("newer"),
            reason: row.get("reason"),
        };
        Ok(rows.iter().map(gone).collect())
    }
}
