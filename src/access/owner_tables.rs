//! Writes grants in the name of an owner, and changes addresses.

use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::people::Listed;
use super::tables::{Replaced, TablesError, failed, follow_grants};
use crate::warehouse::Warehouse;

/// Gives every grant of a list by hand in an owner's name, in one transaction;
/// takes back what she gave before and the list does not have, where asked.
pub(super) async fn give_all(
    warehouse: &Warehouse,
    owner: i64,
    listed: &[Listed],
    take_back: bool,
    now: DateTime<Utc>,
) -> Result<Replaced, TablesError> {
    let mut transaction = warehouse.pool().begin().await.map_err(failed("start to give grants"))?;
    let connection = &mut *transaction;
    sqlx::query("LOCK TABLE access.grants IN SHARE ROW EXCLUSIVE MODE")
        .execute(&mut *connection)
        .await
        .map_err(failed("wait for an import"))?;
    let column = |value: fn(&Listed) -> &str| listed.iter().map(value).collect::<Vec<_>>();
    let languages: Vec<Option<&str>> = listed.iter().map(|person| person.language.as_deref()).collect();
    // Whoever is known keeps her name: it is not this owner's to change.
    let people_added = sqlx::query(
        "INSERT INTO access.people (email, first_name, last_name, language, active, changed_at)
         SELECT l.email, l.first_name, l.last_name, l.language, true, $5
         FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS l(email, first_name, last_name, language)
         ORDER BY l.email
         ON CONFLICT (email) DO NOTHING",
    )
    .bind(column(|person| &person.email))
    .bind(column(|person| &person.first_name))
    .bind(column(|person| &person.last_name))
    .bind(&languages)
    .bind(now)
    .execute(&mut *connection)
    .await
    .map_err(failed("write people"))?
    .rows_affected();
    let mut replaced = Replaced { people_added, ..Replaced::default() };
    let lines: Vec<(&str, String, String)> = listed
        .iter()
        .flat_map(|person| person.grants.iter().map(move |(scope, level)| (person, scope, level)))
        .map(|(person, scope, level)| (person.email.as_str(), scope.to_string(), level.to_string()))
        .collect();
    let emails: Vec<&str> = lines.iter().map(|line| line.0).collect();
    let scopes: Vec<&str> = lines.iter().map(|line| line.1.as_str()).collect();
    let levels: Vec<&str> = lines.iter().map(|line| line.2.as_str()).collect();
    if take_back {
        replaced.grants_removed = sqlx::query(
            "DELETE FROM access.grants g
             USING access.people p
             WHERE p.person_id = g.person_id AND g.origin = 'hand' AND g.granted_by = $3
               AND (p.email, g.scope) NOT IN (SELECT * FROM unnest($1::text[], $2::text[]))",
        )
        .bind(&emails)
        .bind(&scopes)
        .bind(owner)
        .execute(&mut *connection)
        .await
        .map_err(failed("take back grants"))?
        .rows_affected();
    }
    let written = sqlx::query(
        "INSERT INTO access.grants AS g (person_id, scope, origin, level, granted_at, granted_by)
         SELECT p.person_id, l.scope, 'hand', l.level, $4, $5
         FROM unnest($1::text[], $2::text[], $3::text[]) AS l(email, scope, level)
         JOIN access.people p USING (email)
         ON CONFLICT (person_id, scope, origin) DO UPDATE
         SET level = EXCLUDED.level, granted_at = EXCLUDED.granted_at, granted_by = EXCLUDED.granted_by
         WHERE g.level <> EXCLUDED.level
         RETURNING xmax = 0 AS added",
    )
    .bind(&emails)
    .bind(&scopes)
    .bind(&levels)
    .bind(now)
    .bind(owner)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed("write grants"))?;
    for row in &written {
        match row.try_get("added").map_err(failed("write grants"))? {
            true => replaced.grants_added += 1,
            false => replaced.grants_changed += 1,
        }
    }
    replaced.people_left = follow_grants(connection, now).await?;
    transaction.commit().await.map_err(failed("finish to give grants"))?;
    Ok(replaced)
}

/// Gives a person another address; `false` where somebody else has it.
pub(super) async fn change_address(
    warehouse: &Warehouse,
    person: i64,
    to: &str,
    now: DateTime<Utc>,
) -> Result<bool, TablesError> {
    let changed = sqlx::query(
        "UPDATE access.people p SET email = $2, changed_at = $3
         WHERE p.person_id = $1 AND NOT EXISTS (SELECT FROM access.people o WHERE o.email = $2 AND o.person_id <> $1)",
    )
    .bind(person)
    .bind(to)
    .bind(now)
    .execute(warehouse.pool())
    .await
    .map_err(failed("change an address"))?;
    Ok(changed.rows_affected() > 0)
}
