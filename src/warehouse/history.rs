//! The rows that loads replaced: `history_<brand>`, one table beside each of `mart_<brand>`.
//!
//! A row's version is visible from the load that brought it, or brought it back
//! (`restored_by`), until the load that replaced or removed it (`superseded_by`).
//! The table holds the versions that are visible now, its history all others. So a
//! load is undone from here, and `<table>_as_of(timestamptz)` reads the table as it
//! was known at a moment.
//!
//! Versions that were superseded long ago are pruned. The latest moment before which
//! some were is the brand's horizon: asked for an earlier one, `_as_of` fails, and no
//! load from before can be undone.

use chrono::{DateTime, Utc};
use sqlx::{Executor as _, PgConnection};

use super::duties::make_schema;
use super::ident::{Ident, Statement, literal};
use super::load::Error;
use super::table::{LINEAGE, Table, list};
use crate::ids::{BrandId, LoadId};

/// The view of a history schema that says when loads became known.
pub const KNOWN_LOADS: &str = "known_loads";
/// Its table of one row at most: from when on versions are kept.
pub const HORIZON: &str = "horizon";

/// Makes a brand's history schema where there is none.
pub(super) async fn ensure_schema(connection: &mut PgConnection, brand: &BrandId) -> Result<(), Error> {
    let query = Error::query("make the history's schema");
    let schema = Ident::known(&brand.history_schema());
    let view = format!("{schema}.{KNOWN_LOADS}");
    let horizon = format!("{schema}.{HORIZON}");
    let there: bool = sqlx::query_scalar(
        "SELECT to_regclass($2) IS NOT NULL
            AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($1) AND attname = 'undoes')",
    )
    .bind(&view)
    .bind(&horizon)
    .fetch_one(&mut *connection)
    .await
    .map_err(query)?;
    if there {
        return Ok(());
    }
    // Two loads of a new brand may meet here.
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 1))")
        .bind(&view)
        .execute(&mut *connection)
        .await
        .map_err(query)?;
    // Readers cannot enter `ops`: this shows them times, and nothing that belongs to a store.
    make_schema(connection, &brand.history_schema()).await.map_err(query)?;
    for statement in [
        format!(
            "CREATE OR REPLACE VIEW {view} WITH (security_barrier = true) AS \
             SELECT load_id, pipeline, committed_at, made_on, undoes FROM ops.loads WHERE brand = {}",
            literal(&brand.0)
        ),
        format!("COMMENT ON VIEW {view} IS 'rights: owner; shows nothing that belongs to a store'"),
        format!(
            "CREATE TABLE IF NOT EXISTS {horizon} (one boolean PRIMARY KEY DEFAULT true CHECK (one), \
             since timestamptz NOT NULL)"
        ),
    ] {
        connection.execute(Statement::new(statement).safe()).await.map_err(query)?;
    }
    Ok(())
}

/// From when on a brand's replaced rows are all there: `_as_of` answers for no earlier
/// moment, and a load that was committed before cannot be undone. `None`: nothing was
/// pruned so far. Who is about to undo asks while the table is locked.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn horizon(connection: &mut PgConnection, brand: &BrandId) -> Result<Option<DateTime<Utc>>, Error> {
    ensure_schema(connection, brand).await?;
    let select = format!("SELECT since FROM {}.{HORIZON}", Ident::known(&brand.history_schema()));
    sqlx::query_scalar(Statement::new(select).safe())
        .fetch_optional(connection)
        .await
        .map_err(Error::query("look up how far back the history goes"))
}

impl Table {
    /// Forgets versions that were superseded before a moment, and moves the horizon
    /// there. Answers with how many. While the table is locked.
    pub(super) async fn prune(&self, connection: &mut PgConnection, before: DateTime<Utc>) -> Result<u64, Error> {
        let query = Error::query("prune the history");
        let prune = format!(
            "DELETE FROM {} t USING ops.loads l WHERE l.load_id = t.superseded_by AND l.committed_at < $1",
            self.history()
        );
        let pruned = sqlx::query(Statement::new(prune).safe()).bind(before).execute(&mut *connection).await;
        let pruned = pruned.map_err(query)?.rows_affected();
        if pruned > 0 {
            let horizon = format!("{}.{HORIZON}", Ident::known(&self.history_schema()));
            let mark = format!(
                "INSERT INTO {horizon} AS h (since) VALUES ($1)
                 ON CONFLICT (one) DO UPDATE SET since = greatest(h.since, EXCLUDED.since)"
            );
            sqlx::query(Statement::new(mark).safe()).bind(before).execute(connection).await.map_err(query)?;
        }
        Ok(pruned)
    }

    /// The history's name with its schema, quoted.
    pub(crate) fn history(&self) -> String {
        format!("{}.{}", Ident::known(&self.history_schema()), Ident::known(&self.name))
    }

    pub(super) fn history_schema(&self) -> String {
        format!("history_{}", self.schema.strip_prefix("mart_").unwrap_or(&self.schema))
    }

    /// All columns that a version has, by name.
    pub(super) fn version_columns(&self) -> Vec<String> {
        let own = self.columns.iter().map(|(name, _)| name.clone());
        own.chain(LINEAGE.iter().map(|(name, _)| (*name).to_owned())).collect()
    }

    /// Makes the history and the function that reads it, or brings them up to the
    /// table's columns. After [`Table::ensure`].
    pub(super) async fn ensure_history(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let query = Error::query("make the table's history");
        // Name and type, in the table's order; and whether the history has the column.
        let columns: Vec<(String, String, bool)> = sqlx::query_as(
            "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), h.attname IS NOT NULL
             FROM pg_attribute a
             LEFT JOIN pg_attribute h ON h.attrelid = to_regclass($2) AND h.attname = a.attname AND NOT h.attisdropped
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
             ORDER BY a.attnum",
        )
        .bind(self.path())
        .bind(self.history())
        .fetch_all(&mut *connection)
        .await
        .map_err(query)?;
        let lacking: Vec<String> = columns
            .iter()
            .filter(|(_, _, there)| !there)
            .map(|(name, kind, _)| format!("{} {kind}", Ident::known(name)))
            .collect();
        if lacking.is_empty() && self.asks_for_the_horizon(connection).await? {
            return self.ensure_restatements(connection, false).await;
        }
        let history = self.history();
        let mut statements = Vec::new();
        if lacking.len() == columns.len() {
            statements.push(format!("CREATE TABLE {history} ({}, superseded_by bigint NOT NULL)", lacking.join(", ")));
            // Loads come in their order: a few bytes a page find them.
            statements.push(format!("CREATE INDEX ON {history} USING brin (superseded_by, load_id)"));
            if !self.key.is_empty() {
                statements.push(format!("CREATE INDEX ON {history} ({})", list(&self.key)));
            }
        } else if !lacking.is_empty() {
            let added: Vec<String> = lacking.iter().map(|column| format!("ADD COLUMN {column}")).collect();
            statements.push(format!("ALTER TABLE {history} {}", added.join(", ")));
        }
        let names: Vec<String> = columns.into_iter().map(|(name, ..)| name).collect();
        statements.push(self.as_of(&names));
        for statement in statements {
            connection.execute(Statement::new(statement).safe()).await.map_err(query)?;
        }
        self.ensure_restatements(connection, true).await
    }

    /// Whether the function that reads the table as it was known heeds the horizon; those
    /// of earlier versions do not.
    async fn asks_for_the_horizon(&self, connection: &mut PgConnection) -> Result<bool, Error> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
                            WHERE n.nspname = $1 AND p.proname = $2 AND strpos(p.prosrc, $3) > 0)",
        )
        .bind(&self.schema)
        .bind(format!("{}_as_of", self.name))
        .bind(format!(".{HORIZON} "))
        .fetch_one(connection)
        .await
        .map_err(Error::query("look up how the table's past is read"))
    }

    /// The function that reads the table as it was known at a moment. It asks with
    /// its reader's rights, and is simple enough for the planner to see through.
    fn as_of(&self, columns: &[String]) -> String {
        let name = format!("{}.{}", Ident::known(&self.schema), Ident::known(&format!("{}_as_of", self.name)));
        let schema = Ident::known(&self.history_schema());
        let loads = format!("{schema}.{KNOWN_LOADS}");
        let known = format!("IN (SELECT l.load_id FROM {loads} l WHERE l.committed_at <= $1)");
        // A text that is no boolean: SQL has no other way to refuse, and a function that had one would hide the
        // query from the planner.
        let kept = format!(
            "coalesce((SELECT CASE WHEN $1 < h.since THEN
                 ('what was known then is no longer kept: the history begins at ' || h.since)::boolean ELSE true END
                 FROM {schema}.{HORIZON} h), true)"
        );
        format!(
            "CREATE OR REPLACE FUNCTION {name}(timestamptz) RETURNS SETOF {path} LANGUAGE sql STABLE AS $$
             SELECT {columns} FROM {path} t WHERE {kept} AND coalesce(t.restored_by, t.load_id) {known}
             UNION ALL
             SELECT {columns} FROM {history} t WHERE {kept} AND coalesce(t.restored_by, t.load_id) {known}
                AND t.superseded_by IN (SELECT l.load_id FROM {loads} l WHERE l.committed_at > $1) $$",
            path = self.path(),
            history = self.history(),
            columns = list(columns),
        )
    }

    /// A statement that deletes rows of the table, `t`, and keeps them in its history.
    /// `which` is what follows `DELETE FROM t`. The rows it affects are those deleted.
    pub fn remove(&self, by: LoadId, which: &str) -> String {
        let columns = self.version_columns();
        let returned: Vec<String> = columns.iter().map(|name| format!("t.{}", Ident::known(name))).collect();
        format!(
            "WITH gone AS (DELETE FROM {} t {which} RETURNING {}) \
             INSERT INTO {} ({columns}, superseded_by) SELECT {columns}, {by} FROM gone",
            self.path(),
            returned.join(", "),
            self.history(),
            columns = list(&columns),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::WriteDisposition;
    use super::*;

    #[test]
    fn removed_rows_go_to_the_history() {
        let table = Table {
            schema: "mart_harbor".into(),
            name: "stores".into(),
            columns: vec![("store_id".into(), "text".into())],
            key: vec!["store_id".into()],
            partition_by: None,
            window: Vec::new(),
            disposition: WriteDisposition::Replace,
            indexes: Vec::new(),
        };
        insta::assert_snapshot!(table.remove(LoadId(7), "WHERE false"), @r#"WITH gone AS (DELETE FROM "mart_harbor"."stores" t WHERE false RETURNING t."store_id", t."load_id", t."file_id", t."source_row", t."restored_by") INSERT INTO "history_harbor"."stores" ("store_id", "load_id", "file_id", "source_row", "restored_by", superseded_by) SELECT "store_id", "load_id", "file_id", "source_row", "restored_by", 7 FROM gone"#);
    }
}
