//! What is in a database at one moment: rows and digests of every table.
//!
//! A backup takes it in the transaction whose snapshot `pg_dump` uses, so both
//! tell of the same rows; a restored database is asked in the same way.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, Row as _};

use super::endpoint::Endpoint;
use super::{Ident, Statement};

/// Values are compared as text: these settings decide how they are written.
const SESSION: &str = "SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres';
SET extra_float_digits = 3; SET bytea_output = 'hex'; SET xmlbinary = 'base64'; SET lc_monetary = 'C';
SET search_path = ''; SET quote_all_identifiers = off; SET row_security = on";

/// What extensions bring is made by them again, and in no dump.
const OBJECTS: &str = include_str!("snapshot_objects.sql");

/// Why a database could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection.
    #[error("failed to connect to `{place}`")]
    Connect {
        /// Host, port and database.
        place: String,
        /// What it said.
        source: sqlx::Error,
    },
    /// A statement failed.
    #[error("failed to read {what}")]
    Read {
        /// What was read.
        what: String,
        /// What PostgreSQL said.
        source: sqlx::Error,
    },
    /// Row policies hide rows from us: the dump would be a part of it.
    #[error("row policies hide rows from the user `{user}` in {}", .tables.join(", "))]
    Hidden {
        /// Who asks.
        user: String,
        /// The tables.
        tables: Vec<String>,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Connect { .. } => Some("check that PostgreSQL runs, and the user, password and database in the URL"),
            Self::Read { .. } => Some("the user must own the database, or be a superuser"),
            Self::Hidden { .. } => Some(
                "sign in as the tables' owner (and run `storekeeper run` once, which mends its policy) or as a superuser",
            ),
        }
    }
}

/// One table's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState {
    /// How many.
    pub rows: i64,
    /// A sum over the rows' SHA-256, so that their order does not matter.
    pub digest: String,
}

/// One kind of further objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectsState {
    /// How many.
    pub count: i64,
    /// Of their definitions; another major version of PostgreSQL may write them otherwise.
    pub digest: String,
}

/// Everything that is compared after a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// PostgreSQL's version, as in `15.8`.
    pub postgres: String,
    /// The same as a number: 150008.
    pub postgres_number: i32,
    /// The newest migration, where the database has ours.
    pub migration: Option<i64>,
    /// Who owns the database.
    pub owner: String,
    /// Roles that policies, rights or owners name.
    pub roles: Vec<String>,
    /// Tables by `schema.name`; partitions stand for the table above them.
    pub tables: BTreeMap<String, TableState>,
    /// Views, indexes, policies, … by kind.
    pub objects: BTreeMap<String, ObjectsState>,
}

/// A transaction that sees one moment.
#[derive(Debug)]
pub struct Snapshot {
    connection: PgConnection,
    user: String,
    /// Whether it is a restored copy that nobody else uses.
    copy: bool,
}

fn failed(what: impl Into<String>) -> impl FnOnce(sqlx::Error) -> Error {
    let what = what.into();
    move |source| Error::Read { what, source }
}

impl Snapshot {
    /// Opens a transaction that only reads.
    ///
    /// # Errors
    /// When there is no connection.
    pub async fn open(endpoint: &Endpoint) -> Result<Self, Error> {
        Self::begin(endpoint, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", false).await
    }

    async fn begin(endpoint: &Endpoint, begin: &'static str, copy: bool) -> Result<Self, Error> {
        let place = endpoint.place();
        let mut connection = endpoint.connect().await.map_err(|source| Error::Connect { place, source })?;
        connection.execute(SESSION).await.map_err(failed("the session's settings"))?;
        connection.execute(begin).await.map_err(failed("a snapshot"))?;
        Ok(Self { connection, user: endpoint.user().to_owned(), copy })
    }

    /// The name by which `pg_dump` sees the same moment, and the server's version number.
    ///
    /// # Errors
    /// When the server refuses, as a standby does.
    pub async fn export(&mut self) -> Result<(String, i32), Error> {
        let row = sqlx::query("SELECT pg_export_snapshot(), current_setting('server_version_num')::int")
            .fetch_one(&mut self.connection)
            .await
            .map_err(failed("the snapshot's name"))?;
        Ok((row.get(0), row.get(1)))
    }

    /// Reads every table once.
    ///
    /// # Errors
    /// When a table cannot be read, or only a part of its rows.
    pub async fn contents(&mut self) -> Result<Contents, Error> {
        let rows = sqlx::query(
            "SELECT n.nspname::text, c.relname::text, c.relrowsecurity FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't' AND c.relispopulated
               AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
               AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                               WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
             ORDER BY 1, 2",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(failed("the list of tables"))?;
        let names: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        self.hold(&names).await?;
        if self.copy {
            let walled = rows.iter().filter(|row| row.get(2)).map(|row| (row.get(0), row.get(1)));
            self.open_walls(walled.collect()).await?;
        }
        self.refuse_hidden().await?;
        let mut tables = BTreeMap::new();
        for (schema, name) in &names {
            tables.insert(format!("{schema}.{name}"), self.table(schema, name).await?);
        }
        let mut objects = BTreeMap::new();
        let found = sqlx::query(OBJECTS).fetch_all(&mut self.connection).await.map_err(failed("the catalog"))?;
        for row in found {
            objects.insert(row.get("kind"), ObjectsState { count: row.get("count"), digest: row.get("digest") });
        }
        let row = sqlx::query(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int,
                    pg_get_userbyid(datdba)::text,
                    ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles r
                          WHERE r.rolname !~ '^pg_' AND r.oid IN (
                              SELECT refobjid FROM pg_catalog.pg_shdepend
                              WHERE refclassid = 'pg_catalog.pg_authid'::regclass AND dbid = b.oid
                              -- The server's first superuser stands in no such line.
                              UNION SELECT unnest(polroles) FROM pg_catalog.pg_policy
                              UNION SELECT (pg_catalog.aclexplode(relacl)).grantee FROM pg_catalog.pg_class
                              UNION SELECT (pg_catalog.aclexplode(nspacl)).grantee FROM pg_catalog.pg_namespace)
                          ORDER BY 1),
                    to_regclass('public._sqlx_migrations') IS NOT NULL
             FROM pg_catalog.pg_database b WHERE datname = current_database()",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(failed("the database's state"))?;
        let migration = if row.get(4) { self.migration().await? } else { None };
        let postgres: String = row.get(0);
        Ok(Contents {
            // Debian adds its package to it.
            postgres: postgres.split(' ').next().unwrap_or_default().to_owned(),
            postgres_number: row.get(1),
            migration,
            owner: row.get(2),
            roles: row.get(3),
            tables,
            objects,
        })
    }

    async fn migration(&mut self) -> Result<Option<i64>, Error> {
        let columns: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_catalog.pg_attribute
             WHERE attrelid = 'public._sqlx_migrations'::regclass AND attname IN ('version', 'success')",
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(failed("the list of migrations"))?;
        if columns != 2 {
            return Ok(None);
        }
        sqlx::query_scalar("SELECT max(version) FROM public._sqlx_migrations WHERE success")
            .fetch_one(&mut self.connection)
            .await
            .map_err(failed("the list of migrations"))
    }

    /// A table that somebody truncates or alters meanwhile would look empty to an older snapshot.
    async fn hold(&mut self, names: &[(String, String)]) -> Result<(), Error> {
        // Materialized views take no such lock.
        let plain: Vec<(String, String)> = sqlx::query_as(
            "SELECT * FROM unnest($1::text[], $2::text[]) AS t(s, n)
             WHERE EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace ns ON ns.oid = c.relnamespace
                           WHERE ns.nspname = t.s AND c.relname = t.n AND c.relkind = 'r')",
        )
        .bind(names.iter().map(|name| name.0.as_str()).collect::<Vec<_>>())
        .bind(names.iter().map(|name| name.1.as_str()).collect::<Vec<_>>())
        .fetch_all(&mut self.connection)
        .await
        .map_err(failed("the list of tables"))?;
        for some in plain.chunks(200) {
            let list: Vec<String> = some.iter().map(|(schema, name)| qualified(schema, name)).collect();
            let text = format!("LOCK TABLE {} IN ACCESS SHARE MODE", list.join(", "));
            self.connection.execute(Statement::new(text).safe()).await.map_err(failed("the tables' locks"))?;
        }
        Ok(())
    }

    /// The walls bind the owner too. In a copy of our own they are opened, and
    /// closed again with the transaction, which is rolled back.
    async fn open_walls(&mut self, walled: Vec<(String, String)>) -> Result<(), Error> {
        let superuser: bool =
            sqlx::query_scalar("SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user")
                .fetch_one(&mut self.connection)
                .await
                .map_err(failed("our own rights"))?;
        if superuser {
            return Ok(());
        }
        for (schema, name) in walled {
            let text = format!("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY", qualified(&schema, &name));
            let opened = self.connection.execute(Statement::new(text).safe()).await;
            opened.map_err(failed(format!("`{schema}.{name}`")))?;
        }
        Ok(())
    }

    /// A dump under row policies holds what its user sees. It must be everything.
    async fn refuse_hidden(&mut self) -> Result<(), Error> {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind IN ('r', 'p') AND pg_catalog.row_security_active(c.oid)
               AND (EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive)
                    OR NOT EXISTS (
                        SELECT FROM pg_catalog.pg_policy p
                        WHERE p.polrelid = c.oid AND p.polcmd IN ('*', 'r')
                          AND pg_catalog.pg_get_expr(p.polqual, p.polrelid) = 'true'
                          AND (0::oid = ANY (p.polroles)
                               OR (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user) = ANY (p.polroles))))
             ORDER BY 1",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(failed("the row policies"))?;
        if tables.is_empty() { Ok(()) } else { Err(Error::Hidden { user: self.user.clone(), tables }) }
    }

    async fn table(&mut self, schema: &str, name: &str) -> Result<TableState, Error> {
        let text = format!(
            "SELECT count(*), coalesce(sum(('x' || left(encode(sha256(convert_to((storekeeper_row.*)::text, 'UTF8')), 'hex'),
                    16))::bit(64)::bigint::numeric), 0)::text
             FROM ONLY {} AS storekeeper_row",
            qualified(schema, name)
        );
        let row = sqlx::query(Statement::new(text).safe())
            .fetch_one(&mut self.connection)
            .await
            .map_err(failed(format!("`{schema}.{name}`")))?;
        Ok(TableState { rows: row.get(0), digest: row.get(1) })
    }

    /// Ends the transaction; nothing of it stays.
    ///
    /// # Errors
    /// When the connection broke: then nobody knows what was dumped.
    pub async fn close(mut self) -> Result<(), Error> {
        self.connection.execute("ROLLBACK").await.map_err(failed("the end of the snapshot"))?;
        self.connection.close().await.map_err(failed("the end of the snapshot"))
    }
}

/// Reads a restored database that nobody else uses yet.
///
/// # Errors
/// As [`Snapshot::contents`].
pub async fn contents_of_copy(endpoint: &Endpoint) -> Result<Contents, Error> {
    let mut snapshot = Snapshot::begin(endpoint, "BEGIN ISOLATION LEVEL REPEATABLE READ", true).await?;
    let contents = snapshot.contents().await?;
    snapshot.close().await?;
    Ok(contents)
}

fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", Ident::known(schema), Ident::known(name))
}
