//! Reads and writes the schema `access`, and reads the tree of stores.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use sqlx::{PgConnection, Row as _};

use super::grants::{Brand, Level, Scope, Store, Tree};
use super::people::Listed;
use crate::ids::BrandId;
use crate::settings;
use crate::warehouse::{Ident, Statement, Warehouse};

/// Why people or stores could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("failed to {action}")]
pub struct TablesError {
    action: &'static str,
    source: sqlx::Error,
}

pub(super) fn failed(action: &'static str) -> impl FnOnce(sqlx::Error) -> TablesError {
    move |source| TablesError { action, source }
}

/// Where a grant comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A list that was imported; the next import may take it back.
    Import,
    /// Somebody's hand; only a hand takes it back.
    Hand,
}

impl Origin {
    fn text(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::Hand => "hand",
        }
    }
}

/// One grant of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// What it covers.
    pub scope: Scope,
    /// What it allows there.
    pub level: Level,
    /// Where it comes from.
    pub origin: Origin,
}

/// A person with her grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    /// Her number; stays when her address changes.
    pub id: i64,
    /// Her address, in lower case.
    pub email: String,
    /// First name, possibly empty.
    pub first_name: String,
    /// Last name, possibly empty.
    pub last_name: String,
    /// `en`, `es`, `pt-BR`; without one the site's language.
    pub language: Option<String>,
    /// Whether she holds a grant.
    pub active: bool,
    /// Her grants by scope and origin.
    pub grants: Vec<Grant>,
}

impl Person {
    /// Lists her scopes, each with the highest level she holds there.
    pub fn levels(&self) -> BTreeMap<&Scope, Level> {
        let mut levels = BTreeMap::new();
        for grant in &self.grants {
            let level = levels.entry(&grant.scope).or_insert(grant.level);
            *level = (*level).max(grant.level);
        }
        levels
    }
}

/// Reads the tree: brands from settings, regions and stores from each brand's
/// `stores` table. A brand whose stores were never loaded has none.
///
/// # Errors
/// When the warehouse cannot be read.
pub async fn tree(warehouse: &Warehouse, brands: &BTreeMap<BrandId, settings::Brand>) -> Result<Tree, TablesError> {
    let mut tree = Tree::default();
    for (id, brand) in brands {
        let table = format!("{}.{}", Ident::known(&id.schema()), Ident::known("stores"));
        let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(&table)
            .fetch_one(warehouse.pool())
            .await
            .map_err(failed("look for the stores"))?;
        let mut stores = Vec::new();
        if there {
            let statement = Statement::new(format!(
                "SELECT store_id, coalesce(store_name, '') AS store_name, nullif(region, '') AS region, closed_on
                 FROM {table} ORDER BY store_id"
            ));
            let rows =
                sqlx::query(statement.safe()).fetch_all(warehouse.pool()).await.map_err(failed("read the stores"))?;
            for row in rows {
                let read = || -> Result<Store, sqlx::Error> {
                    Ok(Store {
                        id: row.try_get::<&str, _>("store_id")?.into(),
                        name: row.try_get("store_name")?,
                        region: row.try_get("region")?,
                        closed_on: row.try_get::<Option<NaiveDate>, _>("closed_on")?,
                    })
                };
                stores.push(read().map_err(failed("read the stores"))?);
            }
        }
        tree.brands.push(Brand { id: id.clone(), title: brand.title.clone(), stores });
    }
    Ok(tree)
}

/// Reads everybody, inactive people included, by number.
///
/// # Errors
/// When the warehouse cannot be read.
pub async fn people(warehouse: &Warehouse) -> Result<Vec<Person>, TablesError> {
    find(warehouse, None).await
}

/// Reads one person by address.
pub(super) async fn person(warehouse: &Warehouse, email: &str) -> Result<Option<Person>, TablesError> {
    Ok(find(warehouse, Some(email)).await?.pop())
}

async fn find(warehouse: &Warehouse, email: Option<&str>) -> Result<Vec<Person>, TablesError> {
    let rows = sqlx::query(
        "SELECT p.person_id, p.email, p.first_name, p.last_name, p.language, p.active,
                g.scope, g.level, g.origin
         FROM access.people p
         LEFT JOIN access.grants g USING (person_id)
         WHERE $1::text IS NULL OR p.email = $1
         ORDER BY p.person_id, g.scope, g.origin",
    )
    .bind(email)
    .fetch_all(warehouse.pool())
    .await
    .map_err(failed("read people and grants"))?;
    let mut people: Vec<Person> = Vec::new();
    for row in rows {
        let mut read = || -> Result<(), sqlx::Error> {
            let id: i64 = row.try_get("person_id")?;
            if people.last().is_none_or(|person| person.id != id) {
                people.push(Person {
                    id,
                    email: row.try_get("email")?,
                    first_name: row.try_get("first_name")?,
                    last_name: row.try_get("last_name")?,
                    language: row.try_get("language")?,
                    active: row.try_get("active")?,
                    grants: Vec::new(),
                });
            }
            let Some(scope) = row.try_get::<Option<String>, _>("scope")? else {
                return Ok(());
            };
            let unreadable = |error: String| sqlx::Error::Decode(error.into());
            let grant = Grant {
                scope: scope.parse().map_err(|_| unreadable(format!("scope `{scope}`")))?,
                level: row
                    .try_get::<&str, _>("level")?
                    .parse()
                    .map_err(|error: super::UnknownLevel| unreadable(error.to_string()))?,
                origin: match row.try_get::<&str, _>("origin")? {
                    "import" => Origin::Import,
                    _ => Origin::Hand,
                },
            };
            if let Some(person) = people.last_mut() {
                person.grants.push(grant);
            }
            Ok(())
        };
        read().map_err(failed("read people and grants"))?;
    }
    Ok(people)
}

/// What an import changed.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    pub(super) people_added: u64,
    pub(super) people_changed: u64,
    pub(super) people_left: u64,
    pub(super) grants_added: u64,
    pub(super) grants_changed: u64,
    pub(super) grants_removed: u64,
}

/// The grants of a list, column by column.
pub(super) struct Lines<'a> {
    pub(super) emails: Vec<&'a str>,
    pub(super) scopes: Vec<String>,
    levels: Vec<String>,
}

impl<'a> Lines<'a> {
    pub(super) fn of(listed: &'a [Listed]) -> Self {
        let mut lines = Self { emails: Vec::new(), scopes: Vec::new(), levels: Vec::new() };
        for (person, scope, level) in
            listed.iter().flat_map(|person| person.grants.iter().map(move |(scope, level)| (person, scope, level)))
        {
            lines.emails.push(&person.email);
            lines.scopes.push(scope.to_string());
            lines.levels.push(level.to_string());
        }
        lines
    }
}

/// Writes grants of people who are there, and counts what was new and what changed.
pub(super) async fn write_grants(
    connection: &mut PgConnection,
    lines: &Lines<'_>,
    origin: Origin,
    granted_by: Option<i64>,
    now: DateTime<Utc>,
    replaced: &mut Replaced,
) -> Result<(), TablesError> {
    let written = sqlx::query(
        "INSERT INTO access.grants AS g (person_id, scope, origin, level, granted_at, granted_by)
         SELECT p.person_id, l.scope, $6, l.level, $4, $5
         FROM unnest($1::text[], $2::text[], $3::text[]) AS l(email, scope, level)
         JOIN access.people p USING (email)
         ON CONFLICT (person_id, scope, origin) DO UPDATE
         SET level = EXCLUDED.level, granted_at = EXCLUDED.granted_at, granted_by = EXCLUDED.granted_by
         WHERE g.level <> EXCLUDED.level
         RETURNING xmax = 0 AS added",
    )
    .bind(&lines.emails)
    .bind(&lines.scopes)
    .bind(&lines.levels)
    .bind(now)
    .bind(granted_by)
    .bind(origin.text())
    .fetch_all(connection)
    .await
    .map_err(failed("write grants"))?;
    for row in &written {
        match row.try_get("added").map_err(failed("write grants"))? {
            true => replaced.grants_added += 1,
            false => replaced.grants_changed += 1,
        }
    }
    Ok(())
}

/// Puts a list in place of what an earlier one brought, in one transaction.
pub(super) async fn replace(
    warehouse: &Warehouse,
    listed: &[Listed],
    source_name: &str,
    content_hash: &str,
    now: DateTime<Utc>,
) -> Result<Replaced, TablesError> {
    let mut transaction = warehouse.pool().begin().await.map_err(failed("start an import"))?;
    let connection = &mut *transaction;
    // Two imports at once would each take back what the other brought.
    sqlx::query("LOCK TABLE access.grants IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *connection)
        .await
        .map_err(failed("wait for another import"))?;
    let mut replaced = Replaced::default();
    let column = |value: fn(&Listed) -> &str| listed.iter().map(value).collect::<Vec<_>>();
    let languages: Vec<Option<&str>> = listed.iter().map(|person| person.language.as_deref()).collect();
    let written = sqlx::query(
        "INSERT INTO access.people AS p (email, first_name, last_name, language, active, changed_at)
         SELECT l.email, l.first_name, l.last_name, l.language, true, $5
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS l(email, first_name, last_name, language)
         ORDER BY l.email
         ON CONFLICT (email) DO UPDATE
         SET first_name = EXCLUDED.first_name, last_name = EXCLUDED.last_name,
             language = EXCLUDED.language, changed_at = EXCLUDED.changed_at
         WHERE (p.first_name, p.last_name, p.language)
               IS DISTINCT FROM (EXCLUDED.first_name, EXCLUDED.last_name, EXCLUDED.language)
         RETURNING xmax = 0 AS added",
    )
    .bind(column(|person| &person.email))
    .bind(column(|person| &person.first_name))
    .bind(column(|person| &person.last_name))
    .bind(&languages)
    .bind(now)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed("write people"))?;
    for row in &written {
        match row.try_get("added").map_err(failed("write people"))? {
            true => replaced.people_added += 1,
            false => replaced.people_changed += 1,
        }
    }
    let lines = Lines::of(listed);
    replaced.grants_removed = sqlx::query(
        "DELETE FROM access.grants g
         USING access.people p
         WHERE p.person_id = g.person_id AND g.origin = 'import'
           AND (p.email, g.scope) NOT IN (SELECT * FROM unnest($1::text[], $2::text[]))",
    )
    .bind(&lines.emails)
    .bind(&lines.scopes)
    .execute(&mut *connection)
    .await
    .map_err(failed("take back grants"))?
    .rows_affected();
    write_grants(connection, &lines, Origin::Import, None, now, &mut replaced).await?;
    replaced.people_left = follow_grants(connection, now).await?;
    sqlx::query(
        "INSERT INTO access.imports (source_name, content_hash, people, grants, imported_at)
         SELECT $1, $2, $3, $4, $5
         WHERE $2 IS DISTINCT FROM (SELECT content_hash FROM access.imports ORDER BY import_id DESC LIMIT 1)",
    )
    .bind(source_name)
    .bind(content_hash)
    .bind(listed.len() as i64)
    .bind(lines.emails.len() as i64)
    .bind(now)
    .execute(&mut *connection)
    .await
    .map_err(failed("note the import"))?;
    transaction.commit().await.map_err(failed("finish an import"))?;
    Ok(replaced)
}

/// Makes people active or inactive as their grants say; tells how many left.
pub(super) async fn follow_grants(connection: &mut PgConnection, now: DateTime<Utc>) -> Result<u64, TablesError> {
    let changed = sqlx::query(
        "UPDATE access.people p SET active = NOT p.active, changed_at = $1
         WHERE p.active <> EXISTS (SELECT FROM access.grants g WHERE g.person_id = p.person_id)
         RETURNING p.active",
    )
    .bind(now)
    .fetch_all(connection)
    .await
    .map_err(failed("mark who left"))?;
    let mut left = 0;
    for row in &changed {
        if !row.try_get::<bool, _>("active").map_err(failed("mark who left"))? {
            left += 1;
        }
    }
    Ok(left)
}

/// Gives a grant by hand; makes the person where she is unknown.
pub(super) async fn give(
    warehouse: &Warehouse,
    email: &str,
    scope: &Scope,
    level: Level,
    now: DateTime<Utc>,
) -> Result<bool, TablesError> {
    let mut transaction = warehouse.pool().begin().await.map_err(failed("give a grant"))?;
    sqlx::query(
        "INSERT INTO access.people (email, active, changed_at) VALUES ($1, true, $2) ON CONFLICT (email) DO NOTHING",
    )
    .bind(email)
    .bind(now)
    .execute(&mut *transaction)
    .await
    .map_err(failed("write a person"))?;
    let changed = sqlx::query(
        "INSERT INTO access.grants AS g (person_id, scope, origin, level, granted_at)
         SELECT person_id, $2, $3, $4, $5 FROM access.people WHERE email = $1
         ON CONFLICT (person_id, scope, origin) DO UPDATE
         SET level = EXCLUDED.level, granted_at = EXCLUDED.granted_at
         WHERE g.level <> EXCLUDED.level",
    )
    .bind(email)
    .bind(scope.to_string())
    .bind(Origin::Hand.text())
    .bind(level.to_string())
    .bind(now)
    .execute(&mut *transaction)
    .await
    .map_err(failed("give a grant"))?
    .rows_affected();
    follow_grants(&mut transaction, now).await?;
    transaction.commit().await.map_err(failed("give a grant"))?;
    Ok(changed > 0)
}

/// Takes a grant back that was given by hand.
pub(super) async fn take_back(
    warehouse: &Warehouse,
    email: &str,
    scope: &Scope,
    now: DateTime<Utc>,
) -> Result<bool, TablesError> {
    let mut transaction = warehouse.pool().begin().await.map_err(failed("take a grant back"))?;
    let removed = sqlx::query(
        "DELETE FROM access.grants g USING access.people p
         WHERE p.person_id = g.person_id AND p.email = $1 AND g.scope = $2 AND g.origin = $3",
    )
    .bind(email)
    .bind(scope.to_string())
    .bind(Origin::Hand.text())
    .execute(&mut *transaction)
    .await
    .map_err(failed("take a grant back"))?
    .rows_affected();
    follow_grants(&mut transaction, now).await?;
    transaction.commit().await.map_err(failed("take a grant back"))?;
    Ok(removed > 0)
}
