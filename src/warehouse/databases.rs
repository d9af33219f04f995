//! Databases as a whole: what is in one, making one beside it, swapping the two.

use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _, Row as _};

use super::endpoint::Endpoint;
use super::ident::literal;
use super::{Ident, Statement};

/// Where statements about databases are sent from.
const MAINTENANCE: &str = "postgres";

/// Why a database could not be made or exchanged.
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
    /// Another restore works on it.
    #[error("another restore into `{database}` is going")]
    Busy {
        /// Which one.
        database: String,
    },
    /// A statement failed.
    #[error("failed to {action} `{name}`")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// On what.
        name: String,
        /// What PostgreSQL said.
        source: sqlx::Error,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Connect { .. } => Some("check that PostgreSQL runs, and the user, password and database in the URL"),
            Self::Busy { .. } => Some("wait until it has ended"),
            Self::Refused { source: sqlx::Error::Database(error), action, .. } => {
                match (error.code().as_deref(), *action) {
                    (Some("42501"), "make the role") => {
                        Some("the user needs CREATEROLE: the walls in the backup name roles")
                    }
                    (Some("42501"), _) => Some(
                        "a restore makes a database beside the old one: for its time, ALTER ROLE … CREATEDB, or make an empty database and restore --into it",
                    ),
                    (Some("55006"), _) => {
                        Some("somebody keeps connecting: stop `storekeeper serve` and Metabase first")
                    }
                    _ => None,
                }
            }
            Self::Refused { .. } => None,
        }
    }
}

fn refused(action: &'static str, name: &str) -> impl FnOnce(sqlx::Error) -> Error + use<> {
    let name = name.to_owned();
    move |source| Error::Refused { action, name, source }
}

/// What stands in a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Occupant {
    /// The schema.
    pub schema: String,
    /// Tables, views, sequences and the like in it.
    pub objects: i64,
    /// Bytes its tables take.
    pub bytes: i64,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// There is no such database.
    Missing,
    /// There is one with nothing in it.
    Empty,
    /// There is something in it.
    Occupied(Vec<Occupant>),
}

/// Looks at what is in a database.
///
/// # Errors
/// When it cannot be read.
pub async fn look(endpoint: &Endpoint) -> Result<Place, Error> {
    let mut connection = match endpoint.connect().await {
        Ok(connection) => connection,
        // 3D000: there is no such database.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("3D000") => return Ok(Place::Missing),
        Err(source) => return Err(Error::Connect { place: endpoint.place(), source }),
    };
    let rows = sqlx::query(
        "SELECT n.nspname::text, count(c.oid), coalesce(sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relkind IN ('r', 'm')), 0)::bigint
         FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
         WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
         GROUP BY n.nspname HAVING n.nspname <> 'public' OR count(c.oid) > 0 ORDER BY 1",
    )
    .fetch_all(&mut connection)
    .await
    .map_err(refused("read", endpoint.database()))?;
    connection.close().await.map_err(refused("read", endpoint.database()))?;
    let found: Vec<Occupant> =
        rows.iter().map(|row| Occupant { schema: row.get(0), objects: row.get(1), bytes: row.get(2) }).collect();
    Ok(if found.is_empty() { Place::Empty } else { Place::Occupied(found) })
}

/// Makes a database for a role, which may do everything there: for a cluster of
/// our own. The role is made as well.
///
/// # Errors
/// When one of them cannot be made.
pub async fn make_owned(server: &Endpoint, database: &str, owner: &str) -> Result<Endpoint, Error> {
    let place = server.place();
    let mut connection = server.connect().await.map_err(|source| Error::Connect { place, source })?;
    let (name, role) = (Ident::known(database), Ident::known(owner));
    if owner != server.user() {
        let text = format!("CREATE ROLE {role} NOLOGIN SUPERUSER");
        connection.execute(Statement::new(text).safe()).await.map_err(refused("make the role", owner))?;
    }
    let text = format!("CREATE DATABASE {name} OWNER {role} TEMPLATE template0 ENCODING 'UTF8'");
    connection.execute(Statement::new(text).safe()).await.map_err(refused("make the database", database))?;
    connection.close().await.map_err(refused("make the database", database))?;
    Ok(server.with_database(database))
}

/// Makes the roles that a backup's policies and rights name and this server
/// lacks; they cannot sign in. Says which it made.
///
/// # Errors
/// When one cannot be made.
pub async fn make_roles(endpoint: &Endpoint, names: &[String]) -> Result<Vec<String>, Error> {
    let place = endpoint.place();
    let mut connection = endpoint.connect().await.map_err(|source| Error::Connect { place, source })?;
    let missing: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM unnest($1::text[]) AS name
         WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) ORDER BY 1",
    )
    .bind(names)
    .fetch_all(&mut connection)
    .await
    .map_err(refused("read", "pg_roles"))?;
    for name in &missing {
        let text = format!("CREATE ROLE {} NOLOGIN NOINHERIT", Ident::known(name));
        connection.execute(Statement::new(text).safe()).await.map_err(refused("make the role", name))?;
    }
    connection.close().await.map_err(refused("read", "pg_roles"))?;
    Ok(missing)
}

/// Roles that a restore made have no password and cannot sign in: forgetting what the
/// warehouse noted of such roles makes the next reconciling set it.
///
/// # Errors
/// When it cannot be written.
pub async fn forget_passwords(endpoint: &Endpoint) -> Result<(), Error> {
    let place = endpoint.place();
    let mut connection = endpoint.connect().await.map_err(|source| Error::Connect { place, source })?;
    let there: bool = sqlx::query_scalar("SELECT to_regclass('walls.roles') IS NOT NULL")
        .fetch_one(&mut connection)
        .await
        .map_err(refused("read", "walls.roles"))?;
    if there {
        // Not only those of this call: one before may have been killed.
        let locked = "UPDATE walls.roles SET password_mark = ''
                      WHERE role_name IN (SELECT rolname FROM pg_roles WHERE NOT rolcanlogin)";
        sqlx::query(locked).execute(&mut connection).await.map_err(refused("write", "walls.roles"))?;
    }
    connection.close().await.map_err(refused("write", "walls.roles"))
}

/// Tells a restored warehouse which roles of this server are ours: the one it
/// replaces may have made some since the backup, and knows their passwords.
///
/// # Errors
/// When one of the two cannot be read or written.
pub async fn carry_roles(old: &Endpoint, restored: &Endpoint) -> Result<(), Error> {
    const THERE: &str = "SELECT to_regclass('walls.roles') IS NOT NULL";
    let mut connections = Vec::new();
    for endpoint in [old, restored] {
        let place = endpoint.place();
        let mut connection = endpoint.connect().await.map_err(|source| Error::Connect { place, source })?;
        let there: bool =
            sqlx::query_scalar(THERE).fetch_one(&mut connection).await.map_err(refused("read", "walls.roles"))?;
        if !there {
            return Ok(());
        }
        connections.push(connection);
    }
    let known: Vec<(String, String, String)> =
        sqlx::query_as("SELECT role_name, scope, password_mark FROM walls.roles")
            .fetch_all(&mut connections[0])
            .await
            .map_err(refused("read", "walls.roles"))?;
    for (role, scope, mark) in known {
        sqlx::query(
            "INSERT INTO walls.roles (role_name, scope, password_mark) VALUES ($1, $2, $3)
             ON CONFLICT (role_name) DO UPDATE SET password_mark = EXCLUDED.password_mark",
        )
        .bind(&role)
        .bind(&scope)
        .bind(&mark)
        .execute(&mut connections[1])
        .await
        .map_err(refused("write", "walls.roles"))?;
    }
    for connection in connections {
        connection.close().await.map_err(refused("write", "walls.roles"))?;
    }
    Ok(())
}

/// The right to back a database up, which one process at a time has.
#[derive(Debug)]
pub struct Turn {
    /// PostgreSQL gives the right back with the connection, however we end.
    _connection: PgConnection,
}

/// Takes the turn to back a database up; nothing where another process has it.
///
/// # Errors
/// When the server does not answer.
pub async fn take_turn(endpoint: &Endpoint) -> Result<Option<Turn>, Error> {
    let place = endpoint.place();
    let mut connection = endpoint.connect().await.map_err(|source| Error::Connect { place, source })?;
    let ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended('storekeeper backup', 0))")
        .fetch_one(&mut connection)
        .await
        .map_err(refused("take the turn to back up", endpoint.database()))?;
    Ok(ours.then_some(Turn { _connection: connection }))
}

/// A database made beside the one it will replace. While it lives, no other
/// restore into the same name starts.
#[derive(Debug)]
pub struct Beside {
    connection: PgConnection,
    target: Endpoint,
    name: String,
}

impl Beside {
    /// Makes it, empty, after removing what a killed restore left.
    ///
    /// # Errors
    /// When another restore is going, or a right is missing.
    pub async fn make(target: &Endpoint, mark: &str) -> Result<Self, Error> {
        let maintenance = target.with_database(MAINTENANCE);
        let place = maintenance.place();
        let mut connection = maintenance.connect().await.map_err(|source| Error::Connect { place, source })?;
        let database = target.database();
        let alone: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtextextended('storekeeper restore ' || $1, 0))")
                .bind(database)
                .fetch_one(&mut connection)
                .await
                .map_err(refused("lock", database))?;
        if !alone {
            return Err(Error::Busy { database: database.to_owned() });
        }
        let prefix = format!("{}_restore_", shortened(database));
        let left: Vec<String> =
            sqlx::query_scalar("SELECT datname::text FROM pg_database WHERE starts_with(datname, $1)")
                .bind(&prefix)
                .fetch_all(&mut connection)
                .await
                .map_err(refused("read", "pg_database"))?;
        for name in left {
            let text = format!("DROP DATABASE {}", Ident::known(&name));
            connection.execute(Statement::new(text).safe()).await.map_err(refused("drop what was left", &name))?;
        }
        let locale: Option<(String, String)> =
            sqlx::query_as("SELECT datcollate::text, datctype::text FROM pg_database WHERE datname = $1")
                .bind(database)
                .fetch_optional(&mut connection)
                .await
                .map_err(refused("read", "pg_database"))?;
        let locale = locale.map_or_else(String::new, |(collate, ctype)| {
            format!(" LC_COLLATE {} LC_CTYPE {}", literal(&collate), literal(&ctype))
        });
        let name = format!("{prefix}{mark}");
        let text = format!("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'{locale}", Ident::known(&name));
        connection.execute(Statement::new(text).safe()).await.map_err(refused("make the database", &name))?;
        Ok(Self { connection, target: target.clone(), name })
    }

    /// How to reach it.
    pub fn endpoint(&self) -> Endpoint {
        self.target.with_database(&self.name)
    }

    /// Puts it in the old one's place, which stays under another name; says which.
    ///
    /// # Errors
    /// When somebody keeps connecting to the old one; then all is as before.
    pub async fn swap(&mut self, mark: &str) -> Result<Option<String>, Error> {
        let database = self.target.database().to_owned();
        let connection = &mut self.connection;
        let there: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&database)
            .fetch_one(&mut *connection)
            .await
            .map_err(refused("read", "pg_database"))?;
        let (old, new) = (Ident::known(&database), Ident::known(&self.name));
        let mut kept = None;
        let mut statements = Vec::new();
        if there {
            let name = format!("{}_before_{mark}", shortened(&database));
            for right in rights_of(&mut *connection, &database).await? {
                statements.push(right.replace("{}", &new.to_string()));
            }
            statements.push(format!("ALTER DATABASE {old} RENAME TO {}", Ident::known(&name)));
            kept = Some(name);
        }
        statements.push(format!("ALTER DATABASE {new} RENAME TO {old}"));
        sqlx::query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND pid <> pg_backend_pid()",
        )
        .bind(&database)
        .execute(&mut *connection)
        .await
        .map_err(refused("end the sessions of", &database))?;
        // One transaction: nobody finds the name without a database.
        let mut transaction = connection.begin().await.map_err(refused("exchange", &database))?;
        for text in statements {
            let done = (&mut *transaction).execute(Statement::new(text).safe()).await;
            done.map_err(refused("exchange", &database))?;
        }
        transaction.commit().await.map_err(refused("exchange", &database))?;
        Ok(kept)
    }

    /// Drops it.
    ///
    /// # Errors
    /// When it cannot be dropped; the next restore tries again.
    pub async fn discard(mut self) -> Result<(), Error> {
        let text = format!("DROP DATABASE {} WITH (FORCE)", Ident::known(&self.name));
        self.connection.execute(Statement::new(text).safe()).await.map_err(refused("drop", &self.name))?;
        self.connection.close().await.map_err(refused("drop", &self.name))
    }
}

/// Room for what is put behind a name: PostgreSQL cuts at 63 bytes.
fn shortened(name: &str) -> String {
    let mut end = name.len().min(40);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name[..end].to_owned()
}

/// Who may do what with a database as a whole, as statements with `{}` for its name.
async fn rights_of(connection: &mut PgConnection, database: &str) -> Result<Vec<String>, Error> {
    let rows = sqlx::query(
        "SELECT a.privilege_type, CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee)::text END
         FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = $1 AND a.grantee <> d.datdba",
    )
    .bind(database)
    .fetch_all(&mut *connection)
    .await
    .map_err(refused("read the rights on", database))?;
    let changed: bool = sqlx::query_scalar("SELECT datacl IS NOT NULL FROM pg_database WHERE datname = $1")
        .bind(database)
        .fetch_one(connection)
        .await
        .map_err(refused("read the rights on", database))?;
    if !changed {
        return Ok(Vec::new());
    }
    let mut statements = vec!["REVOKE ALL ON DATABASE {} FROM PUBLIC".to_owned()];
    statements.extend(rows.iter().map(|row| {
        let (privilege, grantee): (String, Option<String>) = (row.get(0), row.get(1));
        let grantee = grantee.map_or_else(|| "PUBLIC".to_owned(), |role| Ident::known(&role).to_string());
        format!("GRANT {privilege} ON DATABASE {{}} TO {grantee}")
    }));
    Ok(statements)
}
