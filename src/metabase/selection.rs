//! A part of a plan: of one scope, of one subject. Pure.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::desired::{Dashboard, Desired, Shows, Values};
use super::plan::Plan;
use super::step::{Step, Who, Work};
use super::tables::Kind;
use crate::access::{Scope, Tree};
use crate::words::counted;

/// Which steps are wanted; by default all. The lock-down of the instance is part of any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of this scope and those below it.
    pub scope: Option<Scope>,
    /// About this.
    pub only: Option<Part>,
}

/// What a step is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Accounts, and who is in which group.
    People,
    /// The lock-down, connections, groups and rights.
    Access,
    /// Collections, questions and dashboards.
    Content,
}

impl FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "people" => Ok(Self::People),
            "access" => Ok(Self::Access),
            "content" => Ok(Self::Content),
            other => Err(format!("`{other}` is no part of a plan: write people, access or content")),
        }
    }
}

impl Selection {
    /// Whether everything is wanted.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    fn wants(&self, step: &Step, tree: &Tree) -> bool {
        if step.locks_down() {
            return true;
        }
        let part = match step.kind {
            "person" | "membership" | "administrator" => Part::People,
            "collection" | "question" | "dashboard" | "pin" | "home page" => Part::Content,
            _ => Part::Access,
        };
        let within = |wanted: &Scope| {
            // A person may have several scopes, a group's or collection's key more words than its scope.
            step.scope.split(", ").any(|text| {
                let scope = text.split(" (").next().unwrap_or_default().parse::<Scope>();
                scope.is_ok_and(|scope| tree.lineage(&scope).contains(wanted))
            })
        };
        self.only.is_none_or(|only| only == part) && self.scope.as_ref().is_none_or(within)
    }

    /// Leaves the steps that are wanted, and of those the ones that can be taken
    /// without the others. Says in a note how many wait or are left out.
    pub(super) fn narrow(&self, plan: Plan, tree: &Tree, desired: &Desired) -> Plan {
        if self.is_everything() {
            return plan;
        }
        let Plan { steps, mut notes, .. } = plan;
        let all = steps.len();
        let (mut kept, dropped): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(|step| self.wants(step, tree));
        let made = |step: &Step| step.makes().map(|(kind, key)| (kind, key.to_owned()));
        let mut unmade: BTreeSet<(Kind, String)> = dropped.iter().filter_map(made).collect();
        let wanted = kept.len();
        loop {
            let before = kept.len();
            let mut still = Vec::with_capacity(before);
            for step in kept {
                if needs(&step, desired).iter().any(|need| unmade.contains(need)) {
                    unmade.extend(made(&step));
                } else {
                    still.push(step);
                }
            }
            kept = still;
            if kept.len() == before {
                break;
            }
        }
        if wanted > kept.len() {
            notes.push(format!(
                "{} for others that were not selected",
                counted(wanted - kept.len(), "step waits", "steps wait")
            ));
        }
        if all > wanted {
            notes.push(format!("{} outside of what was selected", counted(all - wanted, "step is", "steps are")));
        }
        Plan { steps: kept, notes, selection: self.clone() }
    }
}

/// The objects of ours that must be there before a step.
fn needs(step: &Step, desired: &Desired) -> Vec<(Kind, String)> {
    let one = |kind: Kind, key: &String| (kind, key.clone());
    match &step.work {
        Work::CreateCollection { key } | Work::UpdateCollection { key, .. } => {
            let found = desired.collections.iter().find(|collection| collection.key == *key);
            found
                .and_then(|found| found.parent.as_ref())
                .map(|parent| one(Kind::Collection, parent))
                .into_iter()
                .collect()
        }
        Work::Read { group, collection } => vec![one(Kind::Group, group), one(Kind::Collection, collection)],
        Work::Ask { group, connection } => vec![one(Kind::Group, group), one(Kind::Connection, connection)],
        Work::View { group, connections } => {
            connections.iter().map(|key| one(Kind::Connection, key)).chain([one(Kind::Group, group)]).collect()
        }
        Work::Block { group, connections } => {
            let group = match group {
                Who::Ours(key) => Some(one(Kind::Group, key)),
                Who::Other(_) => None,
            };
            connections.iter().map(|key| one(Kind::Connection, key)).chain(group).collect()
        }
        Work::CreateCard { key } | Work::UpdateCard { key, .. } => {
            desired.cards.get(key).map_or_else(Vec::new, |card| {
                vec![one(Kind::Collection, &card.collection), one(Kind::Connection, &card.connection)]
            })
        }
        Work::CreateDashboard { key } | Work::UpdateDashboard { key, .. } => {
            desired.dashboards.get(key).map_or_else(Vec::new, needs_of)
        }
        Work::Pin { key, .. } | Work::HomePage { key } => vec![one(Kind::Dashboard, key)],
        Work::CreatePerson { key } => desired
            .people
            .get(key)
            .map_or_else(Vec::new, |account| account.groups.iter().map(|group| one(Kind::Group, group)).collect()),
        Work::Join { person, group } => vec![one(Kind::Person, person), one(Kind::Group, group)],
        _ => Vec::new(),
    }
}

fn needs_of(dashboard: &Dashboard) -> Vec<(Kind, String)> {
    let mut needs = vec![(Kind::Collection, dashboard.collection.clone())];
    for place in &dashboard.places {
        match &place.shows {
            Shows::Card(key) => needs.push((Kind::Card, key.clone())),
            Shows::Links(links) => needs.extend(links.iter().map(|(_, key)| (Kind::Dashboard, key.clone()))),
            Shows::Text(_) | Shows::Heading(_) => {}
        }
        let opens = place.click.as_ref().and_then(|click| click.dashboard.clone());
        needs.extend(opens.map(|key| (Kind::Dashboard, key)));
    }
    for parameter in &dashboard.parameters {
        if let Values::Question { card, .. } = &parameter.values {
            needs.push((Kind::Card, card.clone()));
        }
    }
    needs
}
