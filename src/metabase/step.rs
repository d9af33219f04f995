//! One step of a plan: what a person reads, and what `apply` does. Pure.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::actual::Place;
use super::tables::Kind;

/// What a step does to its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Makes it.
    Create,
    /// Changes it.
    Update,
    /// Removes it; collections, questions and dashboards go to the trash.
    Delete,
    /// Gives a right.
    Grant,
    /// Takes a right.
    Revoke,
    /// Shuts an account that is kept.
    Deactivate,
    /// Opens an account again.
    Reactivate,
    /// Takes over an account that was there, known by its address.
    Adopt,
}

/// The field that tells when somebody edited an object, and who.
pub(super) const LAST_EDITED: &str = "last edited";

/// The settings that shut the instance.
const LOCKED: [&str; 3] = ["enable-public-sharing", "anon-tracking-enabled", "enable-xrays"];

/// One field that changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Its name.
    pub field: String,
    /// What it is.
    pub from: Value,
    /// What it will be.
    pub to: Value,
}

impl Change {
    pub(super) fn new(field: &str, from: impl Into<Value>, to: impl Into<Value>) -> Self {
        Self { field: field.to_owned(), from: from.into(), to: to.into() }
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// What is done.
    pub action: Action,
    /// To what kind of thing: `connection`, `group`, `question`, `person`, …
    pub kind: &'static str,
    /// To which one.
    pub name: String,
    /// The scope it belongs to; empty for the instance as a whole.
    pub scope: String,
    /// The fields that change.
    pub changes: Vec<Change>,
    /// How it is done.
    #[serde(skip)]
    pub(super) work: Work,
    /// Tells what it will write from anything else it could.
    #[serde(skip)]
    pub(super) content: String,
}

/// A group of ours, by its key, or any other.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Who {
    Ours(String),
    Other(i64),
}

/// How a step is done: keys are ours, ids are the instance's.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Work {
    Setting {
        key: String,
        value: Value,
    },
    Cache {
        strategy: Value,
    },
    /// Takes the mail server out, until `Mail` puts it back.
    HoldMail,
    /// Writes the mail server, password included.
    Mail,
    /// Sets what an existing group may do in an existing collection.
    Level {
        group: i64,
        place: Place,
        level: &'static str,
    },
    /// Takes the right to ask from a group.
    Silence {
        group: i64,
        database: i64,
    },
    /// Shuts a group out of the data of connections, by their keys.
    Block {
        group: Who,
        connections: Vec<String>,
    },
    /// Lets a group see the data of connections.
    View {
        group: String,
        connections: Vec<String>,
    },
    Leave {
        membership: i64,
    },
    /// Takes away an administrator's rights.
    Demote {
        user: i64,
    },
    Deactivate {
        user: i64,
    },
    DeleteGroup {
        key: String,
        id: i64,
    },
    CreateConnection {
        key: String,
    },
    UpdateConnection {
        key: String,
        id: i64,
    },
    DeleteSample {
        id: i64,
    },
    ArchiveSample {
        id: i64,
    },
    CreateGroup {
        key: String,
    },
    RenameGroup {
        key: String,
        id: i64,
    },
    CreateCollection {
        key: String,
    },
    UpdateCollection {
        key: String,
        id: i64,
    },
    Read {
        group: String,
        collection: String,
    },
    Ask {
        group: String,
        connection: String,
    },
    CreateCard {
        key: String,
    },
    UpdateCard {
        key: String,
        id: i64,
    },
    CreateDashboard {
        key: String,
    },
    UpdateDashboard {
        key: String,
        id: i64,
    },
    CreatePerson {
        key: String,
    },
    AdoptPerson {
        key: String,
        id: i64,
    },
    ReactivatePerson {
        key: String,
        id: i64,
    },
    UpdatePerson {
        id: i64,
        fields: Value,
    },
    Join {
        person: String,
        group: String,
    },
    DeleteTimeline {
        key: String,
        id: i64,
    },
    /// Takes our events off a time line that holds others as well.
    DeleteEvents {
        key: String,
        events: Vec<i64>,
    },
    /// Puts a dashboard among what is pinned in its collection, or takes it from there.
    Pin {
        key: String,
        position: Option<u32>,
    },
    /// Shows everybody a dashboard first.
    HomePage {
        key: String,
    },
    ArchiveDashboard {
        key: String,
        id: i64,
    },
    ArchiveCard {
        key: String,
        id: i64,
    },
    ArchiveCollection {
        key: String,
        id: i64,
    },
    DeleteConnection {
        key: String,
        id: i64,
    },
}

/// The parts of an apply, in the order in which no moment is more open than
/// before or after: what closes comes first, what opens comes last, and what
/// Metabase opens by itself (a first database, a new group, a new collection)
/// is made while there is nothing to copy from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Lock,
    CloseData,
    CloseCollections,
    Leave,
    Connections,
    SampleContent,
    Groups,
    // Before there is anything that could be run.
    Block,
    Collections,
    Cards,
    Dashboards,
    Pins,
    GrantCollections,
    GrantData,
    HoldMail,
    // Before anything else of theirs is changed: a shut account takes no change.
    Reactivate,
    People,
    Join,
    DeleteTimelines,
    // After the accounts: with a mail server there, Metabase writes to each new one.
    Mail,
    HomePage,
    ArchiveDashboards,
    ArchiveCards,
    ArchiveCollections,
    DeleteConnections,
}

impl Work {
    pub(super) fn phase(&self) -> Phase {
        match self {
            Self::Setting { .. } | Self::Cache { .. } => Phase::Lock,
            Self::HoldMail => Phase::HoldMail,
            Self::Mail => Phase::Mail,
            Self::Silence { .. } => Phase::CloseData,
            Self::Level { .. } => Phase::CloseCollections,
            Self::Block { .. } => Phase::Block,
            Self::Leave { .. } | Self::Demote { .. } | Self::Deactivate { .. } | Self::DeleteGroup { .. } => {
                Phase::Leave
            }
            Self::CreateConnection { .. } | Self::UpdateConnection { .. } => Phase::Connections,
            Self::DeleteSample { .. } | Self::ArchiveSample { .. } => Phase::SampleContent,
            Self::CreateGroup { .. } | Self::RenameGroup { .. } => Phase::Groups,
            Self::CreateCollection { .. } | Self::UpdateCollection { .. } => Phase::Collections,
            Self::CreateCard { .. } | Self::UpdateCard { .. } => Phase::Cards,
            Self::CreateDashboard { .. } | Self::UpdateDashboard { .. } => Phase::Dashboards,
            Self::Pin { .. } => Phase::Pins,
            Self::HomePage { .. } => Phase::HomePage,
            Self::Read { .. } => Phase::GrantCollections,
            Self::Ask { .. } | Self::View { .. } => Phase::GrantData,
            Self::ReactivatePerson { .. } => Phase::Reactivate,
            Self::CreatePerson { .. } | Self::AdoptPerson { .. } | Self::UpdatePerson { .. } => Phase::People,
            Self::Join { .. } => Phase::Join,
            Self::DeleteTimeline { .. } | Self::DeleteEvents { .. } => Phase::DeleteTimelines,
            Self::ArchiveDashboard { .. } => Phase::ArchiveDashboards,
            Self::ArchiveCard { .. } => Phase::ArchiveCards,
            Self::ArchiveCollection { .. } => Phase::ArchiveCollections,
            Self::DeleteConnection { .. } => Phase::DeleteConnections,
        }
    }
}

impl Step {
    /// Names the step where people's addresses must not stand, as in errors.
    pub(super) fn label(&self) -> String {
        let (action, kind) = (self.action, self.kind);
        match self.kind {
            "person" | "membership" | "administrator" => format!("{action} {kind} of `{}`", self.scope),
            _ => format!("{action} {kind} `{}`", self.name),
        }
    }

    /// Whether it shuts the instance itself: what any part makes relies on that.
    pub(super) fn locks_down(&self) -> bool {
        match &self.work {
            Work::Setting { key, .. } => LOCKED.contains(&key.as_str()),
            Work::Level { .. } | Work::Silence { .. } => self.scope.is_empty(),
            _ => false,
        }
    }

    /// The object of ours that it makes, by its key.
    pub(super) fn makes(&self) -> Option<(Kind, &str)> {
        Some(match &self.work {
            Work::CreateConnection { key } => (Kind::Connection, key),
            Work::CreateGroup { key } => (Kind::Group, key),
            Work::CreateCollection { key } => (Kind::Collection, key),
            Work::CreateCard { key } => (Kind::Card, key),
            Work::CreateDashboard { key } => (Kind::Dashboard, key),
            Work::CreatePerson { key } => (Kind::Person, key),
            _ => return None,
        })
    }

    /// The account that it shuts.
    pub(super) fn user(&self) -> Option<i64> {
        match self.work {
            Work::Deactivate { user } => Some(user),
            _ => None,
        }
    }

    /// The question or dashboard that it puts back.
    pub(super) fn updated(&self) -> Option<(Kind, String)> {
        match &self.work {
            Work::UpdateCard { key, .. } => Some((Kind::Card, key.clone())),
            Work::UpdateDashboard { key, .. } => Some((Kind::Dashboard, key.clone())),
            _ => None,
        }
    }

    fn sign(&self) -> char {
        match self.action {
            Action::Create | Action::Grant | Action::Reactivate | Action::Adopt => '+',
            Action::Update => '~',
            Action::Delete | Action::Revoke | Action::Deactivate => '-',
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Grant => "grant",
            Self::Revoke => "revoke",
            Self::Deactivate => "deactivate",
            Self::Reactivate => "reactivate",
            Self::Adopt => "adopt",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.sign(), self.action, self.kind, self.name)?;
        if !self.scope.is_empty() && self.scope != self.name {
            write!(f, "  [{}]", self.scope)?;
        }
        let created = self.action == Action::Create;
        for change in self.changes.iter().filter(|change| !created || change.from != Value::Null) {
            // Who edited is no value that changes back.
            if change.field == LAST_EDITED {
                write!(f, "\n      edited by hand: {}", shown(&change.from))?;
                continue;
            }
            write!(f, "\n      {}: {} -> {}", change.field, shown(&change.from), shown(&change.to))?;
        }
        Ok(())
    }
}

/// Writes a value so that it fits on a line.
pub(super) fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    };
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step() -> Step {
        Step {
            action: Action::Revoke,
            kind: "membership",
            name: "ana@example.com".to_owned(),
            scope: "store:harbor/000101".to_owned(),
            changes: vec![Change::new("group", "store:harbor/000101", Value::Null)],
            work: Work::Leave { membership: 7 },
            content: String::new(),
        }
    }

    #[test]
    fn a_step_is_written_with_the_agreed_keys() {
        insta::assert_snapshot!(serde_json::to_string(&step()).unwrap(), @r#"{"action":"revoke","kind":"membership","name":"ana@example.com","scope":"store:harbor/000101","changes":[{"field":"group","from":"store:harbor/000101","to":null}]}"#);
        insta::assert_snapshot!(step(), @r"
        - revoke membership ana@example.com  [store:harbor/000101]
              group: store:harbor/000101 -> nothing
        ");
    }

    #[test]
    fn an_error_names_a_step_without_the_person() {
        assert_eq!(step().label(), "revoke membership of `store:harbor/000101`");
    }

    #[test]
    fn what_closes_comes_before_what_opens() {
        assert!(Phase::CloseData < Phase::Connections && Phase::Leave < Phase::Connections);
        assert!(Phase::Connections < Phase::Groups && Phase::Groups < Phase::People);
        assert!(Phase::HoldMail < Phase::People && Phase::People < Phase::Mail, "nobody is mailed");
        assert!(Phase::Connections < Phase::SampleContent, "the sample is what new connections copy `no` from");
    }
}
