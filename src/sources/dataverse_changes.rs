//! What changed in a table since it was read last, deletes included.

use std::path::Path;

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use super::dataverse::{Dataverse, TableQuery, prepared};
use super::dataverse_columns::{Picked, Reading};
use super::dataverse_walk::{Told, Walk, Walked};
use super::error::Error;
use super::file::Fetched;
use super::service::read;

/// Rows of a table that are new or changed, and ids of rows that are gone.
#[derive(Debug, Clone)]
pub struct TableChanges {
    /// The rows, one JSON object a line; the file may be empty.
    pub fetched: Fetched,
    /// Line from 1 and id of each of them.
    pub ids: Vec<(i64, String)>,
    /// Ids of deleted rows, of some that were never seen too.
    pub deleted: Vec<String>,
    /// Whether the rows are all that there are: then every other row is gone.
    pub complete: bool,
    /// What to go on from, and the place that it is kept under; `None` where
    /// the table keeps no track of its changes.
    pub link: Option<(String, String)>,
    /// What people should know.
    pub notes: Vec<String>,
}

/// Rows of a question about a column.
#[derive(Deserialize)]
struct Rows {
    value: Vec<Value>,
}

impl Dataverse {
    /// Names the place under which the link of a query is kept. Another place is
    /// named once the columns, their labels or the environment are others, for a
    /// link tells only of rows that changed.
    ///
    /// # Errors
    /// When the table or a column is missing.
    pub async fn place(&self, query: &TableQuery) -> Result<String, Error> {
        let reading = self.reading(query).await?;
        Ok(format!("{} {}", query.entity_set, reading.fingerprint(self.service.base())))
    }

    /// Writes the rows that changed since `link` into a file, one JSON object a
    /// line as [`Dataverse::fetch_table`] does. Without a link, or with one that
    /// is no longer of use, all rows come.
    ///
    /// # Errors
    /// When a page did not come, is none, or leads elsewhere.
    pub async fn fetch_changes(
        &self,
        query: &TableQuery,
        link: Option<&str>,
        into: &Path,
        limit_bytes: u64,
    ) -> Result<TableChanges, Error> {
        let reading = self.reading(query).await?;
        let place = format!("{} {}", query.entity_set, reading.fingerprint(self.service.base()));
        if reading.primary_id.is_none() {
            let message = "its definition may not be read, and without it deleted rows cannot be told".to_owned();
            return Err(Error::Query { entity_set: query.entity_set.clone(), message });
        }
        let mut notes = Vec::new();
        if let (Some(link), true) = (link, reading.tracks_changes) {
            let mut walk = Walk::new(self, &reading, into, limit_bytes).await?;
            match walk.changes(link).await? {
                Told::All(next) => match self.unreadable(&reading, walk.withheld()).await? {
                    None => {
                        let Walked { fetched, ids, deleted } = walk.finish().await?;
                        let link = Some((place, next));
                        return Ok(TableChanges { fetched, ids, deleted, complete: false, link, notes });
                    }
                    // A few changed rows prove nothing of a column; all rows do, and then it is refused.
                    Some(column) => notes.push(format!(
                        "table `{}` was read whole again: secured column `{column}` came empty in every changed row",
                        query.entity_set
                    )),
                },
                Told::Lost(reason) => {
                    notes.push(format!("table `{}` was read whole again: {reason}", query.entity_set));
                }
            }
        }
        if !reading.tracks_changes {
            notes.push(format!(
                "table `{}` was read whole: change tracking is not enabled for it in Dataverse",
                query.entity_set
            ));
        }
        let mut walk = Walk::new(self, &reading, into, limit_bytes).await?;
        // Only here, where every row comes, does an empty column say that it may not be read.
        let path = if reading.tracks_changes { reading.tracked_path() } else { reading.path() };
        let next = walk.whole(&path, reading.tracks_changes).await?;
        let Walked { fetched, ids, .. } = walk.finish().await?;
        let link = next.map(|next| (place, next));
        Ok(TableChanges { fetched, ids, deleted: Vec::new(), complete: true, link, notes })
    }

    /// The first of these secured columns that no row at all shows a value of: written on, its
    /// nulls would go over what stands in the warehouse.
    async fn unreadable(
        &self,
        reading: &Reading,
        columns: impl Iterator<Item = &Picked>,
    ) -> Result<Option<String>, Error> {
        for column in columns {
            let operation = format!("read column `{}` of table `{}`", column.name, reading.entity_set);
            let property = &column.property;
            let set = &reading.entity_set;
            let path = format!("/api/data/v9.2/{set}?$select={property}&$filter={property}%20ne%20null&$top=1");
            let request = prepared(self.service.request(&operation, Method::GET, &path)?);
            let response = self.ask(&operation, request).await?;
            let rows: Option<Rows> =
                (response.status.as_u16() == 200).then(|| read(&operation, &response.body)).transpose()?;
            let shown = rows.is_some_and(|rows| rows.value.iter().any(|row| !row[property.as_str()].is_null()));
            if !shown {
                return Ok(Some(column.name.clone()));
            }
        }
        Ok(None)
    }
}
