//! Writes grants in the name of an owner, and changes addresses.

use chrono::{DateTime, Utc};

use super::people::Listed;
use super::tables::{Lines, Origin, Replaced, TablesError, failed, follow_grants, write_grants};
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
    let lines = Lines::of(listed);
    if take_back {
        replaced.grants_removed = sqlx::query(
            "DELETE FROM access.grants g
             USING access.people p
             WHERE p.person_id = g.person_id AND g.origin = 'hand' AND g.granted_by = $3
               AND (p.email, g.scope) NOT IN (SELECT * FROM unnest($1::text[], $2::text[]))",
        )
        .bind(&lines.emails)
        .bind(&lines.scopes)
        .bind(owner)
        .execute(&mut *connection)
        .await
        .map_err(failed("take back grants"))?
        .rows_affected();
    }
    write_grants(connection, &lines, Origin::Hand, Some(owner), now, &mut replaced).await?;
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
