//! What changed in a table since it was read last, deletes included.

use std::path::Path;

use super::dataverse::{Dataverse, TableQuery};
use super::dataverse_walk::{Told, Walk, Walked};
use super::error::Error;
use super::file::Fetched;

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
                Told::All(next) => {
                    let Walked { fetched, ids, deleted } = walk.finish().await?;
                    return Ok(TableChanges {
                        fetched,
                        ids,
                        deleted,
                        complete: false,
                        link: Some((place, next)),
                        notes,
                    });
                }
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
        let path = if reading.tracks_changes { reading.tracked_path() } else { reading.path() };
        let next = walk.whole(&path, reading.tracks_changes).await?;
        let Walked { fetched, ids, .. } = walk.finish().await?;
        let link = next.map(|next| (place, next));
        Ok(TableChanges { fetched, ids, deleted: Vec::new(), complete: true, link, notes })
    }
}
