//! The roles that work: one owns, one loads, one watches.
//!
//! They hold what a wall does not: `<installation>_owner` owns every schema and view
//! and signs in nowhere; `<installation>_loader` owns the tables that loads make, and
//! writes `ops`; `<installation>_ops` reads `ops`, without what is about people. The user
//! in `database.url` is a member of the first, which is a member of the second.
//!
//! Why loads are no owner: they run DDL (tables, columns, partitions) within their own
//! transaction, so whoever loads must own what it makes. It owns that and nothing else:
//! no schema, no view, nothing of `access` or `walls`, and it makes no role.

use std::collections::BTreeSet;

use secrecy::SecretString;
use sqlx::{PgConnection, Row as _};

use super::Ident;
use super::rights::{Object, Right};
use super::roles::{Error, Reconciled, refused, run};
use super::{Statement, Warehouse};

/// What a role of ours is for, where it is no reader's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// Owns schemas, views, `ops`, `access` and `walls`.
    Owner,
    /// Loads: owns the brands' tables, writes `ops`.
    Loader,
    /// Watches: reads `ops`.
    Ops,
}

impl Duty {
    /// Names its role, e.g. `storekeeper_loader`.
    pub fn role(self, installation: &str) -> String {
        format!("{installation}_{}", self.word())
    }

    /// The word that stands in its role's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Loader => "loader",
            Self::Ops => "ops",
        }
    }
}

/// A role that works.
#[derive(Debug, Clone)]
pub struct Worker {
    /// What for.
    pub duty: Duty,
    /// The role's name.
    pub role: String,
    /// Its password; the owner, who signs in nowhere, has none.
    pub password: Option<SecretString>,
    /// Changes when the password does.
    pub password_mark: String,
}

/// The tables of `ops` that its watchers read, each with the columns they do not: what is
/// about people, what quotes a row, and a source's own marks. A table that is not here
/// is closed to them.
pub const OPS_WITHHOLDS: [(&str, &[&str]); 23] = [
    ("runs", &["error", "report"]),
    ("loads", &[]),
    ("load_inputs", &[]),
    ("stale", &[]),
    ("archives", &[]),
    ("file_contents", &[]),
    ("files", &["modified_by"]),
    ("quarantine", &["value", "row_values", "handled_by", "handled_why"]),
    ("metabase_objects", &["key"]),
    ("metabase_graphs", &[]),
    ("metabase_instances", &[]),
    ("metabase_invitations", &[]),
    ("mart_views", &[]),
    ("certificates", &[]),
    ("mail_outbox", &["subject", "sender", "recipients", "eml", "eml_path", "html_path", "reason"]),
    ("schedules", &[]),
    ("schedule_occurrences", &[]),
    ("cursors", &["value"]),
    ("drive_items", &[]),
    ("exported", &["row_key", "body_hash"]),
    ("export_rejects", &["row_key", "reason"]),
    ("file_columns", &[]),
    ("evolved_columns", &[]),
];

/// The schemas that every installation has, whatever its brands.
pub(super) const COMMON: [&str; 4] = ["access", "mart_all", "ops", "walls"];

/// Names the role that the session signed in as, whatever it acts as.
pub(super) async fn session_user(connection: &mut PgConnection) -> Result<String, Error> {
    sqlx::query_scalar("SELECT session_user::text")
        .fetch_one(connection)
        .await
        .map_err(refused("read the name of", "session_user"))
}

/// Makes the user who connects a member of the owner, and the owner one of the loader:
/// whoever owns can also do what loads do. Takes from readers every role somebody gave them.
pub(super) async fn memberships(
    connection: &mut PgConnection,
    installation: &str,
    readers: &BTreeSet<&str>,
    done: &mut Reconciled,
) -> Result<(), Error> {
    let user = session_user(connection).await?;
    let (owner, loader) = (Duty::Owner.role(installation), Duty::Loader.role(installation));
    for (role, member) in [(&loader, &owner), (&owner, &user)] {
        let there: bool = sqlx::query_scalar("SELECT pg_has_role($1::name, $2::name, 'USAGE')")
            .bind(member)
            .bind(role)
            .fetch_one(&mut *connection)
            .await
            .map_err(refused("read the members of", role))?;
        if !there {
            done.rights_changed += 1;
            let statement = format!("GRANT {} TO {}", Ident::known(role), Ident::known(member));
            run(connection, statement, "give a member to", role).await?;
        }
    }
    let strangers = sqlx::query(
        "SELECT r.rolname::text AS role, m.rolname::text AS member
         FROM pg_auth_members a JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
         WHERE m.rolname = ANY($1)",
    )
    .bind(readers.iter().map(|reader| (*reader).to_owned()).collect::<Vec<_>>())
    .fetch_all(&mut *connection)
    .await
    .map_err(refused("read", "pg_auth_members"))?;
    for row in strangers {
        let (role, member): (String, String) = (row.get("role"), row.get("member"));
        done.rights_changed += 1;
        let statement = format!("REVOKE {} FROM {}", Ident::known(&role), Ident::known(&member));
        run(connection, statement, "take a role from", &member).await?;
    }
    Ok(())
}

/// Hands over what others made: schemas and views to the owner, a brand's tables and
/// functions to the loader. Only what the connecting user may give away.
pub(super) async fn hand_over(
    connection: &mut PgConnection,
    installation: &str,
    schemas: &[String],
    done: &mut Reconciled,
) -> Result<(), Error> {
    let (owner, loader) = (Duty::Owner.role(installation), Duty::Loader.role(installation));
    let common: Vec<String> = COMMON.map(str::to_owned).to_vec();
    let every: Vec<String> = common.iter().chain(schemas).cloned().collect();
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT nspname::text FROM pg_namespace
         WHERE nspname = ANY($1) AND pg_get_userbyid(nspowner) <> $2 AND pg_has_role(nspowner, 'USAGE') ORDER BY 1",
    )
    .bind(&every)
    .bind(&owner)
    .fetch_all(&mut *connection)
    .await
    .map_err(refused("read", "pg_namespace"))?;
    for schema in found {
        done.owners_changed += 1;
        let statement = format!("ALTER SCHEMA {} OWNER TO {}", Ident::known(&schema), Ident::known(&owner));
        run(connection, statement, "hand over the schema", &schema).await?;
    }
    // Who gets a table must be able to make one there.
    let closed: Vec<String> = sqlx::query_scalar(
        "SELECT nspname::text FROM pg_namespace
         WHERE nspname = ANY($1) AND NOT has_schema_privilege($2::name, oid, 'CREATE') ORDER BY 1",
    )
    .bind(schemas)
    .bind(&loader)
    .fetch_all(&mut *connection)
    .await
    .map_err(refused("read", "pg_namespace"))?;
    for schema in closed {
        done.rights_changed += 1;
        let statement = format!("GRANT USAGE, CREATE ON SCHEMA {} TO {}", Ident::known(&schema), Ident::known(&loader));
        run(connection, statement, "let loads into", &schema).await?;
    }
    let rows = sqlx::query(
        "SELECT what, name, wanted FROM (
             SELECT 'TABLE' AS what, format('%I.%I', n.nspname, c.relname) AS name, c.relowner AS owner,
                    CASE WHEN n.nspname = ANY($1) OR c.relkind = 'v' THEN $3 ELSE $4 END AS wanted
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = ANY($1 || $2) AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
               -- The sequence of a column follows its table.
               AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                               AND c.relkind = 'S' AND d.deptype IN ('a', 'i'))
             UNION ALL
             SELECT 'ROUTINE', format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
                    p.proowner, CASE WHEN n.nspname = ANY($1) THEN $3 ELSE $4 END
             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
             WHERE n.nspname = ANY($1 || $2)
         ) AS things
         WHERE pg_get_userbyid(owner) <> wanted AND pg_has_role(owner, 'USAGE') ORDER BY name",
    )
    .bind(&common)
    .bind(schemas)
    .bind(&owner)
    .bind(&loader)
    .fetch_all(&mut *connection)
    .await
    .map_err(refused("read the owners in", "our schemas"))?;
    for row in rows {
        let (what, name, wanted): (String, String, String) = (row.get("what"), row.get("name"), row.get("wanted"));
        done.owners_changed += 1;
        run(connection, format!("ALTER {what} {name} OWNER TO {}", Ident::known(&wanted)), "hand over", &name).await?;
    }
    Ok(())
}

/// What whoever loads needs, and whoever watches.
pub(super) async fn rights(
    connection: &mut PgConnection,
    installation: &str,
    schemas: &[String],
) -> Result<BTreeSet<Right>, Error> {
    let (loader, ops) = (Duty::Loader.role(installation), Duty::Ops.role(installation));
    let mut wanted = BTreeSet::new();
    for schema in schemas {
        for privilege in ["USAGE", "CREATE"] {
            wanted.insert(Right::new(Object::schema(schema), privilege, &loader));
        }
    }
    for role in [&loader, &ops] {
        wanted.insert(Right::new(Object::schema("ops"), "USAGE", role));
    }
    let rows = sqlx::query(
        "SELECT c.relname::text AS name, ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid
                AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = 'ops' AND c.relkind IN ('r', 'p', 'v')",
    )
    .fetch_all(connection)
    .await
    .map_err(refused("read the tables of", "ops"))?;
    for row in rows {
        let (name, columns): (String, Vec<String>) = (row.get("name"), row.get("columns"));
        for privilege in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
            wanted.insert(Right::new(Object::relation("ops", &name), privilege, &loader));
        }
        if let Some((_, withheld)) = OPS_WITHHOLDS.iter().find(|(table, _)| *table == name) {
            for column in columns.iter().filter(|column| !withheld.contains(&column.as_str())) {
                wanted.insert(Right::new(Object::column("ops", &name, column), "SELECT", &ops));
            }
        }
    }
    Ok(wanted)
}

/// What PUBLIC has by default and nobody needs: temporary tables for everybody, and every
/// new function. Then what whoever loads needs of the database itself.
pub(super) async fn database(
    connection: &mut PgConnection,
    installation: &str,
    roles: &BTreeSet<&str>,
    done: &mut Reconciled,
) -> Result<(), Error> {
    let loader = Duty::Loader.role(installation);
    let row = sqlx::query(
        "SELECT datname::text AS name, pg_has_role(datdba, 'USAGE') AS ours,
                EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) a
                        WHERE a.grantee = 0 AND a.privilege_type = 'TEMPORARY') AS open,
                has_database_privilege($1::name, oid, 'TEMPORARY') AS loads,
                ARRAY(SELECT role FROM unnest($2::text[]) AS role
                      WHERE NOT has_database_privilege(role::name, oid, 'CONNECT')) AS outside
         FROM pg_database WHERE datname = current_database()",
    )
    .bind(&loader)
    .bind(roles.iter().map(|role| (*role).to_owned()).collect::<Vec<_>>())
    .fetch_one(&mut *connection)
    .await
    .map_err(refused("read", "pg_database"))?;
    let name: String = row.get("name");
    let database = Ident::known(&name);
    let (open, mut loads): (bool, bool) = (row.get("open"), row.get("loads"));
    let outside: Vec<String> = row.get("outside");
    // Only a database's owner can say who connects, and who makes temporary tables.
    if row.get("ours") {
        let mut statements = Vec::new();
        if open {
            statements.push(format!("REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC"));
        }
        if open || !loads {
            statements.push(format!("GRANT TEMPORARY ON DATABASE {database} TO {}", Ident::known(&loader)));
            loads = true;
        }
        if !outside.is_empty() {
            let roles: Vec<String> = outside.iter().map(|role| Ident::known(role).to_string()).collect();
            statements.push(format!("GRANT CONNECT ON DATABASE {database} TO {}", roles.join(", ")));
        }
        for statement in statements {
            done.rights_changed += 1;
            run(connection, statement, "set the rights on", &name).await?;
        }
    } else if let Some(role) = outside.first() {
        return Err(Error::Closed { role: role.clone(), right: "CONNECT", database: name });
    }
    if !loads {
        return Err(Error::Closed { role: loader, right: "TEMPORARY", database: name });
    }
    for role in [Duty::Owner.role(installation), loader] {
        let open: bool = sqlx::query_scalar(
            "SELECT NOT EXISTS (
                 SELECT FROM pg_default_acl d WHERE d.defaclrole = $1::regrole AND d.defaclnamespace = 0
                 AND d.defaclobjtype = 'f' AND NOT EXISTS (SELECT FROM aclexplode(d.defaclacl) a WHERE a.grantee = 0))",
        )
        .bind(Ident::known(&role).to_string())
        .fetch_one(&mut *connection)
        .await
        .map_err(refused("read the default rights of", &role))?;
        if open {
            done.rights_changed += 1;
            let statement = format!(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {} REVOKE EXECUTE ON ROUTINES FROM PUBLIC",
                Ident::known(&role)
            );
            run(connection, statement, "close new functions of", &role).await?;
        }
    }
    let migrations: bool = sqlx::query_scalar(
        "SELECT coalesce(NOT has_table_privilege($1::name, to_regclass('public._sqlx_migrations')::oid, 'SELECT'), false)",
    )
    .bind(Duty::Loader.role(installation))
    .fetch_one(&mut *connection)
    .await
    .map_err(refused("read the rights on", "_sqlx_migrations"))?;
    if migrations {
        done.rights_changed += 1;
        let loader = Duty::Loader.role(installation);
        let statement = format!("GRANT SELECT ON public._sqlx_migrations TO {}", Ident::known(&loader));
        run(connection, statement, "show the migrations to", &loader).await?;
    }
    Ok(())
}

/// Acts as a role until the transaction ends; without one, as the user who connected.
pub(super) async fn act_as(connection: &mut PgConnection, role: Option<&str>) -> Result<(), sqlx::Error> {
    let role = role.map_or_else(|| "NONE".to_owned(), |role| Ident::known(role).to_string());
    sqlx::raw_sql(Statement::new(format!("SET LOCAL ROLE {role}")).safe()).execute(connection).await.map(drop)
}

/// Makes a schema for a brand's tables where there is none, within the transaction of
/// whoever loads. Loads may not make schemas: the user who connected does, and lets the
/// load in. Running it twice changes nothing.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn make_schema(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    let row = sqlx::query(
        "SELECT to_regnamespace($1) IS NULL AS missing, current_user::text AS acts_as, session_user::text AS user",
    )
    .bind(Ident::known(schema).to_string())
    .fetch_one(&mut *connection)
    .await?;
    if !row.try_get::<bool, _>("missing")? {
        return Ok(());
    }
    let (role, user): (String, String) = (row.try_get("acts_as")?, row.try_get("user")?);
    act_as(connection, None).await?;
    let name = Ident::known(schema);
    let mut statements = vec![format!("CREATE SCHEMA IF NOT EXISTS {name}")];
    if role != user {
        statements.push(format!("GRANT USAGE, CREATE ON SCHEMA {name} TO {}", Ident::known(&role)));
    }
    for statement in statements {
        sqlx::raw_sql(Statement::new(statement).safe()).execute(&mut *connection).await?;
    }
    act_as(connection, (role != user).then_some(&role)).await
}

/// Says whether the user who connects may change schemas, views, roles and walls. One that
/// was handed the loader's sign-in may not: an owner does it for it.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn may_own(warehouse: &Warehouse) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT NOT EXISTS (SELECT FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
         WHERE n.nspname = 'ops' AND r.rolname = $1 AND NOT pg_has_role(session_user, r.oid, 'USAGE'))",
    )
    .bind(Duty::Owner.role(warehouse.installation()))
    .fetch_one(warehouse.pool())
    .await
}
