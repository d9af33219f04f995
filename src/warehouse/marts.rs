//! The views of a brand's schema, from `sql/marts/*.sql`: one query a file.
//!
//! The view is named like its file, without the number in front that orders
//! them: a view may read the ones before it. It asks with its reader's rights;
//! a file that starts with `-- rights: owner` asks with the owner's, and must
//! show nothing that belongs to a store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sqlx::{Connection as _, PgConnection, Row as _};
use tracing::info;

use super::digest::hexadecimal;
use super::duties;
use super::ident::literal;
use super::roles::LOCK;
use super::{Ident, Statement, Warehouse};
use crate::ids::BrandId;

const OWNER_RIGHTS: &str = "-- rights: owner";

/// Why the views are not as the files want them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder or a file cannot be read.
    #[error("failed to read `{path}`")]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file's name or its template is wrong.
    #[error("`{path}`: {message}")]
    Definition {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// The server refused a view.
    #[error("failed to make the view `{view}` of brand `{brand}`")]
    View {
        /// Which one.
        view: String,
        /// Whose.
        brand: BrandId,
        /// What the server said.
        source: sqlx::Error,
    },
    /// The warehouse.
    #[error("failed to {action} the views of brand `{brand}`")]
    Warehouse {
        /// What was tried.
        action: &'static str,
        /// Whose.
        brand: BrandId,
        /// What the server said.
        source: sqlx::Error,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Read { .. } => Some("`--definitions` names the folder that holds sql/"),
            Self::Definition { .. } => Some("name it like `010_sales_by_day.sql`"),
            Self::View { .. } => Some("the file must hold one SELECT on tables that the pipelines make"),
            Self::Warehouse { .. } => None,
        }
    }
}

/// What became of a brand's views.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Outcome {
    /// Views that were made anew; empty when nothing had changed.
    pub made: Vec<String>,
    /// Views that wait for a table no pipeline has made yet.
    pub waiting: Vec<String>,
}

struct View {
    name: String,
    text: String,
    owner_rights: bool,
    hash: String,
}

/// Makes a brand's views follow the files, in one transaction. Does nothing when
/// the files are unchanged. Who may enter the schema may read the views.
///
/// # Errors
/// When a file is wrong or the server refuses a view; nothing is changed then.
pub async fn apply(warehouse: &Warehouse, brand: &BrandId, definitions_dir: &Path) -> Result<Outcome, Error> {
    let views = read(brand, definitions_dir)?;
    let failed = |action: &'static str| {
        let brand = brand.clone();
        move |source| Error::Warehouse { action, brand, source }
    };
    let mut transaction = warehouse.pool().begin().await.map_err(failed("start changing"))?;
    let connection = &mut *transaction;
    // Views belong to the walls: reconciling must not read half of them.
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(LOCK)
        .execute(&mut *connection)
        .await
        .map_err(failed("wait for others who change"))?;
    // A process that loads may not change views: the user who connected may.
    duties::act_as(connection, None).await.map_err(failed("act as the owner of"))?;
    let there: bool = sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL")
        .bind(Ident::known(&brand.schema()).to_string())
        .fetch_one(&mut *connection)
        .await
        .map_err(failed("look for the schema of"))?;
    if !there {
        // Nothing was loaded for this brand yet.
        return Ok(Outcome::default());
    }
    let rows = sqlx::query(
        "SELECT v.view_name, v.content_hash, v.applied, c.oid IS NOT NULL AS there
         FROM ops.mart_views v
         LEFT JOIN pg_namespace n ON n.nspname = $2
         LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = v.view_name AND c.relkind = 'v'
         WHERE v.brand = $1",
    )
    .bind(&brand.0)
    .bind(brand.schema())
    .fetch_all(&mut *connection)
    .await
    .map_err(failed("read the list of"))?;
    let known: BTreeMap<String, (String, bool, bool)> = rows
        .iter()
        .map(|row| (row.get("view_name"), (row.get("content_hash"), row.get("applied"), row.get("there"))))
        .collect();
    let same = known.len() == views.len()
        && views.iter().all(|view| {
            known.get(&view.name).is_some_and(|(hash, applied, there)| *hash == view.hash && applied == there)
        });
    let mut outcome = Outcome::default();
    let waits = |view: &View| known.get(&view.name).is_some_and(|(_, applied, _)| !applied);
    if same && !views.iter().any(waits) {
        return Ok(outcome);
    }
    let schema = Ident::known(&brand.schema());
    let statement = format!("SET LOCAL search_path = {schema}");
    run(connection, &statement).await.map_err(failed("enter the schema of"))?;
    if !same {
        for name in known.iter().filter(|(_, state)| state.2).map(|(name, _)| name) {
            // Views may read each other and the union views read them: all are made anew.
            let name = Ident::known(name);
            let statement = format!("DROP VIEW IF EXISTS {schema}.{name} CASCADE");
            run(connection, &statement).await.map_err(failed("drop"))?;
        }
        sqlx::query("DELETE FROM ops.mart_views WHERE brand = $1")
            .bind(&brand.0)
            .execute(&mut *connection)
            .await
            .map_err(failed("forget"))?;
    }
    let readers = readers(connection, brand).await.map_err(failed("list the readers of"))?;
    for view in views.iter().filter(|view| !same || waits(view)) {
        let view_failed = |source| Error::View { view: view.name.clone(), brand: brand.clone(), source };
        let applied = make(connection, &schema, view, &readers).await.map_err(view_failed)?;
        let list = if applied { &mut outcome.made } else { &mut outcome.waiting };
        list.push(view.name.clone());
        sqlx::query(
            "INSERT INTO ops.mart_views (brand, view_name, content_hash, applied) VALUES ($1, $2, $3, $4)
             ON CONFLICT (brand, view_name) DO UPDATE SET applied = EXCLUDED.applied, applied_at = now()",
        )
        .bind(&brand.0)
        .bind(&view.name)
        .bind(&view.hash)
        .bind(applied)
        .execute(&mut *connection)
        .await
        .map_err(failed("note"))?;
    }
    transaction.commit().await.map_err(failed("finish changing"))?;
    if !outcome.made.is_empty() {
        info!(%brand, views_made = outcome.made.len(), views_waiting = outcome.waiting.len(), "made views");
    }
    Ok(outcome)
}

/// Makes one view; says whether the tables it reads are there.
async fn make(
    connection: &mut PgConnection,
    schema: &Ident,
    view: &View,
    readers: &[String],
) -> Result<bool, sqlx::Error> {
    let name = format!("{schema}.{}", Ident::known(&view.name));
    let options = if view.owner_rights { "security_barrier = true" } else { "security_invoker = true" };
    let mut savepoint = connection.begin().await?;
    let statement = format!("CREATE VIEW {name} WITH ({options}) AS\n{}", view.text);
    match run(&mut savepoint, &statement).await {
        Ok(()) => {}
        // 42P01: no such table.
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => {
            savepoint.rollback().await?;
            return Ok(false);
        }
        Err(error) => return Err(error),
    }
    if view.owner_rights {
        let note = "rights: owner; shows nothing that belongs to a store";
        run(&mut savepoint, &format!("COMMENT ON VIEW {name} IS {}", literal(note))).await?;
    }
    if !readers.is_empty() {
        run(&mut savepoint, &format!("GRANT SELECT ON {name} TO {}", readers.join(", "))).await?;
    }
    savepoint.commit().await?;
    Ok(true)
}

/// Lists the roles of ours that may enter the schema, quoted.
async fn readers(connection: &mut PgConnection, brand: &BrandId) -> Result<Vec<String>, sqlx::Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT r.rolname::text
         FROM pg_namespace n, aclexplode(n.nspacl) a
         JOIN pg_roles r ON r.oid = a.grantee
         JOIN walls.roles w ON w.role_name = r.rolname
         WHERE n.nspname = $1 AND a.privilege_type = 'USAGE'
         ORDER BY 1",
    )
    .bind(brand.schema())
    .fetch_all(connection)
    .await?;
    Ok(names.iter().map(|name| Ident::known(name).to_string()).collect())
}

async fn run(connection: &mut PgConnection, statement: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(Statement::new(statement).safe()).execute(connection).await.map(drop)
}

fn read(brand: &BrandId, definitions_dir: &Path) -> Result<Vec<View>, Error> {
    let folder = definitions_dir.join("sql").join("marts");
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(unreadable(&folder))? {
        let path = entry.map_err(unreadable(&folder))?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
    }
    files.sort();
    let templates = minijinja::Environment::new();
    let mut views = Vec::new();
    for path in files {
        let wrong = |message: String| Error::Definition { path: path.clone(), message };
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let name = stem.trim_start_matches(|letter: char| letter.is_ascii_digit()).trim_start_matches('_');
        let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
        if name.is_empty() || name.len() > 63 || !name.chars().all(plain) {
            return Err(wrong("a view's name has lower-case letters, digits and underscores".to_owned()));
        }
        let source = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        let text = templates
            .render_str(&source, minijinja::context! { brand => literal(&brand.0) })
            .map_err(|error| wrong(error.to_string()))?;
        let text = text.trim().trim_end_matches(';').to_owned();
        views.push(View {
            owner_rights: text.starts_with(OWNER_RIGHTS),
            hash: hexadecimal(&Sha256::digest(&text)),
            name: name.to_owned(),
            text,
        });
    }
    Ok(views)
}
