//! Indexes besides the key's: what dashboards ask by, as the definitions declare it.
//!
//! A new table gets them after its first load. For one that is there, `db maintain`
//! makes them partition by partition, each in a short transaction: readers never wait,
//! and a load waits for one partition at most. `CREATE INDEX CONCURRENTLY` would spare
//! that wait, but who writes are loads, which queue for the table anyway; and killed in
//! the middle it leaves a broken index behind.

use chrono::NaiveDate;
use sha2::{Digest as _, Sha256};
use sqlx::{Executor as _, PgConnection};

use super::Warehouse;
use super::digest::hexadecimal;
use super::ident::{Ident, Statement};
use super::load::Error;
use super::table::{Table, list};

/// Names are cut at 63 bytes by PostgreSQL: longer ones end in a digest instead.
const LONGEST: usize = 63;

/// An index's name, without its schema.
fn name_of(relation: &str, columns: &[String]) -> String {
    let name = format!("{relation}_{}_idx", columns.join("_"));
    if name.len() <= LONGEST {
        return name;
    }
    let digest = &hexadecimal(&Sha256::digest(&name))[..10];
    let start: String = name.chars().take_while(char::is_ascii).take(LONGEST - 11).collect();
    format!("{start}_{digest}")
}

/// Finds an index of a relation: its name, and whether it may be used. One that goes
/// on with further columns serves as well, unless `exactly` these are wanted.
async fn find(
    connection: &mut PgConnection,
    relation: &str,
    columns: &[String],
    exactly: bool,
) -> Result<Option<(String, bool)>, Error> {
    sqlx::query_as(
        "SELECT index, valid FROM (
             SELECT i.indexrelid::regclass::text AS index, i.indisvalid AS valid,
                    (SELECT array_agg(a.attname::text ORDER BY k.place)
                     FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place)
                     JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number) AS columns
             FROM pg_index i
             JOIN pg_class c ON c.oid = i.indexrelid
             JOIN pg_am m ON m.oid = c.relam
             WHERE i.indrelid = to_regclass($1) AND m.amname = 'btree' AND i.indpred IS NULL AND i.indexprs IS NULL
         ) AS found
         WHERE columns = $2 OR (NOT $3 AND valid AND columns[1:cardinality($2)] = $2)
         ORDER BY valid DESC LIMIT 1",
    )
    .bind(relation)
    .bind(columns)
    .bind(exactly)
    .fetch_optional(connection)
    .await
    .map_err(Error::query("look for an index"))
}

impl Table {
    /// Makes the indexes at once: for a table that nobody reads yet.
    pub(super) async fn make_indexes(&self, connection: &mut PgConnection) -> Result<(), Error> {
        for columns in &self.indexes {
            if find(connection, &self.path(), columns, false).await?.is_none() {
                self.index(connection, &self.path(), &name_of(&self.name, columns), columns).await?;
            }
        }
        Ok(())
    }

    async fn index(&self, connection: &mut PgConnection, on: &str, name: &str, of: &[String]) -> Result<(), Error> {
        let statement = format!("CREATE INDEX {} ON {on} ({})", Ident::known(name), list(of));
        let made = connection.execute(Statement::new(statement).safe()).await;
        made.map(drop).map_err(Error::query("make an index"))
    }

    /// Makes the indexes that the table lacks, bit by bit. Killed in between, the next
    /// one goes on. Answers with what was made.
    pub(super) async fn ensure_indexes(&self, warehouse: &Warehouse) -> Result<Vec<String>, Error> {
        let mut made = Vec::new();
        for columns in &self.indexes {
            if self.ensure_index(warehouse, columns).await? {
                made.push(columns.join(", "));
            }
        }
        Ok(made)
    }

    async fn ensure_index(&self, warehouse: &Warehouse, columns: &[String]) -> Result<bool, Error> {
        let query = Error::query("make an index");
        let mut transaction = warehouse.pool().begin().await.map_err(query)?;
        self.lock(&mut transaction).await?;
        let found = find(&mut transaction, &self.path(), columns, false).await?;
        if found.as_ref().is_some_and(|(_, valid)| *valid) {
            return Ok(false);
        }
        let months = match &self.partition_by {
            None => Vec::new(),
            Some(_) => self.months(&mut transaction).await?,
        };
        let name = name_of(&self.name, columns);
        if months.is_empty() {
            self.index(&mut transaction, &self.path(), &name, columns).await?;
            transaction.commit().await.map_err(query)?;
            return Ok(true);
        }
        if found.is_none() {
            // Of the table alone: it counts only once every partition has its own.
            self.index(&mut transaction, &format!("ONLY {}", self.path()), &name, columns).await?;
        }
        transaction.commit().await.map_err(query)?;
        for month in &months {
            self.index_partition(warehouse, *month, columns).await?;
        }
        self.finish_index(warehouse, columns).await?;
        Ok(true)
    }

    /// The last partition to get its index makes the table's count. Where the last one
    /// that lacked it was archived instead, nobody did: attaching any once more does.
    async fn finish_index(&self, warehouse: &Warehouse, columns: &[String]) -> Result<(), Error> {
        let query = Error::query("finish an index");
        let mut transaction = warehouse.pool().begin().await.map_err(query)?;
        self.lock(&mut transaction).await?;
        let Some((whole, false)) = find(&mut transaction, &self.path(), columns, true).await? else { return Ok(()) };
        let part: Option<String> = sqlx::query_scalar(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = to_regclass($1) ORDER BY 1 DESC LIMIT 1",
        )
        .bind(&whole)
        .fetch_optional(&mut *transaction)
        .await
        .map_err(query)?;
        if let Some(part) = part {
            // This one waits for readers of that partition, and new ones behind it: not for long.
            transaction.execute("SET LOCAL lock_timeout = '5s'").await.map_err(query)?;
            let attach = format!("ALTER INDEX {whole} ATTACH PARTITION {part}");
            transaction.execute(Statement::new(attach).safe()).await.map_err(query)?;
        }
        transaction.commit().await.map_err(query)
    }

    /// Gives one partition its index, and hangs that into the table's.
    async fn index_partition(&self, warehouse: &Warehouse, month: NaiveDate, columns: &[String]) -> Result<(), Error> {
        let query = Error::query("index a partition");
        let mut transaction = warehouse.pool().begin().await.map_err(query)?;
        self.lock(&mut transaction).await?;
        let path = self.partition_path(month);
        let Some((whole, _)) = find(&mut transaction, &self.path(), columns, true).await? else { return Ok(()) };
        let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(&path)
            .fetch_one(&mut *transaction)
            .await
            .map_err(query)?;
        if !there {
            // It was archived meanwhile.
            return Ok(());
        }
        if find(&mut transaction, &path, columns, true).await?.is_none() {
            self.index(&mut transaction, &path, &name_of(&self.partition_name(month), columns), columns).await?;
        }
        let Some((part, _)) = find(&mut transaction, &path, columns, true).await? else { return Ok(()) };
        let hangs: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass($1) AND inhparent = to_regclass($2))",
        )
        .bind(&part)
        .bind(&whole)
        .fetch_one(&mut *transaction)
        .await
        .map_err(query)?;
        // What hangs there is in use: attaching it again would wait for its readers.
        if !hangs {
            let attach = format!("ALTER INDEX {whole} ATTACH PARTITION {part}");
            transaction.execute(Statement::new(attach).safe()).await.map_err(query)?;
        }
        crate::crash::point("partition_indexed");
        transaction.commit().await.map_err(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_indexes_fit_and_differ() {
        let columns = ["business_date".to_owned(), "store_id".to_owned()];
        assert_eq!(name_of("sales", &columns), "sales_business_date_store_id_idx");
        let (one, two) = (name_of(&"x".repeat(60), &columns), name_of(&"x".repeat(60), &columns[..1]));
        assert!(one.len() <= LONGEST && two.len() <= LONGEST && one != two, "{one} {two}");
    }
}
