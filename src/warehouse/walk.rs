//! Walks everything a database holds, and counts what a role sees of it.
//!
//! All roles count in the snapshot of the one who owns, so that a load in between changes
//! no figure: what differs is a wall's doing.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use serde::Serialize;
use sqlx::{Connection as _, PgConnection, Postgres, Row as _, Transaction};

use super::duties::Duty;
use super::roles::history;
use super::{Ident, Statement, Warehouse, probe};
use crate::ids::BrandId;

/// What a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A table, partitioned or not.
    Table,
    /// A part of a partitioned table.
    Partition,
    /// A view.
    View,
    /// A view that keeps its rows.
    MaterializedView,
    /// A table that lies elsewhere.
    ForeignTable,
    /// A counter.
    Sequence,
    /// A function or procedure.
    Function,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Table => "table",
            Self::Partition => "partition",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::ForeignTable => "foreign table",
            Self::Sequence => "sequence",
            Self::Function => "function",
        })
    }
}

/// Something that could show rows.
#[derive(Debug, Clone)]
pub struct Thing {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Whether its rows have a `store_id`.
    pub by_store: bool,
    /// Whether its rows have a `brand`.
    pub by_brand: bool,
    /// The brand whose schema it is in.
    pub brand: Option<BrandId>,
    /// What comes after FROM; none for a function that nobody but its caller knows how to call.
    from: Option<String>,
    signature: Option<String>,
}

impl Thing {
    /// Its name with its schema.
    pub fn path(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }

    /// Whether it is a function that tells rows as of a moment.
    pub fn is_as_of(&self) -> bool {
        self.kind == Kind::Function && self.from.is_some()
    }
}

/// Rows by brand and store, as far as a thing tells them.
pub type Rows = BTreeMap<(Option<String>, Option<String>), i64>;

/// What a look at a thing came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saw {
    /// No right to it.
    Refused,
    /// These rows.
    Rows(Rows),
    /// A function that may be called; it was not, since nobody knows what it does.
    Callable,
    /// The look failed for another reason.
    Failed(String),
}

/// The owner's view: the things, and a transaction whose snapshot the roles share.
#[derive(Debug)]
pub struct Walk {
    transaction: Transaction<'static, Postgres>,
    snapshot: String,
    /// Everything there is, system schemas left out.
    pub things: Vec<Thing>,
}

impl Walk {
    /// Opens the snapshot and lists everything in it.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn begin(warehouse: &Warehouse, brands: &[BrandId]) -> Result<Self, sqlx::Error> {
        let mut transaction = warehouse.pool().begin().await?;
        sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY").execute(&mut *transaction).await?;
        let snapshot = sqlx::query_scalar("SELECT pg_export_snapshot()").fetch_one(&mut *transaction).await?;
        let rows = sqlx::query(include_str!("walk.sql")).fetch_all(&mut *transaction).await?;
        let things = rows
            .iter()
            .map(|row| {
                let (schema, name): (String, String) = (row.try_get("schema")?, row.try_get("name")?);
                let kind = match row.try_get::<&str, _>("kind")? {
                    "partition" => Kind::Partition,
                    "v" => Kind::View,
                    "m" => Kind::MaterializedView,
                    "f" => Kind::ForeignTable,
                    "S" => Kind::Sequence,
                    "function" => Kind::Function,
                    _ => Kind::Table,
                };
                let path = format!("{}.{}", Ident::known(&schema), Ident::known(&name));
                let as_of: bool = row.try_get("as_of")?;
                let from = match kind {
                    Kind::Function => as_of.then(|| format!("{path}(now())")),
                    _ => Some(path),
                };
                Ok(Thing {
                    brand: brands.iter().find(|brand| [brand.schema(), history(brand)].contains(&schema)).cloned(),
                    kind,
                    by_store: row.try_get("by_store")?,
                    by_brand: row.try_get("by_brand")?,
                    signature: row.try_get("signature")?,
                    from,
                    schema,
                    name,
                })
            })
            .collect::<Result<Vec<Thing>, sqlx::Error>>()?;
        Ok(Self { transaction, snapshot, things })
    }

    /// Counts everything as the owner, in the order of the things.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn owner(&mut self) -> Result<Vec<Saw>, sqlx::Error> {
        count_all(&mut self.transaction, &self.things).await
    }

    /// Signs in as a role and counts everything, in the order of the things.
    ///
    /// # Errors
    /// When the role cannot sign in, or the connection is lost.
    pub async fn role(
        &self,
        warehouse: &Warehouse,
        role: &str,
        password: &SecretString,
    ) -> Result<Vec<Saw>, sqlx::Error> {
        let mut connection = probe::connect(warehouse, role, password).await?;
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
            super::ident::literal(&self.snapshot)
        );
        sqlx::raw_sql(Statement::new(begin).safe()).execute(&mut connection).await?;
        let seen = count_all(&mut connection, &self.things).await?;
        connection.close().await?;
        Ok(seen)
    }

    /// Lists what the catalog itself shows to be open: `readers` are the roles that only
    /// read. Roles that lost their scope are looked at, too.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn holes(&mut self, readers: &[String], brands: &[BrandId]) -> Result<Vec<Hole>, sqlx::Error> {
        let schemas: Vec<String> = brands.iter().flat_map(|brand| [brand.schema(), history(brand)]).collect();
        let every: Vec<String> = sqlx::query_scalar(
            "SELECT unnest($1::text[]) UNION SELECT role_name FROM walls.roles WHERE scope <> ALL($2) ORDER BY 1",
        )
        .bind(readers)
        .bind([Duty::Owner.word(), Duty::Loader.word()])
        .fetch_all(&mut *self.transaction)
        .await?;
        let rows = sqlx::query(include_str!("holes.sql"))
            .bind(every)
            .bind(&schemas)
            .bind(readers)
            .fetch_all(&mut *self.transaction)
            .await?;
        rows.iter()
            .map(|row| Ok(Hole { who: row.try_get("who")?, what: row.try_get("what")?, how: row.try_get("how")? }))
            .collect()
    }
}

/// Something that the catalog shows to be open, whether or not anybody came through.
#[derive(Debug, Clone)]
pub struct Hole {
    /// For whom.
    pub who: String,
    /// What.
    pub what: String,
    /// In which way.
    pub how: String,
}

async fn count_all(connection: &mut PgConnection, things: &[Thing]) -> Result<Vec<Saw>, sqlx::Error> {
    let mut all = Vec::with_capacity(things.len());
    for thing in things {
        all.push(count(connection, thing).await?);
    }
    Ok(all)
}

async fn count(connection: &mut PgConnection, thing: &Thing) -> Result<Saw, sqlx::Error> {
    let Some(from) = &thing.from else {
        let may: bool = sqlx::query_scalar(
            "SELECT has_function_privilege(p.oid, 'EXECUTE') AND has_schema_privilege(p.pronamespace, 'USAGE')
             FROM pg_proc p WHERE p.oid = $1::text::oid",
        )
        .bind(&thing.signature)
        .fetch_one(connection)
        .await?;
        return Ok(if may { Saw::Callable } else { Saw::Refused });
    };
    let column = |there: bool, name: &str| if there { format!("{name}::text") } else { "NULL::text".to_owned() };
    let statement = format!(
        "SELECT {}, {}, count(*) FROM {from} GROUP BY 1, 2",
        column(thing.by_brand, "brand"),
        column(thing.by_store, "store_id")
    );
    // A refusal must not end the transaction, and with it the snapshot.
    sqlx::raw_sql("SAVEPOINT look").execute(&mut *connection).await?;
    let saw = match sqlx::query(Statement::new(statement).safe()).fetch_all(&mut *connection).await {
        Ok(rows) => {
            let counted = rows.iter().map(|row| Ok(((row.try_get(0)?, row.try_get(1)?), row.try_get(2)?)));
            Saw::Rows(counted.collect::<Result<Rows, sqlx::Error>>()?)
        }
        Err(sqlx::Error::Database(error)) => {
            sqlx::raw_sql("ROLLBACK TO SAVEPOINT look").execute(&mut *connection).await?;
            // 42501: no right to it. The words of others may quote a row: the code is enough.
            match error.code().as_deref() {
                Some("42501") => Saw::Refused,
                code => Saw::Failed(format!("SQLSTATE {}", code.unwrap_or_default())),
            }
        }
        Err(error) => return Err(error),
    };
    sqlx::raw_sql("RELEASE SAVEPOINT look").execute(&mut *connection).await?;
    Ok(saw)
}
