//! The walls: one database role for each reader, and row policies on every table.
//!
//! [`reconcile`] compares what the tree wants with what the catalog has and
//! alters only what differs, in one transaction under a lock. Every table of a
//! brand that has a `store_id` shows a reader its own stores and nothing else;
//! a table without one is for every reader of the brand. What holds for a brand's
//! `mart_<brand>` holds for its `history_<brand>`, as soon as there is one.
//!
//! Invariants: a table gets its policies before anybody may select from it; a
//! reader enters no schema but its brands', `walls`, and `mart_all` when it
//! reads every brand; partitions, materialized views and names that start with
//! `_` are for nobody; of the functions only `<table>_as_of` is for readers, and
//! only where it asks with their rights.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, Row as _};
use tracing::info;

use super::digest::scram_verifier;
use super::duties::{self, Duty, Worker};
use super::ident::literal;
use super::policies::{Wall, raise};
use super::rights::{self, Object, Right};
use super::{Ident, Statement, Warehouse, unions};
use crate::ids::{BrandId, StoreId};
use crate::words::counted;

/// Metabase opens up to 15 connections of a pool, and one more to test it.
const CONNECTION_LIMIT: i32 = 16;
const STATEMENT_TIMEOUT: &str = "60s";
/// Names the advisory lock of everything that changes roles, policies and views.
pub(super) const LOCK: i64 = 0x73_6b5f_7761_6c6c;

/// Why the walls do not stand.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A statement was refused.
    #[error("failed to {action} `{name}`")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// On what.
        name: String,
        /// What the server said.
        source: sqlx::Error,
    },
    /// A role of this name exists and is not ours.
    #[error("the role `{role}` exists and belongs to somebody else")]
    Foreign {
        /// Its name.
        role: String,
    },
    /// Another user owns the database, and has closed it.
    #[error("the role `{role}` lacks {right} on the database `{database}`")]
    Closed {
        /// Which role of ours.
        role: String,
        /// What it lacks.
        right: &'static str,
        /// Where.
        database: String,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused { .. } => Some("the user in `database.url` must own the schemas and have CREATEROLE"),
            Self::Foreign { .. } => Some(
                "choose another `installation.name`: two installations of one PostgreSQL cluster must differ in it",
            ),
            Self::Closed { .. } => Some(
                "have the database's owner run GRANT CONNECT, TEMPORARY ON DATABASE … TO PUBLIC, or make the user in \
                 `database.url` its owner",
            ),
        }
    }
}

pub(super) fn refused(action: &'static str, name: &str) -> impl FnOnce(sqlx::Error) -> Error + use<> {
    let name = name.to_owned();
    move |source| Error::Refused { action, name, source }
}

/// A role that reads behind a wall.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The role's name.
    pub role: String,
    /// The scope it stands for, for people who look into `walls.roles`.
    pub scope: String,
    /// Its password.
    pub password: SecretString,
    /// Changes when the password does.
    pub password_mark: String,
    /// Whose schemas it may enter.
    pub brands: BTreeSet<BrandId>,
    /// The stores whose rows it sees.
    pub stores: BTreeSet<(BrandId, StoreId)>,
    /// Whether it also reads `mart_all`.
    pub every_brand: bool,
}

/// What was altered; all zero when everything was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Reconciled {
    /// Roles that the tree wants.
    pub roles: u64,
    /// Roles made.
    pub roles_created: u64,
    /// Roles with a changed attribute or password.
    pub roles_altered: u64,
    /// Roles whose scope is gone: they cannot sign in any more.
    pub roles_locked: u64,
    /// Lines of `walls.stores` added or removed.
    pub stores_changed: u64,
    /// Policies made, or row security switched on.
    pub policies_changed: u64,
    /// Rights granted or revoked, counted by statement.
    pub rights_changed: u64,
    /// Schemas, tables, views and functions handed over to the role that is to own them.
    pub owners_changed: u64,
    /// Union views made anew.
    pub unions_changed: u64,
}

impl Reconciled {
    /// Counts everything that was altered.
    pub fn changes(&self) -> u64 {
        self.roles_created
            + self.roles_altered
            + self.roles_locked
            + self.stores_changed
            + self.policies_changed
            + self.rights_changed
            + self.owners_changed
            + self.unions_changed
    }
}

impl fmt::Display for Reconciled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} new, {} altered, {} locked; {}, {}, {}, {}, {} changed",
            counted(self.roles, "role", "roles"),
            self.roles_created,
            self.roles_altered,
            self.roles_locked,
            counted(self.policies_changed, "policy", "policies"),
            counted(self.rights_changed, "right", "rights"),
            counted(self.owners_changed, "owner", "owners"),
            counted(self.stores_changed, "store line", "store lines"),
            counted(self.unions_changed, "union view", "union views")
        )
    }
}

/// Makes roles, owners, policies and rights as `readers` and `workers` want them. Safe to
/// run from two processes at once. Roles that were ours and are not wanted any more lose
/// their sign-in, their stores and their rights.
///
/// # Errors
/// When a right is missing, or a role's name is taken.
pub async fn reconcile(
    warehouse: &Warehouse,
    brands: &[BrandId],
    readers: &[Reader],
    workers: &[Worker],
) -> Result<Reconciled, Error> {
    let begin = refused("start reconciling", "roles");
    let mut transaction = warehouse.pool().begin().await.map_err(begin)?;
    let connection = &mut *transaction;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *connection)
        .await
        .map_err(refused("wait for the lock of", "roles"))?;
    // Roles are made by the user who connected: CREATEROLE is not inherited.
    duties::act_as(connection, None).await.map_err(refused("act as", "session_user"))?;
    let installation = warehouse.installation();
    let mut done = Reconciled { roles: (readers.len() + workers.len()) as u64, ..Reconciled::default() };
    let wanted: Vec<Wanted<'_>> =
        readers.iter().map(Wanted::reader).chain(workers.iter().map(Wanted::worker)).collect();
    let known = reconcile_roles(connection, &wanted, &mut done).await?;
    // Whoever owns and whoever loads may be members of each other, nobody else is of anything.
    let (owner, loader) = (Duty::Owner.role(installation), Duty::Loader.role(installation));
    let members: BTreeSet<&str> = known.iter().map(String::as_str).filter(|role| *role != owner).collect();
    duties::memberships(connection, installation, &members, &mut done).await?;
    let marts = existing_schemas(connection, brands, BrandId::schema).await?;
    let histories = existing_schemas(connection, brands, history).await?;
    let schemas: Vec<String> = marts.iter().chain(&histories).map(|(_, schema)| schema.clone()).collect();
    duties::hand_over(connection, installation, &schemas, &mut done).await?;
    let sign_in = wanted.iter().filter(|role| role.signs_in).map(|role| role.name).collect();
    duties::database(connection, installation, &sign_in, &mut done).await?;
    // What is made from here on belongs to the owner.
    duties::act_as(connection, Some(&owner)).await.map_err(refused("act as", &owner))?;
    reconcile_stores(connection, readers, &mut done).await?;
    let mut rights = duties::rights(connection, installation, &schemas).await?;
    for (brand, schema) in marts.iter().chain(&histories) {
        let readers =
            readers.iter().filter(|reader| reader.brands.contains(brand)).map(|reader| reader.role.as_str()).collect();
        let wall = Wall { brand, schema, readers, loader: &loader };
        raise(connection, &wall, &mut rights, &mut done).await?;
    }
    let names: Vec<(&str, &str)> = marts.iter().map(|(brand, schema)| (brand.0.as_str(), schema.as_str())).collect();
    done.unions_changed = unions::refresh(connection, &names).await?;
    let unions = unions::names(connection).await?;
    for reader in readers {
        rights.insert(Right::new(Object::schema("walls"), "USAGE", &reader.role));
        rights.insert(Right::new(Object::relation("walls", "stores"), "SELECT", &reader.role));
        if reader.every_brand {
            rights.insert(Right::new(Object::schema("mart_all"), "USAGE", &reader.role));
            rights.extend(
                unions.iter().map(|view| Right::new(Object::relation("mart_all", view), "SELECT", &reader.role)),
            );
        }
    }
    // A brand that left the settings keeps its schema, and nobody reads it.
    let every: Vec<String> =
        sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE pg_get_userbyid(nspowner) = $1 ORDER BY 1")
            .bind(&owner)
            .fetch_all(&mut *connection)
            .await
            .map_err(refused("read", "pg_namespace"))?;
    rights::even_out(connection, &every, &known, rights, &mut done).await?;
    transaction.commit().await.map_err(refused("finish reconciling", "roles"))?;
    if done.changes() > 0 {
        info!(
            roles = done.roles,
            roles_created = done.roles_created,
            roles_locked = done.roles_locked,
            policies_changed = done.policies_changed,
            rights_changed = done.rights_changed,
            owners_changed = done.owners_changed,
            "reconciled roles"
        );
    }
    Ok(done)
}

/// Where a brand's superseded rows are kept. Nothing of it is shown in Metabase.
pub(super) fn history(brand: &BrandId) -> String {
    format!("history_{brand}")
}

/// A role as it should be.
struct Wanted<'a> {
    name: &'a str,
    scope: &'a str,
    password: Option<&'a SecretString>,
    password_mark: &'a str,
    signs_in: bool,
    inherits: bool,
    connection_limit: i32,
    /// What its sessions start with, as `ALTER ROLE … SET` takes it.
    config: Vec<String>,
}

impl<'a> Wanted<'a> {
    fn reader(reader: &'a Reader) -> Self {
        let path = match (reader.every_brand, reader.brands.first()) {
            (false, Some(brand)) => brand.schema(),
            _ => "mart_all".to_owned(),
        };
        Self {
            name: &reader.role,
            scope: &reader.scope,
            password: Some(&reader.password),
            password_mark: &reader.password_mark,
            signs_in: true,
            inherits: false,
            connection_limit: CONNECTION_LIMIT,
            config: reading(&path),
        }
    }

    fn worker(worker: &'a Worker) -> Self {
        let watches = worker.duty == Duty::Ops;
        Self {
            name: &worker.role,
            scope: worker.duty.word(),
            password: worker.password.as_ref(),
            password_mark: &worker.password_mark,
            signs_in: worker.password.is_some(),
            inherits: !watches,
            connection_limit: if watches { CONNECTION_LIMIT } else { -1 },
            config: if watches { reading("ops") } else { Vec::new() },
        }
    }

    fn password(&self) -> String {
        let Some(password) = self.password else { return String::new() };
        let salt = Sha256::digest(format!("{} {}", self.name, self.password_mark));
        let salt: [u8; 16] = salt[..16].try_into().expect("a digest has 32 bytes");
        format!(" PASSWORD {}", literal(&scram_verifier(password.expose_secret(), &salt)))
    }

    fn attributes(&self) -> String {
        format!(
            "{} {} CONNECTION LIMIT {}",
            if self.signs_in { "LOGIN" } else { "NOLOGIN" },
            if self.inherits { "INHERIT" } else { "NOINHERIT" },
            self.connection_limit
        )
    }
}

fn reading(path: &str) -> Vec<String> {
    vec![
        "default_transaction_read_only = 'on'".to_owned(),
        format!("search_path = '{path}'"),
        // Questions look a few days up in views over all months: compiling such a plan took a second, running it a hundredth.
        "jit = 'off'".to_owned(),
        format!("statement_timeout = '{STATEMENT_TIMEOUT}'"),
    ]
}

/// A role as it is.
struct Found {
    signs_in: bool,
    inherits: bool,
    connection_limit: i32,
    /// Attributes that no role of ours has, as `ALTER ROLE` takes them away.
    powers: Vec<String>,
    config: BTreeSet<String>,
}

async fn find(connection: &mut PgConnection, names: &[&str]) -> Result<BTreeMap<String, Found>, Error> {
    let rows = sqlx::query(
        "SELECT rolname::text, rolcanlogin, rolinherit, rolconnlimit, coalesce(rolconfig, '{}') AS config,
                array_remove(ARRAY[
                    CASE WHEN rolsuper THEN 'NOSUPERUSER' END, CASE WHEN rolcreaterole THEN 'NOCREATEROLE' END,
                    CASE WHEN rolcreatedb THEN 'NOCREATEDB' END, CASE WHEN rolreplication THEN 'NOREPLICATION' END,
                    CASE WHEN rolbypassrls THEN 'NOBYPASSRLS' END], NULL) AS powers
         FROM pg_roles WHERE rolname = ANY($1)",
    )
    .bind(names)
    .fetch_all(connection)
    .await
    .map_err(refused("read", "pg_roles"))?;
    let found = rows.iter().map(|row| {
        let role = Found {
            signs_in: row.get("rolcanlogin"),
            inherits: row.get("rolinherit"),
            connection_limit: row.get("rolconnlimit"),
            powers: row.get("powers"),
            config: row.get::<Vec<String>, _>("config").into_iter().collect(),
        };
        (row.get("rolname"), role)
    });
    Ok(found.collect())
}

/// Makes and alters roles; gives the names of all that are ours, locked ones too.
async fn reconcile_roles(
    connection: &mut PgConnection,
    roles: &[Wanted<'_>],
    done: &mut Reconciled,
) -> Result<BTreeSet<String>, Error> {
    let rows = sqlx::query("SELECT role_name, password_mark FROM walls.roles")
        .fetch_all(&mut *connection)
        .await
        .map_err(refused("read", "walls.roles"))?;
    let known: BTreeMap<String, String> =
        rows.iter().map(|row| (row.get("role_name"), row.get("password_mark"))).collect();
    let names: Vec<&str> = known.keys().map(String::as_str).chain(roles.iter().map(|role| role.name)).collect();
    let found = find(connection, &names).await?;
    for role in roles {
        let name = Ident::known(role.name);
        let mut statements = Vec::new();
        let set = || role.config.iter().map(|line| format!("ALTER ROLE {name} SET {line}"));
        match (found.get(role.name), known.get(role.name)) {
            (Some(_), None) => return Err(Error::Foreign { role: role.name.to_owned() }),
            (None, _) => {
                done.roles_created += 1;
                statements.push(format!("CREATE ROLE {name} {}{}", role.attributes(), role.password()));
                statements.extend(set());
            }
            (Some(found), Some(mark)) => {
                if *mark != role.password_mark && role.password.is_some() {
                    statements.push(format!("ALTER ROLE {name}{}", role.password()));
                }
                let is = (found.signs_in, found.inherits, found.connection_limit);
                if is != (role.signs_in, role.inherits, role.connection_limit) {
                    statements.push(format!("ALTER ROLE {name} {}", role.attributes()));
                }
                // Named only where there is one to take away: who is no superuser may not say NOSUPERUSER.
                if !found.powers.is_empty() {
                    statements.push(format!("ALTER ROLE {name} {}", found.powers.join(" ")));
                }
                let wanted: BTreeSet<String> =
                    role.config.iter().map(|line| line.replace(" = ", "=").replace('\'', "")).collect();
                if found.config != wanted {
                    statements.push(format!("ALTER ROLE {name} RESET ALL"));
                    statements.extend(set());
                }
                done.roles_altered += u64::from(!statements.is_empty());
            }
        }
        for statement in statements {
            run(connection, statement, "alter the role", role.name).await?;
        }
        if known.get(role.name).is_none_or(|mark| mark != role.password_mark) {
            sqlx::query(
                "INSERT INTO walls.roles (role_name, scope, password_mark) VALUES ($1, $2, $3)
                 ON CONFLICT (role_name) DO UPDATE SET scope = EXCLUDED.scope, password_mark = EXCLUDED.password_mark",
            )
            .bind(role.name)
            .bind(role.scope)
            .bind(role.password_mark)
            .execute(&mut *connection)
            .await
            .map_err(refused("note the role", role.name))?;
        }
    }
    let wanted: BTreeSet<&str> = roles.iter().map(|role| role.name).collect();
    for role in known.keys().filter(|role| !wanted.contains(role.as_str())) {
        if found.get(role).is_some_and(|found| found.signs_in) {
            done.roles_locked += 1;
            run(connection, format!("ALTER ROLE {} NOLOGIN", Ident::known(role)), "lock the role", role).await?;
        }
    }
    let mut ours: BTreeSet<String> = wanted.into_iter().map(str::to_owned).collect();
    ours.extend(known.into_keys().filter(|role| found.contains_key(role)));
    Ok(ours)
}

async fn reconcile_stores(
    connection: &mut PgConnection,
    readers: &[Reader],
    done: &mut Reconciled,
) -> Result<(), Error> {
    let lines = || {
        readers.iter().flat_map(|reader| {
            reader.stores.iter().map(move |(brand, store)| (reader.role.as_str(), brand.0.as_str(), store.0.as_str()))
        })
    };
    let roles: Vec<&str> = lines().map(|line| line.0).collect();
    let brands: Vec<&str> = lines().map(|line| line.1).collect();
    let stores: Vec<&str> = lines().map(|line| line.2).collect();
    for statement in [
        "DELETE FROM walls.stores w
         WHERE NOT EXISTS (SELECT FROM unnest($1::text[], $2::text[], $3::text[]) AS l(role_name, brand, store_id)
                           WHERE (l.role_name, l.brand, l.store_id) = (w.role_name, w.brand, w.store_id))",
        "INSERT INTO walls.stores (role_name, brand, store_id)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING",
    ] {
        done.stores_changed += sqlx::query(statement)
            .bind(&roles)
            .bind(&brands)
            .bind(&stores)
            .execute(&mut *connection)
            .await
            .map_err(refused("write", "walls.stores"))?
            .rows_affected();
    }
    Ok(())
}

async fn existing_schemas(
    connection: &mut PgConnection,
    brands: &[BrandId],
    name: impl Fn(&BrandId) -> String,
) -> Result<Vec<(BrandId, String)>, Error> {
    let names: Vec<String> = brands.iter().map(name).collect();
    let there: Vec<String> = sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE nspname = ANY($1)")
        .bind(&names)
        .fetch_all(connection)
        .await
        .map_err(refused("read", "pg_namespace"))?;
    Ok(brands.iter().cloned().zip(names).filter(|(_, schema)| there.contains(schema)).collect())
}

pub(super) async fn run(
    connection: &mut PgConnection,
    statement: String,
    action: &'static str,
    name: &str,
) -> Result<(), Error> {
    sqlx::raw_sql(Statement::new(statement).safe()).execute(connection).await.map_err(refused(action, name))?;
    Ok(())
}
