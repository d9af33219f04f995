//! Decides what became of a drive's files since they were seen last. Pure.
//!
//! A file is known by its id, which survives renaming. It is gone when the drive
//! says so, when an enumeration of everything lacks it, or when two listings in a
//! row do: one listing may leave out what is there. Gone is a note and a state;
//! the rows stay.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;

use crate::sources::RemoteFile;

/// Listings in a row that must lack a file before it counts as gone.
const ABSENCES: i32 = 2;

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Left out for now: to be looked at again, whether or not it changes.
    Pending,
    /// Its content was loaded.
    Read,
    /// It was loaded and is no longer in the folder.
    Gone,
}

/// Whether a file is moved aside once it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Aside {
    /// It is to be moved.
    Due,
    /// It was moved.
    Done,
}

/// A file of a drive as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) item_id: String,
    pub(super) name: String,
    pub(super) state: State,
    /// Tag and hash of the content that was read, where any was.
    pub(super) version: Option<String>,
    pub(super) content_hash: Option<String>,
    pub(super) absences: i32,
    pub(super) aside: Option<Aside>,
    /// The day on which that content was loaded; none where no load has it (any more).
    pub(super) loaded_on: Option<NaiveDate>,
}

/// A change of what is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Update {
    Keep(Item),
    Forget(String),
}

/// How much a look at a drive says about what it does not mention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coverage {
    /// A listing: what is missing may be there all the same.
    Listing,
    /// Changes: what is missing did not change.
    Changes,
    /// An enumeration of all there is: what is missing is gone.
    Whole,
}

/// What a look at a folder of a drive showed.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) files: Vec<RemoteFile>,
    pub(super) present: BTreeMap<String, String>,
    pub(super) away: BTreeSet<String>,
    /// Left out for now, and not sure to be mentioned again.
    pub(super) left: Vec<String>,
    pub(super) coverage: Coverage,
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) fetch: Vec<RemoteFile>,
    pub(super) updates: Vec<Update>,
    pub(super) notes: Vec<String>,
}

/// Compares what is known with what was seen; with `full` everything is fetched.
pub(super) fn compare(known: &BTreeMap<String, Item>, seen: &Seen, full: bool) -> Verdict {
    let mut verdict = Verdict::default();
    for file in &seen.files {
        let loaded = known
            .get(&file.item_id)
            .filter(|item| !full && item.loaded_on.is_some() && item.version.as_deref() == Some(file.version.as_str()));
        match loaded {
            Some(item) => verdict.still_there(item, &file.name, State::Read),
            None => verdict.fetch.push(file.clone()),
        }
    }
    let fetched: BTreeSet<&str> = seen.files.iter().map(|file| file.item_id.as_str()).collect();
    for item in known.values().filter(|item| !fetched.contains(item.item_id.as_str())) {
        match seen.present.get(&item.item_id) {
            Some(name) if seen.left.contains(&item.item_id) => verdict.still_there(item, name, State::Pending),
            Some(name) => verdict.still_there(item, name, item.state),
            None => verdict.absent(item, seen),
        }
    }
    for id in seen.left.iter().filter(|id| !known.contains_key(*id)) {
        verdict.updates.push(Update::Keep(Item {
            item_id: id.clone(),
            name: seen.present.get(id).cloned().unwrap_or_default(),
            state: State::Pending,
            version: None,
            content_hash: None,
            absences: 0,
            aside: None,
            loaded_on: None,
        }));
    }
    verdict
}

impl Verdict {
    fn still_there(&mut self, item: &Item, name: &str, state: State) {
        if item.name != name && item.loaded_on.is_some() {
            self.notes.push(format!("`{}` is now called `{name}`: it was not loaded again", item.name));
        }
        if item.state == State::Gone {
            self.notes.push(format!("`{name}` is in the folder again: its rows had stayed"));
        }
        let state = if state == State::Gone { State::Read } else { state };
        let now = Item { name: name.to_owned(), state, absences: 0, ..item.clone() };
        if now != *item {
            self.updates.push(Update::Keep(now));
        }
    }

    fn absent(&mut self, item: &Item, seen: &Seen) {
        let absences = item.absences + 1;
        let gone = match seen.coverage {
            Coverage::Changes => seen.away.contains(&item.item_id),
            Coverage::Whole => true,
            Coverage::Listing => absences >= ABSENCES,
        };
        match item.state {
            State::Gone => {}
            State::Pending if item.version.is_none() => {
                if gone || seen.coverage == Coverage::Listing {
                    self.updates.push(Update::Forget(item.item_id.clone()));
                }
            }
            // We moved it ourselves.
            State::Pending | State::Read if item.aside == Some(Aside::Done) => {}
            State::Pending | State::Read if gone => {
                let loaded = item.loaded_on.map(|day| format!(", loaded on {day},")).unwrap_or_default();
                let name = &item.name;
                self.notes.push(format!(
                    "`{name}`{loaded} is no longer in the folder: its rows stay, taking them back is a step of its own"
                ));
                self.updates.push(Update::Keep(Item { state: State::Gone, absences: 0, ..item.clone() }));
            }
            State::Pending | State::Read if seen.coverage == Coverage::Listing => {
                self.updates.push(Update::Keep(Item { absences, ..item.clone() }));
            }
            State::Pending | State::Read => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(id: &str) -> Item {
        Item {
            item_id: id.to_owned(),
            name: format!("{id}.csv"),
            state: State::Read,
            version: Some("1".to_owned()),
            content_hash: Some("h".to_owned()),
            absences: 0,
            aside: None,
            loaded_on: NaiveDate::from_ymd_opt(2025, 11, 29),
        }
    }

    fn seen(files: &[RemoteFile], coverage: Coverage) -> Seen {
        let present = files.iter().map(|file| (file.item_id.clone(), file.name.clone())).collect();
        Seen { files: files.to_vec(), present, away: BTreeSet::new(), left: Vec::new(), coverage }
    }

    fn known(items: &[Item]) -> BTreeMap<String, Item> {
        items.iter().map(|item| (item.item_id.clone(), item.clone())).collect()
    }

    fn kept(verdict: &Verdict) -> &Item {
        match verdict.updates.as_slice() {
            [Update::Keep(item)] => item,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_is_new_or_changed_or_was_taken_back_is_fetched() {
        let taken_back = Item { loaded_on: None, ..item("c") };
        let known = known(&[item("a"), item("b"), taken_back]);
        let files = [
            RemoteFile::sample("a", "a.csv", "1"),
            RemoteFile::sample("b", "b.csv", "2"),
            RemoteFile::sample("c", "c.csv", "1"),
            RemoteFile::sample("d", "d.csv", "1"),
        ];
        let verdict = compare(&known, &seen(&files, Coverage::Listing), false);
        let fetched: Vec<_> = verdict.fetch.iter().map(|file| file.item_id.as_str()).collect();
        assert_eq!(fetched, ["b", "c", "d"]);
        assert!(verdict.updates.is_empty() && verdict.notes.is_empty());
        assert_eq!(compare(&known, &seen(&files, Coverage::Listing), true).fetch.len(), 4);
    }

    #[test]
    fn one_listing_without_a_file_is_no_deletion_and_two_are() {
        let first = compare(&known(&[item("a")]), &seen(&[], Coverage::Listing), false);
        assert!(first.notes.is_empty());
        assert_eq!((kept(&first).absences, kept(&first).state), (1, State::Read));
        let second = compare(&known(&[kept(&first).clone()]), &seen(&[], Coverage::Listing), false);
        assert_eq!(kept(&second).state, State::Gone);
        assert!(second.notes[0].contains("`a.csv`, loaded on 2025-11-29, is no longer"), "{:?}", second.notes);
        let third = compare(&known(&[kept(&second).clone()]), &seen(&[], Coverage::Listing), false);
        assert!(third.updates.is_empty() && third.notes.is_empty(), "it is said once");
        let back = [RemoteFile::sample("a", "a.csv", "1")];
        let back = compare(&known(&[kept(&second).clone()]), &seen(&back, Coverage::Listing), false);
        assert_eq!(kept(&back).state, State::Read);
        let between = compare(
            &known(&[kept(&first).clone()]),
            &seen(&[RemoteFile::sample("a", "a.csv", "1")], Coverage::Listing),
            false,
        );
        assert_eq!(kept(&between).absences, 0, "absences count only in a row");
    }

    #[test]
    fn a_change_feed_says_what_is_gone_and_is_silent_about_the_rest() {
        let known = known(&[item("a"), item("b")]);
        let mut changes = seen(&[], Coverage::Changes);
        changes.away.insert("a".to_owned());
        let verdict = compare(&known, &changes, false);
        assert_eq!((kept(&verdict).item_id.as_str(), kept(&verdict).state), ("a", State::Gone));
        assert_eq!(compare(&known, &seen(&[], Coverage::Whole), false).updates.len(), 2);
    }

    #[test]
    fn a_new_name_is_a_note_and_no_reload_even_outside_the_pattern() {
        let renamed =
            compare(&known(&[item("a")]), &seen(&[RemoteFile::sample("a", "new.csv", "1")], Coverage::Listing), false);
        assert!(renamed.fetch.is_empty());
        assert_eq!(kept(&renamed).name, "new.csv");
        assert!(renamed.notes[0].contains("`a.csv` is now called `new.csv`"));
        let mut outside = seen(&[], Coverage::Listing);
        outside.present.insert("a".to_owned(), "a.old".to_owned());
        let outside = compare(&known(&[item("a")]), &outside, false);
        assert_eq!((kept(&outside).state, kept(&outside).name.as_str()), (State::Read, "a.old"));
    }

    #[test]
    fn what_is_left_out_is_remembered_and_what_was_moved_aside_is_not_missed() {
        let mut changes = seen(&[], Coverage::Changes);
        changes.left.push("p".to_owned());
        changes.present.insert("p".to_owned(), "p.csv".to_owned());
        let pending = compare(&BTreeMap::new(), &changes, false);
        assert_eq!((kept(&pending).state, kept(&pending).name.as_str()), (State::Pending, "p.csv"));
        let mut gone = seen(&[], Coverage::Changes);
        gone.away.insert("p".to_owned());
        let forgotten = compare(&known(&[kept(&pending).clone()]), &gone, false);
        assert_eq!(forgotten.updates, [Update::Forget("p".to_owned())]);
        assert!(forgotten.notes.is_empty(), "nothing of it was ever loaded");
        let moved = Item { aside: Some(Aside::Done), ..item("a") };
        assert!(compare(&known(&[moved]), &seen(&[], Coverage::Whole), false).updates.is_empty());
    }
}
