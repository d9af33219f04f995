//! Monthly partitions: made when a load needs one, and some months ahead.
//!
//! A partition is made beside the table, with a CHECK of its month, and then attached:
//! unlike one made in place, that locks no reader out, and the CHECK spares the scan of
//! what is in it.

use chrono::{Datelike as _, Months, NaiveDate};
use sqlx::{Executor as _, PgConnection};

use super::ident::{Ident, Statement};
use super::load::Error;
use super::table::Table;

/// The CHECK that stands in for a scan while a partition is attached.
const IN_MONTH: &str = "in_month";

/// The first day of a day's month.
pub(super) fn month_of(day: NaiveDate) -> NaiveDate {
    day.with_day(1).expect("every month has a first day")
}

/// A month as people write it.
pub(super) fn shown(month: NaiveDate) -> String {
    month.format("%Y-%m").to_string()
}

impl Table {
    /// A month's partition.
    pub(super) fn partition_name(&self, month: NaiveDate) -> String {
        format!("{}_{:04}{:02}", self.name, month.year(), month.month())
    }

    /// A month's partition with its schema, quoted.
    pub(super) fn partition_path(&self, month: NaiveDate) -> String {
        format!("{}.{}", Ident::known(&self.schema), Ident::known(&self.partition_name(month)))
    }

    /// Whose table it is.
    pub(super) fn brand(&self) -> &str {
        self.schema.strip_prefix("mart_").unwrap_or(&self.schema)
    }

    /// Waits for the others who load into the table; they wait for this transaction.
    pub(super) async fn lock(&self, connection: &mut PgConnection) -> Result<(), Error> {
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 1))")
            .bind(self.path())
            .execute(connection)
            .await
            .map(drop)
            .map_err(Error::query("wait for others who load into the table"))
    }

    /// The months that the table has partitions of.
    pub(super) async fn months(&self, connection: &mut PgConnection) -> Result<Vec<NaiveDate>, Error> {
        let bound = r"substring(pg_get_expr(c.relpartbound, c.oid) from 'FROM \(''(\d{4}-\d{2}-01)''\)')::date";
        let months: Vec<(NaiveDate, String)> = sqlx::query_as(
            Statement::new(format!(
                "SELECT month, name FROM (
                     SELECT {bound} AS month, c.relname::text AS name
                     FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass($1)
                 ) AS bounds WHERE month IS NOT NULL ORDER BY month"
            ))
            .safe(),
        )
        .bind(self.path())
        .fetch_all(connection)
        .await
        .map_err(Error::query("list the partitions"))?;
        // One that somebody made by hand is none of ours.
        let ours = months.into_iter().filter(|(month, name)| self.partition_name(*month) == *name);
        Ok(ours.map(|(month, _)| month).collect())
    }

    /// Makes the partitions of a set of months; answers with those that were not there.
    /// While the table is locked.
    pub(super) async fn ensure_partitions(
        &self,
        connection: &mut PgConnection,
        months: &[NaiveDate],
    ) -> Result<Vec<NaiveDate>, Error> {
        let mut made = Vec::new();
        for month in months {
            let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
                .bind(self.partition_path(*month))
                .fetch_one(&mut *connection)
                .await
                .map_err(Error::query("look for a partition"))?;
            if there {
                continue;
            }
            if self.archived(connection).await?.contains(month) {
                // Who brings rows of that month has set them aside; this is for all others.
                let (table, month) = (self.name.clone(), shown(*month));
                return Err(Error::Archived { table, month, brand: self.brand().to_owned() });
            }
            self.make_partition(connection, *month).await?;
            self.attach_partition(connection, *month).await?;
            made.push(*month);
        }
        Ok(made)
    }

    /// Makes a month's partition beside the table.
    pub(super) async fn make_partition(&self, connection: &mut PgConnection, month: NaiveDate) -> Result<(), Error> {
        let path = self.partition_path(month);
        let Some(column) = &self.partition_by else { return Ok(()) };
        let column = Ident::known(column);
        let next = month + Months::new(1);
        for statement in [
            format!("CREATE TABLE {path} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)", self.path()),
            format!(
                "ALTER TABLE {path} ADD CONSTRAINT {IN_MONTH} \
                 CHECK ({column} IS NOT NULL AND {column} >= '{month}' AND {column} < '{next}')"
            ),
        ] {
            connection.execute(Statement::new(statement).safe()).await.map_err(Error::query("make a partition"))?;
        }
        Ok(())
    }

    /// Attaches a month's partition, with what it holds.
    pub(super) async fn attach_partition(&self, connection: &mut PgConnection, month: NaiveDate) -> Result<(), Error> {
        let path = self.partition_path(month);
        let next = month + Months::new(1);
        for statement in [
            format!("ALTER TABLE {} ATTACH PARTITION {path} FOR VALUES FROM ('{month}') TO ('{next}')", self.path()),
            format!("ALTER TABLE {path} DROP CONSTRAINT {IN_MONTH}"),
        ] {
            connection.execute(Statement::new(statement).safe()).await.map_err(Error::query("attach a partition"))?;
        }
        Ok(())
    }

    /// The months of the table that are in a file instead.
    pub(super) async fn archived(&self, connection: &mut PgConnection) -> Result<Vec<NaiveDate>, Error> {
        sqlx::query_scalar(
            "SELECT month FROM ops.archives WHERE brand = $1 AND table_name = $2 AND restored_at IS NULL ORDER BY month",
        )
        .bind(self.brand())
        .bind(&self.name)
        .fetch_all(connection)
        .await
        .map_err(Error::query("list the archived months"))
    }
}
