//! Who may do what: levels add up over groups, and there is no "no".

use serde_json::Value;

use super::reply::{Reply, forbidden};
use super::state::{Card, Dashboard, Level, State};

/// The signed-in user of one call.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) user_id: i64,
    pub(super) superuser: bool,
    pub(super) groups: Vec<i64>,
    pub(super) session: Option<String>,
}

impl Caller {
    /// Refuses everybody but administrators.
    pub(super) fn must_be_admin(&self) -> Result<(), Reply> {
        if self.superuser { Ok(()) } else { Err(forbidden()) }
    }
}

/// What somebody may ask of a database, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Queries {
    No,
    SomeTables,
    Builder,
    Native,
}

impl Queries {
    /// Reads one stored or sent `create-queries` value.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::String(text) if text == "query-builder-and-native" => Self::Native,
            Value::String(text) if text == "query-builder" => Self::Builder,
            Value::Object(schemas) if !schemas.is_empty() => Self::SomeTables,
            _ => Self::No,
        }
    }
}

/// Refuses a level below the one needed.
pub(super) fn need(level: Level, needed: Level) -> Result<(), Reply> {
    if level >= needed { Ok(()) } else { Err(forbidden()) }
}

impl State {
    /// The owner of the personal collection this one is or hangs under.
    pub(super) fn personal_owner(&self, collection_id: i64) -> Option<i64> {
        let collection = self.collections.get(&collection_id)?;
        collection.owner_id.or_else(|| {
            ancestors(&collection.location)
                .first()
                .and_then(|top| self.collections.get(top))
                .and_then(|top| top.owner_id)
        })
    }

    /// A caller's level in a collection; `None` is "Our analytics".
    pub(super) fn collection_level(&self, caller: &Caller, id: Option<i64>) -> Level {
        let Some(id) = id else {
            return self.root_level(caller, None);
        };
        if caller.superuser {
            return Level::Write;
        }
        if let Some(owner) = self.personal_owner(id) {
            return if owner == caller.user_id { Level::Write } else { Level::None };
        }
        self.granted(caller, &id.to_string())
    }

    /// A caller's level at the top of a namespace.
    pub(super) fn root_level(&self, caller: &Caller, namespace: Option<&str>) -> Level {
        if caller.superuser {
            return Level::Write;
        }
        self.granted(caller, &root_key(namespace))
    }

    fn granted(&self, caller: &Caller, key: &str) -> Level {
        caller
            .groups
            .iter()
            .filter_map(|group| self.collection_permissions.get(group)?.get(key))
            .copied()
            .max()
            .unwrap_or(Level::None)
    }

    /// A caller's level on a question: that of the collection it lives in.
    pub(super) fn card_level(&self, caller: &Caller, card: &Card) -> Level {
        let home = match card.dashboard_id.and_then(|id| self.dashboards.get(&id)) {
            Some(dashboard) => dashboard.collection_id,
            None => card.collection_id,
        };
        self.collection_level(caller, home)
    }

    /// A caller's level on a dashboard.
    pub(super) fn dashboard_level(&self, caller: &Caller, dashboard: &Dashboard) -> Level {
        self.collection_level(caller, dashboard.collection_id)
    }

    /// What a caller may ask of a database.
    pub(super) fn queries(&self, caller: &Caller, database_id: i64) -> Queries {
        if caller.superuser {
            return Queries::Native;
        }
        caller
            .groups
            .iter()
            .filter_map(|group| self.data_permissions.get(group)?.get(&database_id))
            .map(|permission| Queries::of(&permission.create_queries))
            .max()
            .unwrap_or(Queries::No)
    }

    /// Whether a caller may see data of a database at all: one group that is not shut out is
    /// enough. Without the paid feature nobody is shut out of anything.
    pub(super) fn views(&self, caller: &Caller, database_id: i64) -> bool {
        let shut = |group: &i64| {
            let permission = self.data_permissions.get(group).and_then(|databases| databases.get(&database_id));
            permission.is_some_and(|permission| permission.view_data == "blocked")
        };
        caller.superuser
            || !self.features.contains("advanced_permissions")
            || caller.groups.iter().any(|group| !shut(group))
    }

    /// Whether a caller may build queries on one table, and so see it at all.
    pub(super) fn sees_table(&self, caller: &Caller, table_id: i64) -> bool {
        let Some(table) = self.tables.get(&table_id) else {
            return false;
        };
        if self.queries(caller, table.database_id) >= Queries::Builder {
            return true;
        }
        caller
            .groups
            .iter()
            .filter_map(|group| self.data_permissions.get(group)?.get(&table.database_id))
            .filter_map(|permission| permission.create_queries.get(&table.schema))
            .any(|schema| match schema {
                Value::String(level) => level != "no",
                Value::Object(tables) => tables.get(&table_id.to_string()).is_some_and(|level| level != "no"),
                _ => false,
            })
    }

    /// A question the caller may see.
    pub(super) fn readable_card(&self, caller: &Caller, id: i64) -> Result<&Card, Reply> {
        let card = self.cards.get(&id).ok_or_else(|| self.not_found())?;
        need(self.card_level(caller, card), Level::Read)?;
        Ok(card)
    }

    /// A dashboard the caller may see.
    pub(super) fn readable_dashboard(&self, caller: &Caller, id: i64) -> Result<&Dashboard, Reply> {
        let dashboard = self.dashboards.get(&id).ok_or_else(|| self.not_found())?;
        need(self.dashboard_level(caller, dashboard), Level::Read)?;
        Ok(dashboard)
    }
}

/// The key of a root collection in the permission table.
pub(super) fn root_key(namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) if !namespace.is_empty() => format!("root:{namespace}"),
        _ => "root".to_owned(),
    }
}

/// The ids in a location such as `/4/9/`, outermost first.
pub(super) fn ancestors(location: &str) -> Vec<i64> {
    location.split('/').filter_map(|part| part.parse().ok()).collect()
}
