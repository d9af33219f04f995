//! The walls: one database role for each reader, and row policies on every table.
//!
//! [`reconcile`] compares what the tree wants with what the catalog has and
//! alters only what differs, in one transaction under a lock. Every table of a
//! brand that has a `store_id` shows a reader its own stores and nothing else;
//! a table without one is for every reader of the brand.
//!
//! Invariants: a table gets its policies before anybody may select from it; a
//! reader enters no schema but its brands', `walls`, and `mart_all` when it
//! reads every brand; partitions, materialized views and names that start with
//! `_` are for nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::{PgConnection, Row as _};
use tracing::info;

use super::digest::scram_verifier;
use super::ident::literal;
use super::policies::relations_of;
use super::{Ident, Statement, Warehouse, unions};
use crate::ids::{BrandId, StoreId};

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
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Refused { .. } => Some("the user in `database.url` must own the schemas and have CREATEROLE"),
            Self::Foreign { .. } => Some(
                "choose another `installation.name`: two installations of one PostgreSQL cluster must differ in it",
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
            + self.unions_changed
    }
}

impl fmt::Display for Reconciled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} roles: {} new, {} altered, {} locked; {} policies, {} rights, {} store lines, {} union views changed",
            self.roles,
            self.roles_created,
            self.roles_altered,
            self.roles_locked,
            self.policies_changed,
            self.rights_changed,
            self.stores_changed,
            self.unions_changed
        )
    }
}

/// Makes roles, policies and rights as `readers` want them. Safe to run from
/// two processes at once. Roles that were ours and are not wanted any more lose
/// their sign-in, their stores and their rights.
///
/// # Errors
/// When a right is missing, or a role's name is taken.
pub async fn reconcile(warehouse: &Warehouse, brands: &[BrandId], readers: &[Reader]) -> Result<Reconciled, Error> {
    let begin = refused("start reconciling", "roles");
    let mut transaction = warehouse.pool().begin().await.map_err(begin)?;
    let connection = &mut *transaction;
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *connection)
        .await
        .map_err(refused("wait for the lock of", "roles"))?;
    let mut done = Reconciled { roles: readers.len() as u64, ..Reconciled::default() };
    let ours = reconcile_roles(connection, readers, &mut done).await?;
    reconcile_stores(connection, readers, &mut done).await?;
    no_temporary_tables(connection, &mut done).await?;
    let schemas = existing_schemas(connection, brands).await?;
    for (brand, schema) in &schemas {
        let wanted: BTreeSet<&str> =
            readers.iter().filter(|reader| reader.brands.contains(brand)).map(|reader| reader.role.as_str()).collect();
        enter(connection, schema, &wanted, &ours, &mut done).await?;
        relations_of(connection, brand, schema, &wanted, &ours, &mut done).await?;
    }
    let everybody: BTreeSet<&str> = readers.iter().map(|reader| reader.role.as_str()).collect();
    enter(connection, "walls", &everybody, &ours, &mut done).await?;
    select(connection, "walls", "stores", &everybody, &ours, &mut done).await?;
    let names: Vec<(&str, &str)> = schemas.iter().map(|(brand, schema)| (brand.0.as_str(), schema.as_str())).collect();
    done.unions_changed = unions::refresh(connection, &names).await?;
    let every_brand: BTreeSet<&str> =
        readers.iter().filter(|reader| reader.every_brand).map(|reader| reader.role.as_str()).collect();
    enter(connection, "mart_all", &every_brand, &ours, &mut done).await?;
    for view in unions::names(connection).await? {
        select(connection, "mart_all", &view, &every_brand, &ours, &mut done).await?;
    }
    transaction.commit().await.map_err(refused("finish reconciling", "roles"))?;
    if done.changes() > 0 {
        info!(
            roles = done.roles,
            roles_created = done.roles_created,
            roles_locked = done.roles_locked,
            policies_changed = done.policies_changed,
            rights_changed = done.rights_changed,
            "reconciled roles"
        );
    }
    Ok(done)
}

/// Makes and alters roles; gives the names of all that are ours, locked ones too.
async fn reconcile_roles(
    connection: &mut PgConnection,
    readers: &[Reader],
    done: &mut Reconciled,
) -> Result<BTreeSet<String>, Error> {
    let rows = sqlx::query("SELECT role_name, password_mark FROM walls.roles")
        .fetch_all(&mut *connection)
        .await
        .map_err(refused("read", "walls.roles"))?;
    let known: BTreeMap<String, String> =
        rows.iter().map(|row| (row.get("role_name"), row.get("password_mark"))).collect();
    let names: Vec<&str> =
        known.keys().map(String::as_str).chain(readers.iter().map(|reader| reader.role.as_str())).collect();
    let rows = sqlx::query(
        "SELECT rolname::text, rolcanlogin AND rolconnlimit = $2 AND NOT (rolinherit OR rolsuper OR rolcreaterole
                OR rolcreatedb OR rolreplication OR rolbypassrls) AS fits,
                rolcanlogin, coalesce(rolconfig, '{}') AS config
         FROM pg_roles WHERE rolname = ANY($1)",
    )
    .bind(&names)
    .bind(CONNECTION_LIMIT)
    .fetch_all(&mut *connection)
    .await
    .map_err(refused("read", "pg_roles"))?;
    let found: BTreeMap<String, (bool, bool, BTreeSet<String>)> = rows
        .iter()
        .map(|row| {
            let config: Vec<String> = row.get("config");
            (row.get("rolname"), (row.get("fits"), row.get("rolcanlogin"), config.into_iter().collect()))
        })
        .collect();
    for reader in readers {
        let role = Ident::known(&reader.role);
        let config = config_of(reader);
        let mut statements = Vec::new();
        const ATTRIBUTES: &str = "LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE";
        let password = || {
            let salt = Sha256::digest(format!("{} {}", reader.role, reader.password_mark));
            let salt: [u8; 16] = salt[..16].try_into().expect("a digest has 32 bytes");
            literal(&scram_verifier(reader.password.expose_secret(), &salt))
        };
        match (found.get(&reader.role), known.get(&reader.role)) {
            (Some(_), None) => return Err(Error::Foreign { role: reader.role.clone() }),
            (None, _) => {
                done.roles_created += 1;
                statements.push(format!(
                    "CREATE ROLE {role} {ATTRIBUTES} CONNECTION LIMIT {CONNECTION_LIMIT} PASSWORD {}",
                    password()
                ));
                statements.extend(config.iter().map(|line| format!("ALTER ROLE {role} SET {line}")));
            }
            (Some((fits, _, set)), Some(mark)) => {
                if *mark != reader.password_mark {
                    statements.push(format!("ALTER ROLE {role} PASSWORD {}", password()));
                }
                if !fits {
                    statements.push(format!("ALTER ROLE {role} {ATTRIBUTES} CONNECTION LIMIT {CONNECTION_LIMIT}"));
                }
                let wanted: BTreeSet<String> =
                    config.iter().map(|line| line.replace(" = ", "=").replace('\'', "")).collect();
                if *set != wanted {
                    statements.push(format!("ALTER ROLE {role} RESET ALL"));
                    statements.extend(config.iter().map(|line| format!("ALTER ROLE {role} SET {line}")));
                }
                done.roles_altered += u64::from(!statements.is_empty());
            }
        }
        for statement in statements {
            run(connection, statement, "alter the role", &reader.role).await?;
        }
        if known.get(&reader.role) != Some(&reader.password_mark) {
            sqlx::query(
                "INSERT INTO walls.roles (role_name, scope, password_mark) VALUES ($1, $2, $3)
                 ON CONFLICT (role_name) DO UPDATE SET scope = EXCLUDED.scope, password_mark = EXCLUDED.password_mark",
            )
            .bind(&reader.role)
            .bind(&reader.scope)
            .bind(&reader.password_mark)
            .execute(&mut *connection)
            .await
            .map_err(refused("note the role", &reader.role))?;
        }
    }
    let wanted: BTreeSet<&str> = readers.iter().map(|reader| reader.role.as_str()).collect();
    for role in known.keys().filter(|role| !wanted.contains(role.as_str())) {
        if found.get(role).is_some_and(|(_, signs_in, _)| *signs_in) {
            done.roles_locked += 1;
            run(connection, format!("ALTER ROLE {} NOLOGIN", Ident::known(role)), "lock the role", role).await?;
        }
    }
    let mut ours: BTreeSet<String> = wanted.into_iter().map(str::to_owned).collect();
    ours.extend(known.into_keys().filter(|role| found.contains_key(role)));
    Ok(ours)
}

/// What a role's sessions start with, as `ALTER ROLE … SET` takes it.
fn config_of(reader: &Reader) -> Vec<String> {
    let path = match (reader.every_brand, reader.brands.first()) {
        (false, Some(brand)) => brand.schema(),
        _ => "mart_all".to_owned(),
    };
    vec![
        "default_transaction_read_only = 'on'".to_owned(),
        format!("search_path = '{path}'"),
        format!("statement_timeout = '{STATEMENT_TIMEOUT}'"),
    ]
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

/// Readers make no tables, not even temporary ones. Only a database's owner can say so.
async fn no_temporary_tables(connection: &mut PgConnection, done: &mut Reconciled) -> Result<(), Error> {
    let open: Option<String> = sqlx::query_scalar(
        "SELECT datname::text FROM pg_database
         WHERE datname = current_database() AND pg_has_role(datdba, 'USAGE')
           AND EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) a
                       WHERE a.grantee = 0 AND a.privilege_type = 'TEMPORARY')",
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(refused("read", "pg_database"))?;
    let Some(database) = open else {
        return Ok(());
    };
    done.rights_changed += 1;
    let statement = format!("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC", Ident::known(&database));
    run(connection, statement, "close", &database).await
}

async fn existing_schemas(connection: &mut PgConnection, brands: &[BrandId]) -> Result<Vec<(BrandId, String)>, Error> {
    let names: Vec<String> = brands.iter().map(BrandId::schema).collect();
    let there: Vec<String> = sqlx::query_scalar("SELECT nspname::text FROM pg_namespace WHERE nspname = ANY($1)")
        .bind(&names)
        .fetch_all(connection)
        .await
        .map_err(refused("read", "pg_namespace"))?;
    Ok(brands.iter().cloned().zip(names).filter(|(_, schema)| there.contains(schema)).collect())
}

/// Lets exactly the wanted roles, of those that are ours, enter a schema.
async fn enter(
    connection: &mut PgConnection,
    schema: &str,
    wanted: &BTreeSet<&str>,
    ours: &BTreeSet<String>,
    done: &mut Reconciled,
) -> Result<(), Error> {
    let has: Vec<String> = sqlx::query_scalar(
        "SELECT coalesce(r.rolname::text, 'PUBLIC')
         FROM pg_namespace n, aclexplode(n.nspacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
         WHERE n.nspname = $1 AND a.privilege_type = 'USAGE'",
    )
    .bind(schema)
    .fetch_all(&mut *connection)
    .await
    .map_err(refused("read the rights on", schema))?;
    let object = format!("USAGE ON SCHEMA {}", Ident::known(schema));
    even_out(connection, &object, schema, &has, wanted, ours, done).await
}

/// Lets exactly the wanted roles, of those that are ours, select from a table or view.
pub(super) async fn select(
    connection: &mut PgConnection,
    schema: &str,
    relation: &str,
    wanted: &BTreeSet<&str>,
    ours: &BTreeSet<String>,
    done: &mut Reconciled,
) -> Result<(), Error> {
    let has: Vec<String> = sqlx::query_scalar(
        "SELECT coalesce(r.rolname::text, 'PUBLIC')
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
              aclexplode(c.relacl) a LEFT JOIN pg_roles r ON r.oid = a.grantee
         WHERE n.nspname = $1 AND c.relname = $2 AND a.privilege_type = 'SELECT'",
    )
    .bind(schema)
    .bind(relation)
    .fetch_all(&mut *connection)
    .await
    .map_err(refused("read the rights on", relation))?;
    let object = format!("SELECT ON {}.{}", Ident::known(schema), Ident::known(relation));
    even_out(connection, &object, relation, &has, wanted, ours, done).await
}

async fn even_out(
    connection: &mut PgConnection,
    object: &str,
    name: &str,
    has: &[String],
    wanted: &BTreeSet<&str>,
    ours: &BTreeSet<String>,
    done: &mut Reconciled,
) -> Result<(), Error> {
    let list = |roles: Vec<&str>| -> Option<String> {
        let quoted: Vec<String> = roles
            .into_iter()
            .map(|role| if role == "PUBLIC" { role.to_owned() } else { Ident::known(role).to_string() })
            .collect();
        (!quoted.is_empty()).then(|| quoted.join(", "))
    };
    let extra = has
        .iter()
        .map(String::as_str)
        .filter(|role| !wanted.contains(role) && (*role == "PUBLIC" || ours.contains(*role)))
        .collect();
    let missing = wanted.iter().copied().filter(|role| !has.iter().any(|has| has == role)).collect();
    for (verb, direction, roles) in [("REVOKE", "FROM", list(extra)), ("GRANT", "TO", list(missing))] {
        if let Some(roles) = roles {
            done.rights_changed += 1;
            run(connection, format!("{verb} {object} {direction} {roles}"), "set the rights on", name).await?;
        }
    }
    Ok(())
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
