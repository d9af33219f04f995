//! What is known of each file of a drive, in PostgreSQL.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Row as _};

use super::error::Error;
use super::items::{Aside, Item, State, Update};
use crate::ids::{BrandId, PipelineName};
use crate::warehouse::Warehouse;

/// A pipeline of a brand and the drive it reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Holder<'a> {
    pub(super) pipeline: &'a PipelineName,
    pub(super) brand: &'a BrandId,
    pub(super) drive_id: &'a str,
}

fn failed(action: &'static str) -> impl Fn(sqlx::Error) -> Error + Copy {
    move |source| Error::Ledger { action, source }
}

/// Reads what is known of a drive's files, by their ids.
pub(super) async fn items(warehouse: &Warehouse, of: Holder<'_>) -> Result<BTreeMap<String, Item>, Error> {
    let rows = sqlx::query(
        "SELECT i.item_id, i.name, i.state, i.version, i.content_hash, i.absences, i.archive,
                (SELECT max(l.committed_at)::date FROM ops.files f JOIN ops.loads l USING (load_id)
                 WHERE f.pipeline = i.pipeline AND f.brand = i.brand AND f.content_hash = i.content_hash
                   AND NOT f.released) AS loaded_on
         FROM ops.drive_items i WHERE i.pipeline = $1 AND i.brand = $2 AND i.drive_id = $3",
    )
    .bind(&of.pipeline.0)
    .bind(&of.brand.0)
    .bind(of.drive_id)
    .fetch_all(warehouse.pool())
    .await
    .map_err(failed("look the drive's files up in the ledger"))?;
    let item = |row: &sqlx::postgres::PgRow| Item {
        item_id: row.get("item_id"),
        name: row.get("name"),
        state: match row.get("state") {
            "pending" => State::Pending,
            "gone" => State::Gone,
            _ => State::Read,
        },
        version: row.get("version"),
        content_hash: row.get("content_hash"),
        absences: row.get("absences"),
        aside: match row.get("archive") {
            Some("due") => Some(Aside::Due),
            Some("done") => Some(Aside::Done),
            _ => None,
        },
        loaded_on: row.get("loaded_on"),
    };
    Ok(rows.iter().map(item).map(|item| (item.item_id.clone(), item)).collect())
}

/// Writes what is known now, on the connection of the load that goes with it.
pub(super) async fn keep(
    connection: &mut PgConnection,
    of: Holder<'_>,
    updates: &[Update],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    for update in updates {
        match update {
            Update::Keep(item) => keep_one(connection, of, item, now).await?,
            Update::Forget(item_id) => forget_one(connection, of, item_id).await?,
        }
    }
    Ok(())
}

async fn keep_one(connection: &mut PgConnection, of: Holder<'_>, item: &Item, now: DateTime<Utc>) -> Result<(), Error> {
    let state = match item.state {
        State::Pending => "pending",
        State::Read => "read",
        State::Gone => "gone",
    };
    let archive = item.aside.map(|aside| match aside {
        Aside::Due => "due",
        Aside::Done => "done",
    });
    sqlx::query(
        "INSERT INTO ops.drive_items AS i (pipeline, brand, drive_id, item_id, name, state, version, content_hash,
                                           absences, gone_at, archive, seen_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $6 = 'gone' THEN $11 END, $10, $11)
         ON CONFLICT (pipeline, brand, drive_id, item_id) DO UPDATE
         SET name = EXCLUDED.name, state = EXCLUDED.state, version = EXCLUDED.version,
             content_hash = EXCLUDED.content_hash, absences = EXCLUDED.absences,
             gone_at = CASE WHEN EXCLUDED.state = 'gone' THEN coalesce(i.gone_at, EXCLUDED.gone_at) END,
             archive = EXCLUDED.archive, seen_at = EXCLUDED.seen_at",
    )
    .bind(&of.pipeline.0)
    .bind(&of.brand.0)
    .bind(of.drive_id)
    .bind(&item.item_id)
    .bind(&item.name)
    .bind(state)
    .bind(&item.version)
    .bind(&item.content_hash)
    .bind(item.absences)
    .bind(archive)
    .bind(now)
    .execute(connection)
    .await
    .map_err(failed("keep what is known of the drive's files"))?;
    Ok(())
}

async fn forget_one(connection: &mut PgConnection, of: Holder<'_>, item_id: &str) -> Result<(), Error> {
    sqlx::query("DELETE FROM ops.drive_items WHERE pipeline = $1 AND brand = $2 AND drive_id = $3 AND item_id = $4")
        .bind(&of.pipeline.0)
        .bind(&of.brand.0)
        .bind(of.drive_id)
        .bind(item_id)
        .execute(connection)
        .await
        .map_err(failed("forget a file of the drive"))?;
    Ok(())
}

/// Notes that a file was moved aside.
pub(super) async fn moved_aside(connection: &mut PgConnection, of: Holder<'_>, item_id: &str) -> Result<(), Error> {
    sqlx::query(
        "UPDATE ops.drive_items SET archive = 'done'
         WHERE pipeline = $1 AND brand = $2 AND drive_id = $3 AND item_id = $4",
    )
    .bind(&of.pipeline.0)
    .bind(&of.brand.0)
    .bind(of.drive_id)
    .bind(item_id)
    .execute(connection)
    .await
    .map_err(failed("note that a file was moved aside"))?;
    Ok(())
}
