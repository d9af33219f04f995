//! What groups may do with databases.
//!
//! Answers leave the least permissive values out, every write counts up the
//! revision, and who does not name the current revision is refused.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::access::{Caller, Queries};
use super::call::{Call, id};
use super::reply::{Answer, Reply, exception, invalid, no_such_route, paid_feature, paid_permissions, stale_graph};
use super::state::{ADMINISTRATORS, ALL_USERS, DATA_ANALYSTS, DataPermission, State};

/// Everything under `/api/permissions/graph`.
pub(super) fn handle(state: &mut State, caller: &Caller, call: &Call, rest: &[&str]) -> Answer {
    caller.must_be_admin()?;
    match (call.method.as_str(), rest) {
        ("GET", []) => {
            let groups: Vec<i64> = state.groups.keys().copied().collect();
            Ok(Reply::ok(graph(state, &groups, None)))
        }
        ("GET", ["group", group]) => {
            let group = id(group)?;
            if !state.groups.contains_key(&group) {
                return Err(state.not_found());
            }
            Ok(Reply::ok(graph(state, &[group], None)))
        }
        ("GET", ["db", database]) => {
            let database = id(database)?;
            if !state.databases.contains_key(&database) {
                return Err(state.not_found());
            }
            let groups: Vec<i64> = state.groups.keys().copied().collect();
            Ok(Reply::ok(graph(state, &groups, Some(database))))
        }
        ("PUT", []) => update(state, call),
        _ => Err(no_such_route()),
    }
}

/// Whether a graph write carries the switch that skips the revision check.
pub(super) fn forced(state: &State, call: &Call) -> bool {
    state.profile.graph_flags() && (call.asked_flag("force") || call.given("force") == Some(&Value::Bool(true)))
}

/// Whether a graph write asks for a short answer.
pub(super) fn skips_graph(state: &State, call: &Call) -> bool {
    state.profile.graph_flags() && call.asked_flag("skip-graph")
}

/// Full rights, as the first database gives them to everybody.
pub(super) fn open_permission() -> DataPermission {
    DataPermission {
        view_data: Value::from("unrestricted"),
        create_queries: Value::from("query-builder-and-native"),
        download: Value::from("full"),
        data_model: Value::from("none"),
        details: Value::from("no"),
        transforms: Value::from("no"),
    }
}

fn update(state: &mut State, call: &Call) -> Answer {
    for paid in ["sandboxes", "impersonations"] {
        let given = call.given(paid).and_then(Value::as_array);
        if given.is_some_and(|list| !list.is_empty()) {
            return Err(paid_feature(if paid == "sandboxes" { "Sandboxes" } else { "Connection Impersonation" }));
        }
    }
    let groups = call
        .given("groups")
        .and_then(Value::as_object)
        .ok_or_else(|| invalid("groups", "map", "missing required key, received: nil"))?;
    let mut changed: BTreeMap<(i64, i64), DataPermission> = BTreeMap::new();
    for (group, databases) in groups {
        let group_id = id(group)?;
        let databases =
            databases.as_object().ok_or_else(|| invalid("groups", "map of group to database", "not a map"))?;
        for (database, wanted) in databases {
            let database_id = id(database)?;
            if !state.groups.contains_key(&group_id) || !state.databases.contains_key(&database_id) {
                return Err(exception(
                    "ERROR: insert or update on table \"data_permissions\" violates foreign key constraint",
                ));
            }
            let wanted = wanted.as_object().ok_or_else(|| invalid("groups", "map of permissions", "not a map"))?;
            let next = merged(state, group_id, database_id, wanted)?;
            if group_id != ADMINISTRATORS {
                changed.insert((group_id, database_id), next);
            }
        }
    }
    let revision = call.given("revision").and_then(Value::as_i64);
    if revision != Some(state.data_revision) && !forced(state, call) {
        return Err(stale_graph());
    }
    for ((group, database), permission) in changed {
        state.data_permissions.entry(group).or_default().insert(database, permission);
    }
    state.data_revision += 1;
    if skips_graph(state, call) {
        return Ok(Reply::ok(json!({ "revision": state.data_revision })));
    }
    let named: Vec<i64> = groups.keys().filter_map(|group| group.parse().ok()).collect();
    Ok(Reply::ok(graph(state, &named, None)))
}

/// What one pair would be after a write, or why it may not be written.
fn merged(
    state: &State,
    group_id: i64,
    database_id: i64,
    wanted: &Map<String, Value>,
) -> Result<DataPermission, Reply> {
    let mut next = state.permission(group_id, database_id);
    if let Some(view) = wanted.get("view-data") {
        check_view(view, wanted.get("create-queries"), state.features.contains("advanced_permissions"))?;
        next.view_data = view.clone();
    }
    if let Some(queries) = wanted.get("create-queries") {
        next.create_queries = state.merge_queries(database_id, &next.create_queries, queries)?;
    }
    for (key, slot, allowed) in [
        ("download", &mut next.download, &["full", "limited", "none"][..]),
        ("data-model", &mut next.data_model, &["all", "none"][..]),
    ] {
        let Some(value) = wanted.get(key) else {
            continue;
        };
        if key == "data-model" && group_id == DATA_ANALYSTS && state.profile.data_analysts() {
            return Err(Reply::text(400, "You cannot change the data model permissions of the Data Analysts group."));
        }
        let schemas = value.get("schemas").unwrap_or(&Value::Null);
        match schemas {
            Value::String(text) if allowed.contains(&text.as_str()) => *slot = schemas.clone(),
            Value::Object(_) => *slot = schemas.clone(),
            _ => return Err(unparsable(key)),
        }
    }
    for (key, slot) in [("details", &mut next.details), ("transforms", &mut next.transforms)] {
        match wanted.get(key) {
            None => {}
            Some(Value::String(text)) if text == "yes" || text == "no" => {
                *slot = Value::from(text.as_str());
            }
            Some(_) => return Err(unparsable(key)),
        }
    }
    Ok(next)
}

fn check_view(view: &Value, queries: Option<&Value>, advanced: bool) -> Result<(), Reply> {
    match view {
        Value::String(text) if text == "unrestricted" => Ok(()),
        Value::String(text) if text == "blocked" => {
            if queries.is_some_and(|value| Queries::of(value) == Queries::Native) {
                return Err(unparsable("view-data"));
            }
            if advanced { Ok(()) } else { Err(paid_permissions("blocked")) }
        }
        Value::String(text) if text == "impersonated" => Err(paid_feature("Connection Impersonation")),
        Value::Object(_) if view.to_string().contains("sandboxed") => Err(paid_feature("Sandboxes")),
        Value::Object(_) => Ok(()),
        _ => Err(unparsable("view-data")),
    }
}

fn unparsable(key: &str) -> Reply {
    Reply::text(400, &format!("Cannot parse permissions graph because it is invalid: {key}"))
}

fn graph(state: &State, groups: &[i64], only: Option<i64>) -> Value {
    let mut answer = Map::new();
    for group in groups {
        let mut databases = Map::new();
        for database in state.databases.keys() {
            if only.is_none_or(|only| only == *database) {
                databases.insert(database.to_string(), describe(state, *group, *database));
            }
        }
        answer.insert(group.to_string(), Value::Object(databases));
    }
    json!({ "revision": state.data_revision, "groups": answer })
}

fn describe(state: &State, group: i64, database: i64) -> Value {
    if group == ADMINISTRATORS {
        return json!({
            "view-data": "unrestricted",
            "create-queries": "query-builder-and-native",
            "download": { "schemas": "full" },
            "data-model": { "schemas": "all" },
            "details": "yes",
            "transforms": "yes",
        });
    }
    let permission = state.permission(group, database);
    let mut answer = Map::new();
    answer.insert("view-data".into(), permission.view_data);
    for (key, value, least) in [
        ("create-queries", permission.create_queries, "no"),
        ("details", permission.details, "no"),
        ("transforms", permission.transforms, "no"),
    ] {
        if value != least {
            answer.insert(key.into(), value);
        }
    }
    for (key, value) in [("download", permission.download), ("data-model", permission.data_model)] {
        if value != "none" {
            answer.insert(key.into(), json!({ "schemas": value }));
        }
    }
    Value::Object(answer)
}

impl State {
    /// What a group may do with a database.
    fn permission(&self, group: i64, database: i64) -> DataPermission {
        self.data_permissions.get(&group).and_then(|databases| databases.get(&database)).cloned().unwrap_or_else(|| {
            DataPermission { create_queries: Value::from("no"), download: Value::from("none"), ..open_permission() }
        })
    }

    /// Gives a new group what All Users have.
    pub(super) fn copy_all_users_permissions(&mut self, group: i64) {
        let copied = self
            .databases
            .keys()
            .map(|database| {
                let everybody = self.permission(ALL_USERS, *database);
                let permission = DataPermission {
                    create_queries: everybody.create_queries,
                    download: everybody.download,
                    ..open_permission()
                };
                (*database, permission)
            })
            .collect();
        self.data_permissions.insert(group, copied);
    }

    /// Gives every group its rights on a new database: the lowest it has on any
    /// other, or all of them when there is no other.
    pub(super) fn grant_new_database(&mut self, database: i64) {
        let groups: Vec<i64> = self.groups.keys().copied().collect();
        for group in groups {
            if group == ADMINISTRATORS {
                continue;
            }
            let databases = self.data_permissions.entry(group).or_default();
            let lowest = databases
                .values()
                .map(|permission| match Queries::of(&permission.create_queries) {
                    // Where only some tables are open, the others are `no`.
                    Queries::No | Queries::SomeTables => "no",
                    Queries::Builder => "query-builder",
                    Queries::Native => "query-builder-and-native",
                })
                // The words grow with the rights.
                .min_by_key(|level| level.len())
                .unwrap_or("query-builder-and-native");
            databases.insert(database, DataPermission { create_queries: Value::from(lowest), ..open_permission() });
        }
    }

    /// Lays a sent `create-queries` over the stored one, table by table.
    fn merge_queries(&self, database: i64, stored: &Value, sent: &Value) -> Result<Value, Reply> {
        let Value::Object(schemas) = sent else {
            return match sent.as_str() {
                Some("no" | "query-builder" | "query-builder-and-native") => Ok(sent.clone()),
                _ => Err(unparsable("create-queries")),
            };
        };
        let mut leaves: BTreeMap<(String, i64), String> = BTreeMap::new();
        for table in self.tables.values().filter(|table| table.database_id == database) {
            let now = match stored {
                Value::String(level) if level == "no" => "no",
                Value::String(_) => "query-builder",
                other => leaf(other, &table.schema, table.id),
            };
            leaves.insert((table.schema.clone(), table.id), now.to_owned());
        }
        for (schema, level) in schemas {
            let tables: Vec<(i64, &Value)> = match level {
                Value::Object(tables) => {
                    tables.iter().filter_map(|(table, level)| Some((table.parse().ok()?, level))).collect()
                }
                level => leaves.keys().filter(|(name, _)| name == schema).map(|(_, table)| (*table, level)).collect(),
            };
            for (table, level) in tables {
                match level.as_str() {
                    Some(level @ ("no" | "query-builder")) => {
                        leaves.insert((schema.clone(), table), level.to_owned());
                    }
                    _ => return Err(unparsable("create-queries")),
                }
            }
        }
        Ok(coalesced(&leaves))
    }
}

fn leaf<'a>(stored: &'a Value, schema: &str, table: i64) -> &'a str {
    let level = match stored.get(schema) {
        Some(Value::Object(tables)) => tables.get(&table.to_string()),
        level => level,
    };
    level.and_then(Value::as_str).unwrap_or("no")
}

/// One word where all tables agree, at the widest level; `no` is left out.
fn coalesced(leaves: &BTreeMap<(String, i64), String>) -> Value {
    let mut levels: Vec<&String> = leaves.values().collect();
    levels.dedup();
    match levels.as_slice() {
        [] => return Value::from("no"),
        [only] => return Value::from(only.as_str()),
        _ => {}
    }
    let mut by_schema: BTreeMap<&str, Vec<(i64, &str)>> = BTreeMap::new();
    for ((schema, table), level) in leaves {
        by_schema.entry(schema).or_default().push((*table, level));
    }
    let mut answer = Map::new();
    for (schema, tables) in by_schema {
        let first = tables[0].1;
        if tables.iter().all(|(_, level)| *level == first) {
            if first != "no" {
                answer.insert(schema.to_owned(), Value::from(first));
            }
            continue;
        }
        let open: Map<String, Value> = tables
            .into_iter()
            .filter(|(_, level)| *level != "no")
            .map(|(table, level)| (table.to_string(), Value::from(level)))
            .collect();
        answer.insert(schema.to_owned(), Value::Object(open));
    }
    Value::Object(answer)
}
