//! The part of a plan about whose data a group may see at all: a right of paid editions. Pure.
//!
//! Open-source Metabase runs a saved question for everybody who may read it. Where the token
//! says `advanced_permissions`, a group can be shut out of a connection's data: then a question
//! that lies where it should not runs for nobody there.

use super::plan::Planning;
use super::step::{Action, Change, Who, Work};
use super::tables::Kind;

impl Planning<'_> {
    pub(super) fn views(&mut self) {
        let (desired, actual, index) = (self.desired, self.actual, self.index);
        let Some(there) = &actual.views else { return };
        let wanted = desired.views();
        let sees = |group: Option<i64>, connection: &str| {
            group.zip(index.get(Kind::Connection, connection)).map(|pair| there.contains(&pair))
        };
        for (key, group) in &desired.groups {
            let id = index.get(Kind::Group, key);
            let scope = group.scope.to_string();
            let (mut shut, mut open) = (Vec::new(), Vec::new());
            for connection in desired.connections.keys() {
                match (wanted.contains(&(key.as_str(), connection.as_str())), sees(id, connection)) {
                    (true, Some(false)) => open.push(connection.clone()),
                    // What is made anew is open, or has what everybody has: it is written in any case.
                    (true, None) if desired.blocked => open.push(connection.clone()),
                    (false, None | Some(true)) if desired.blocked => shut.push(connection.clone()),
                    _ => {}
                }
            }
            self.block(&group.name, &scope, Who::Ours(key.clone()), shut);
            if !open.is_empty() {
                let changes = vec![Change::new("view data", "blocked", "unrestricted"), named(&open)];
                let work = Work::View { group: key.clone(), connections: open };
                self.step(Action::Grant, "data permission", &group.name, &scope, changes, work);
            }
        }
        if !desired.blocked {
            return;
        }
        // Everybody, and groups of others: what is ours is none of their business.
        for id in actual.ordinary_groups().filter(|id| index.key(Kind::Group, *id).is_none()) {
            let open = |connection: &&String| sees(Some(id), connection) != Some(false);
            let shut = desired.connections.keys().filter(open).cloned().collect();
            self.block(&actual.groups[&id], "", Who::Other(id), shut);
        }
    }

    fn block(&mut self, name: &str, scope: &str, group: Who, connections: Vec<String>) {
        if !connections.is_empty() {
            let changes = vec![Change::new("view data", "unrestricted", "blocked"), named(&connections)];
            let work = Work::Block { group, connections };
            self.step(Action::Revoke, "data permission", name, scope, changes, work);
        }
    }
}

/// Says which connections; of many, how many.
fn named(connections: &[String]) -> Change {
    let words = match connections {
        few if few.len() <= 3 => few.join(", "),
        many => format!("{} of them", many.len()),
    };
    Change::new("connections", words.clone(), words)
}
