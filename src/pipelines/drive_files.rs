//! Fetches what a folder of a drive holds that was not read before, and moves aside
//! what was.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use futures::stream::{FuturesUnordered, StreamExt as _};
use tracing::{info, warn};

use super::acquire::{Acquired, Doors, Wish, place};
use super::definition::{After, DriveMode};
use super::error::Error;
use super::item_tables::{self, Holder};
use super::items::{Aside, Coverage, Item, Seen, State, Update, compare};
use super::tables;
use crate::ids::{BrandId, PipelineName};
use crate::settings::MismatchedText;
use crate::sources::{self, Drive, Fetched, Moved, RemoteFile};
use crate::warehouse::Warehouse;

/// The folder that read files move to, beside them.
const ASIDE: &str = "Archive";
/// Where it is kept that the application may not write, so that it is said once.
const READ_ONLY: &str = "archive: read only";

/// A drive that was looked at: what is known of its files now, and which of them move aside.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) drive: Drive,
    pub(super) drive_id: String,
    pub(super) updates: Vec<Update>,
    /// Read before this run, and still to be moved.
    late: Vec<RemoteFile>,
    /// Whether files move aside at all.
    moves: bool,
    waited_before: std::time::Duration,
}

impl Looked {
    /// Enters a file whose content is loaded, by this run or an earlier one.
    pub(super) fn read(&mut self, file: &Fetched) {
        let Some(remote) = &file.remote else { return };
        self.updates.push(Update::Keep(Item {
            item_id: remote.item_id.clone(),
            name: remote.name.clone(),
            state: State::Read,
            version: Some(remote.version.clone()),
            content_hash: Some(file.content_hash.clone()),
            absences: 0,
            aside: self.moves.then_some(Aside::Due),
            loaded_on: None,
        }));
        if self.moves && !self.late.iter().any(|late| late.item_id == remote.item_id) {
            self.late.push(remote.clone());
        }
    }
}

impl Looked {
    /// Takes back files whose content was refused: they are read again, and stay where they are.
    pub(super) fn refuse(&mut self, content_hashes: &BTreeSet<String>) {
        for update in &mut self.updates {
            let Update::Keep(item) = update else { continue };
            if item.content_hash.as_ref().is_some_and(|hash| content_hashes.contains(hash)) {
                self.late.retain(|late| late.item_id != item.item_id);
                (item.state, item.version, item.content_hash, item.aside) = (State::Pending, None, None, None);
            }
        }
    }
}

impl Doors {
    /// Looks at the drive and fetches what is new.
    pub(super) async fn drive_files(&self, wish: &Wish<'_>, acquired: &mut Acquired) -> Result<(), Error> {
        let source = &wish.pipeline.definition.source;
        let accepted = self.limits().mismatched_text == MismatchedText::Accept;
        let drive = self.drive(wish.brand)?.accepting_mismatches(accepted);
        let waited_before = drive.waited();
        let drive_id = drive.resolve().await.map_err(Error::Source)?.id.clone();
        let of = Holder { pipeline: &wish.pipeline.name, brand: wish.brand, drive_id: &drive_id };
        let mut known = item_tables::items(wish.warehouse, of).await?;
        let (seen, folder_id) = match source.mode {
            DriveMode::Listing => {
                let (folder, pattern) = place(source);
                let listing = drive.list(folder, pattern).await.map_err(Error::Source)?;
                acquired.notes.extend(listing.notes);
                let seen = Seen {
                    files: listing.files,
                    present: listing.present,
                    away: Default::default(),
                    left: Vec::new(),
                    coverage: Coverage::Listing,
                };
                (seen, None)
            }
            DriveMode::Delta => {
                let again = known.values().filter(|item| item.state == State::Pending);
                let again: Vec<String> = again.map(|item| item.item_id.clone()).collect();
                let (seen, folder_id) = self.changed(wish, &drive, &drive_id, &again, acquired).await?;
                (seen, Some(folder_id))
            }
        };
        let mut updates = own_moves(&drive, &mut known, &seen).await?;
        let verdict = compare(&known, &seen, wish.full);
        acquired.notes.extend(verdict.notes);
        updates.extend(verdict.updates);
        let moves = source.after == After::Archive;
        let mut late = Vec::new();
        if moves {
            for item in known.values().filter(|item| item.aside == Some(Aside::Due) && item.state == State::Read) {
                late.extend(late_file(item, &drive_id, &seen, folder_id.as_deref()));
            }
        }
        let wanted = self.settled(&drive, verdict.fetch, wish.now, &known, &mut updates, acquired).await?;
        let limit = self.limits().concurrent_downloads.max(1);
        let mut waiting = wanted.into_iter();
        let mut going = FuturesUnordered::new();
        loop {
            while going.len() < limit {
                let Some(file) = waiting.next() else { break };
                going.push(self.fetch_one(&drive, file, wish));
            }
            let Some((file, outcome)) = going.next().await else { break };
            match outcome {
                Ok(fetched) => acquired.files.push(fetched),
                // One file that is not there, or not now, does not hold up the others.
                Err(
                    error @ (sources::Error::FileVanished { .. }
                    | sources::Error::Infected { .. }
                    | sources::Error::KeepsChanging { .. }),
                ) => {
                    let note = crate::telemetry::chain(&error);
                    warn!(note, "left a file out");
                    acquired.notes.push(format!("{note}; it was left out"));
                    updates.push(pending(&file, &known));
                }
                Err(error) => return Err(Error::Source(error)),
            }
        }
        drop(going);
        acquired.looked = Some(Looked { drive, drive_id, updates, late, moves, waited_before });
        Ok(())
    }

    async fn fetch_one(
        &self,
        drive: &Drive,
        file: RemoteFile,
        wish: &Wish<'_>,
    ) -> (RemoteFile, Result<Fetched, sources::Error>) {
        let outcome = drive.fetch(&file, self.limits().file_limit_bytes, wish.into).await;
        (file, outcome)
    }

    /// Reads the feed of changes from where the last load left it.
    async fn changed(
        &self,
        wish: &Wish<'_>,
        drive: &Drive,
        drive_id: &str,
        again: &[String],
        acquired: &mut Acquired,
    ) -> Result<(Seen, String), Error> {
        let (folder, pattern) = place(&wish.pipeline.definition.source);
        let name = &wish.pipeline.name;
        // The path serves to find the folder once; renaming it then does no harm.
        let folder_place = format!("folder {drive_id} {folder}");
        let kept = tables::cursor(wish.warehouse, name, wish.brand, &folder_place).await?;
        let kept = match kept {
            Some(id) if drive.has_folder(&id).await.map_err(Error::Source)? => Some(id),
            _ => None,
        };
        let folder_id = match kept {
            Some(id) => id,
            None => drive.folder_id(folder).await.map_err(Error::Source)?,
        };
        // Another pattern wants files that the feed will not mention again.
        let link_place = format!("delta {drive_id} {folder_id} {pattern}");
        let link = if wish.full { None } else { tables::cursor(wish.warehouse, name, wish.brand, &link_place).await? };
        let changes = drive.changes(&folder_id, pattern, link.as_deref(), again).await.map_err(Error::Source)?;
        acquired.notes.extend(changes.notes);
        acquired.cursors.push((folder_place, folder_id.clone()));
        acquired.cursors.push((link_place, changes.link));
        let coverage = if changes.whole { Coverage::Whole } else { Coverage::Changes };
        let seen =
            Seen { files: changes.files, present: changes.present, away: changes.away, left: changes.left, coverage };
        Ok((seen, folder_id))
    }

    /// Sorts out files that somebody may still be writing to: they are looked at
    /// twice, so many seconds apart, and must be the same both times. A file whose last
    /// modification, by the service's own clock, lies further back was the same all that
    /// time: the one look that found it is its second.
    async fn settled(
        &self,
        drive: &Drive,
        files: Vec<RemoteFile>,
        now: DateTime<Utc>,
        known: &BTreeMap<String, Item>,
        updates: &mut Vec<Update>,
        acquired: &mut Acquired,
    ) -> Result<Vec<RemoteFile>, Error> {
        let seconds = self.limits().settle_seconds;
        let bound = now - TimeDelta::seconds(i64::from(seconds));
        let is_young = |file: &RemoteFile| seconds > 0 && file.modified_at.is_none_or(|at| at > bound);
        let (young, mut settled): (Vec<_>, Vec<_>) = files.into_iter().partition(is_young);
        if young.is_empty() {
            return Ok(settled);
        }
        info!(files = young.len(), seconds, "waiting for files to settle");
        tokio::time::sleep(std::time::Duration::from_secs(u64::from(seconds))).await;
        for file in young {
            let fresh = match drive.look(&file).await {
                Ok(fresh) => Some(fresh),
                Err(sources::Error::FileVanished { .. }) => None,
                Err(error) => return Err(Error::Source(error)),
            };
            match fresh {
                Some(fresh) if fresh.version == file.version && fresh.size_bytes == file.size_bytes => {
                    settled.push(fresh);
                }
                _ => {
                    acquired.notes.push(format!("`{}`: still being written; the next run looks again", file.name));
                    updates.push(pending(&file, known));
                }
            }
        }
        Ok(settled)
    }

    /// Moves files aside whose rows are in. What could not be moved is a note, and is
    /// tried again by the next run; nothing here changes what was loaded.
    pub(super) async fn put_aside(
        &self,
        warehouse: &Warehouse,
        pipeline: &PipelineName,
        brand: &BrandId,
        looked: &Looked,
        now: DateTime<Utc>,
    ) -> Vec<String> {
        let mut notes = Vec::new();
        let of = Holder { pipeline, brand, drive_id: &looked.drive_id };
        for file in &looked.late {
            let moved = looked.drive.archive(file, ASIDE, now).await;
            let forbidden = moved == Moved::Forbidden;
            match self.note_move(warehouse, of, file, moved, now).await {
                Ok(note) => notes.extend(note),
                Err(error) => notes.push(crate::telemetry::chain(&error)),
            }
            if forbidden {
                break;
            }
        }
        for note in &notes {
            warn!(note, "archiving failed");
        }
        let waited = looked.drive.waited().saturating_sub(looked.waited_before);
        if waited >= std::time::Duration::from_secs(1) {
            notes.push(format!("Microsoft Graph asked for pauses of {:.1} seconds in all", waited.as_secs_f64()));
        }
        notes
    }

    async fn note_move(
        &self,
        warehouse: &Warehouse,
        of: Holder<'_>,
        file: &RemoteFile,
        moved: Moved,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, Error> {
        let query = |source| Error::Ledger { action: "note what was moved aside", source };
        let mut connection = warehouse.pool().acquire().await.map_err(query)?;
        match moved {
            Moved::Done => {
                item_tables::moved_aside(&mut connection, of, &file.item_id).await?;
                tables::drop_cursor(&mut connection, of.pipeline, of.brand, READ_ONLY).await?;
                Ok(None)
            }
            Moved::NotNow(reason) => Ok(Some(format!("`{}` was not moved to `{ASIDE}`: {reason}", file.name))),
            Moved::Forbidden => {
                let said = tables::cursor(warehouse, of.pipeline, of.brand, READ_ONLY).await?.is_some();
                tables::keep_cursor(&mut connection, of.pipeline, of.brand, READ_ONLY, of.drive_id, now).await?;
                Ok((!said).then(|| {
                    format!(
                        "files stay where they are instead of moving to `{ASIDE}`: the application may read but not write. \
                         Grant it write on the site (`Sites.Selected`), or say `after = \"keep\"`; this is said once"
                    )
                }))
            }
        }
    }
}

/// Finds files that an earlier run moved without hearing that it did.
async fn own_moves(drive: &Drive, known: &mut BTreeMap<String, Item>, seen: &Seen) -> Result<Vec<Update>, Error> {
    let mut updates = Vec::new();
    for item in known.values_mut() {
        let missing = !seen.present.contains_key(&item.item_id)
            && (seen.coverage != Coverage::Changes || seen.away.contains(&item.item_id));
        let Some(version) = item.version.as_deref().filter(|_| missing && item.aside == Some(Aside::Due)) else {
            continue;
        };
        if item.state == State::Read && drive.was_archived(&item.item_id, version).await.map_err(Error::Source)? {
            item.aside = Some(Aside::Done);
            updates.push(Update::Keep(item.clone()));
        }
    }
    Ok(updates)
}

/// A file that was read earlier and is still to be moved, where it is still there.
fn late_file(item: &Item, drive_id: &str, seen: &Seen, folder_id: Option<&str>) -> Option<RemoteFile> {
    let version = item.version.clone()?;
    let listed = seen.files.iter().find(|file| file.item_id == item.item_id);
    match listed {
        Some(file) => (file.version == version && item.loaded_on.is_some()).then(|| file.clone()),
        // The feed is silent about what stayed as it was.
        None if folder_id.is_some() && !seen.away.contains(&item.item_id) => Some(RemoteFile {
            drive_id: drive_id.to_owned(),
            item_id: item.item_id.clone(),
            folder_id: folder_id.map(str::to_owned),
            name: item.name.clone(),
            version,
            size_bytes: 0,
            modified_at: None,
            modified_by: None,
            quick_xor_hash: None,
        }),
        None => None,
    }
}

/// A file that was left out: the feed need not mention it again.
fn pending(file: &RemoteFile, known: &BTreeMap<String, Item>) -> Update {
    let known = known.get(&file.item_id);
    Update::Keep(Item {
        item_id: file.item_id.clone(),
        name: file.name.clone(),
        state: State::Pending,
        version: known.and_then(|item| item.version.clone()),
        content_hash: known.and_then(|item| item.content_hash.clone()),
        absences: 0,
        aside: None,
        loaded_on: known.and_then(|item| item.loaded_on),
    })
}
