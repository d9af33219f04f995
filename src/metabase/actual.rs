//! What an instance holds, read with few calls and brought into one form.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::client::{self, Client, list};
use super::large::{self, KnownGraph};
use super::session::{administrators, all_users};
use super::tables::{Kind, Objects};

/// Everything that plans are made of.
#[derive(Debug, Clone, Default)]
pub(super) struct Actual {
    pub(super) version: String,
    pub(super) settings: BTreeMap<String, Setting>,
    /// The rule of the cache for the whole instance, where it was asked for and there is one.
    pub(super) cache: Option<Value>,
    pub(super) databases: BTreeMap<i64, Database>,
    pub(super) groups: BTreeMap<i64, String>,
    pub(super) administrators: i64,
    pub(super) all_users: i64,
    pub(super) memberships: Vec<Membership>,
    pub(super) users: BTreeMap<i64, User>,
    pub(super) collections: BTreeMap<i64, Collection>,
    /// What a group may do in a collection: `read` or `write`.
    pub(super) levels: BTreeMap<(i64, Place), String>,
    /// What a group may ask of a database, where it may ask anything.
    pub(super) asks: BTreeMap<(i64, i64), String>,
    /// Of which database a group may see data. Only read where Metabase can block it.
    pub(super) views: Option<BTreeSet<(i64, i64)>>,
    /// Questions and dashboards in our collections.
    pub(super) items: BTreeMap<(Kind, i64), Item>,
    /// Questions that stand on a database, of those that somebody asked about.
    pub(super) standing: BTreeMap<i64, BTreeSet<i64>>,
    /// The whole of those that were edited since we wrote them.
    pub(super) details: BTreeMap<(Kind, i64), Value>,
}

/// A collection, or the top of one of the two namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Root,
    SnippetsRoot,
    Collection(i64),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    pub(super) value: Value,
    /// The variable of the server's environment that gives it: then it cannot be changed here.
    pub(super) variable: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Database {
    pub(super) name: String,
    pub(super) sample: bool,
    pub(super) details: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Membership {
    pub(super) id: i64,
    pub(super) group: i64,
    pub(super) user: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) email: String,
    pub(super) first_name: Option<String>,
    pub(super) last_name: Option<String>,
    pub(super) locale: Option<String>,
    pub(super) active: bool,
    pub(super) superuser: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Collection {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) parent: Option<i64>,
    pub(super) archived: bool,
    pub(super) sample: bool,
    pub(super) entity_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) display: Option<String>,
    pub(super) collection: Option<i64>,
    pub(super) archived: bool,
    /// Its position among what is pinned in its collection, where the list tells that.
    pub(super) pinned: Option<Option<i64>>,
    pub(super) entity_id: Option<String>,
    /// When it was last edited, and by whom.
    pub(super) mark: String,
    pub(super) editor: Option<i64>,
}

pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Reads an instance. `objects` says which collections are ours, and which
/// edits were our own.
/// What groups may ask is taken from `known` where it must still be so; what is to be
/// remembered of it comes back.
pub(super) async fn read(
    client: &Client,
    objects: &Objects,
    known: Option<&KnownGraph>,
) -> Result<(Actual, Option<KnownGraph>), client::Error> {
    let mut actual = Actual::default();
    let properties = client.get("api/session/properties").await?;
    actual.version = text(&properties["version"]["tag"]).unwrap_or_default();
    actual.views = (properties["token-features"]["advanced_permissions"] == true).then(BTreeSet::new);
    for setting in list(client.get("api/setting").await?) {
        if let Some(key) = text(&setting["key"]) {
            let mut value = setting["value"].clone();
            let variable = (setting["is_env_setting"] == true)
                .then(|| text(&setting["env_name"]).unwrap_or_else(|| "a variable".to_owned()));
            if value.is_null() {
                // Unset: the default counts. It may come as JSON or as text about it. What the
                // environment gives is not told here, and the default is then a text that says so.
                value = if variable.is_some() { properties[&key].clone() } else { setting["default"].clone() };
            }
            actual.settings.insert(key, Setting { value, variable });
        }
    }
    let groups = list(client.get("api/permissions/group").await?);
    actual.administrators = administrators(&groups);
    actual.all_users = all_users(&groups);
    for group in &groups {
        if let Some(id) = group["id"].as_i64() {
            actual.groups.insert(id, text(&group["name"]).unwrap_or_default());
        }
    }
    memberships(client, &mut actual).await?;
    users(client, &mut actual).await?;
    databases(client, &mut actual).await?;
    collections(client, &mut actual).await?;
    levels(client, &mut actual).await?;
    let graph = large::asks(client, known, &mut actual).await?;
    items(client, objects, &mut actual).await?;
    details(client, objects, &mut actual).await?;
    Ok((actual, graph))
}

/// Reads the rule of the cache for the whole instance.
pub(super) async fn cache(client: &Client) -> Result<Option<Value>, client::Error> {
    let rows = list(client.get("api/cache?model=root").await?);
    Ok(rows.into_iter().find(|row| row["model"] == "root").map(|row| row["strategy"].clone()))
}

/// Reads which questions stand on some databases, wherever they lie: they go with them.
pub(super) async fn standing(client: &Client, databases: &[i64], actual: &mut Actual) -> Result<(), client::Error> {
    for database in databases {
        if !actual.databases.contains_key(database) {
            continue;
        }
        let cards = list(client.get(&format!("api/card?f=database&model_id={database}")).await?);
        let ids = cards.iter().filter_map(|card| card["id"].as_i64()).collect();
        actual.standing.insert(*database, ids);
    }
    Ok(())
}

async fn memberships(client: &Client, actual: &mut Actual) -> Result<(), client::Error> {
    let answer = client.get("api/permissions/membership").await?;
    for row in answer.as_object().into_iter().flat_map(|map| map.values()).flat_map(|rows| list(rows.clone())) {
        let id = |key: &str| row[key].as_i64();
        if let (Some(id), Some(group), Some(user)) = (id("membership_id"), id("group_id"), id("user_id")) {
            actual.memberships.push(Membership { id, group, user });
        }
    }
    Ok(())
}

async fn users(client: &Client, actual: &mut Actual) -> Result<(), client::Error> {
    for user in client.pages("api/user?status=all").await? {
        let (Some(id), Some(email)) = (user["id"].as_i64(), text(&user["email"])) else { continue };
        actual.users.insert(
            id,
            User {
                email: email.to_lowercase(),
                first_name: text(&user["first_name"]),
                last_name: text(&user["last_name"]),
                locale: text(&user["locale"]),
                active: user["is_active"] != false,
                superuser: user["is_superuser"] == true,
            },
        );
    }
    Ok(())
}

async fn databases(client: &Client, actual: &mut Actual) -> Result<(), client::Error> {
    for database in list(client.get("api/database").await?) {
        if let Some(id) = database["id"].as_i64() {
            actual.databases.insert(
                id,
                Database {
                    name: text(&database["name"]).unwrap_or_default(),
                    sample: database["is_sample"] == true,
                    details: database["details"].clone(),
                },
            );
        }
    }
    Ok(())
}

async fn collections(client: &Client, actual: &mut Actual) -> Result<(), client::Error> {
    for archived in [false, true] {
        let path = format!("api/collection?exclude-other-user-collections=true&archived={archived}");
        for row in list(client.get(&path).await?) {
            // The top and the trash have no number, or are of a kind of their own.
            let personal = row["is_personal"] == true || row["personal_owner_id"].is_i64();
            let (Some(id), false) = (row["id"].as_i64(), personal || row["type"] == "trash") else { continue };
            let parent = row["location"]
                .as_str()
                .and_then(|location| location.split('/').rfind(|part| !part.is_empty()))
                .and_then(|part| part.parse().ok());
            actual.collections.insert(
                id,
                Collection {
                    name: text(&row["name"]).unwrap_or_default(),
                    description: text(&row["description"]),
                    parent: row["parent_id"].as_i64().or(parent),
                    archived,
                    sample: row["is_sample"] == true,
                    entity_id: text(&row["entity_id"]),
                },
            );
        }
    }
    Ok(())
}

async fn levels(client: &Client, actual: &mut Actual) -> Result<(), client::Error> {
    for (path, snippets) in [("api/collection/graph", false), ("api/collection/graph?namespace=snippets", true)] {
        let answer = client.get(path).await?;
        for (group, levels) in answer["groups"].as_object().into_iter().flatten() {
            let Ok(group) = group.parse::<i64>() else { continue };
            for (key, level) in levels.as_object().into_iter().flatten() {
                let place = match (key.as_str(), snippets) {
                    ("root", false) => Some(Place::Root),
                    ("root", true) => Some(Place::SnippetsRoot),
                    (id, _) => id.parse().ok().map(Place::Collection),
                };
                // Older servers list `none`, newer ones leave it out.
                if let (Some(place), Some(level @ ("read" | "write"))) = (place, level.as_str()) {
                    actual.levels.insert((group, place), level.to_owned());
                }
            }
        }
    }
    actual.levels.retain(|(group, _), _| *group != actual.administrators);
    Ok(())
}

/// Brings `create-queries` into one form; `None` is no right at all, which
/// servers leave out, write as `no`, or write as a map of nothing else.
pub(super) fn asked(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text == "no" => None,
        Value::String(text) => Some(text.clone()),
        Value::Object(parts) => {
            let levels: BTreeSet<Option<String>> = parts.values().map(asked).collect();
            levels.into_iter().flatten().next().map(|_| "some tables".to_owned())
        }
        _ => None,
    }
}

async fn items(client: &Client, objects: &Objects, actual: &mut Actual) -> Result<(), client::Error> {
    let ours: Vec<i64> = objects
        .iter()
        .filter(|((kind, _), _)| *kind == Kind::Collection)
        .filter_map(|(_, known)| known.id)
        .filter(|id| actual.collections.get(id).is_some_and(|collection| !collection.archived))
        .collect();
    read_items(client, &ours, &mut actual.items).await
}

/// Lists questions and dashboards of some collections.
pub(super) async fn read_items(
    client: &Client,
    collections: &[i64],
    items: &mut BTreeMap<(Kind, i64), Item>,
) -> Result<(), client::Error> {
    use futures::{StreamExt as _, TryStreamExt as _};
    if collections.len() > large::COLLECTIONS {
        return large::items(client, collections, items).await;
    }
    let calls = collections.iter().map(|collection| async move {
        let models = "models=card&models=dataset&models=metric&models=dashboard&show_dashboard_questions=true";
        client.pages(&format!("api/collection/{collection}/items?{models}")).await.map(|rows| (*collection, rows))
    });
    let pages: Vec<(i64, Vec<Value>)> = futures::stream::iter(calls).buffered(super::AT_ONCE).try_collect().await?;
    for (collection, rows) in pages {
        for row in rows {
            let kind = if row["model"] == "dashboard" { Kind::Dashboard } else { Kind::Card };
            if let Some(id) = row["id"].as_i64() {
                items.insert((kind, id), item(&row, Some(collection)));
            }
        }
    }
    Ok(())
}

pub(super) fn item(row: &Value, collection: Option<i64>) -> Item {
    let edit = &row["last-edit-info"];
    Item {
        name: text(&row["name"]).unwrap_or_default(),
        description: text(&row["description"]),
        display: text(&row["display"]),
        collection: row["collection_id"].as_i64().or(collection),
        archived: row["archived"] == true,
        pinned: row.get("collection_position").map(Value::as_i64),
        entity_id: text(&row["entity_id"]),
        mark: text(&edit["timestamp"])
            .or_else(|| text(&row["last_edited_at"]))
            .or_else(|| text(&row["updated_at"]))
            .unwrap_or_default(),
        editor: edit["id"].as_i64().or_else(|| row["last_editor_id"].as_i64()),
    }
}

/// Reads whole what somebody edited, and looks for what is not where we put it.
async fn details(client: &Client, objects: &Objects, actual: &mut Actual) -> Result<(), client::Error> {
    for ((kind, _), known) in objects {
        let (Some(id), Kind::Card | Kind::Dashboard) = (known.id, kind) else { continue };
        let item = actual.items.get(&(*kind, id));
        if item.is_some_and(|item| item.mark == known.mark && !item.mark.is_empty()) {
            continue;
        }
        if let Some(whole) = read_whole(client, *kind, id).await? {
            // Somebody may have moved it out of our collections, or archived it.
            actual.items.entry((*kind, id)).or_insert_with(|| item_of(&whole));
            actual.details.insert((*kind, id), whole);
        }
    }
    Ok(())
}

fn item_of(whole: &Value) -> Item {
    item(whole, None)
}

/// Reads a question or dashboard; `None` when it is gone.
pub(super) async fn read_whole(client: &Client, kind: Kind, id: i64) -> Result<Option<Value>, client::Error> {
    let path = match kind {
        Kind::Dashboard => format!("api/dashboard/{id}"),
        _ => format!("api/card/{id}?legacy-mbql=true"),
    };
    match client.get(&path).await {
        Ok(whole) => Ok(Some(whole)),
        Err(error) if matches!(error.status().map(|status| status.as_u16()), Some(404 | 410)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a question asks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// The connection's number.
    pub(super) database: i64,
    pub(super) sql: String,
    /// Its variables: of which type, and with which default.
    pub(super) variables: BTreeMap<String, String>,
}

/// Finds the query in any of the three forms in which servers answer.
pub(super) fn query_of(card: &Value) -> Option<Query> {
    let native = |query: &Value, sql: &Value, tags: &Value| {
        let tags = tags.as_object().into_iter().flatten();
        let variable = |tag: &Value| {
            let kind = tag["type"].as_str().unwrap_or_default();
            if tag["default"].is_null() { kind.to_owned() } else { format!("{kind}, {} unless told", tag["default"]) }
        };
        Some(Query {
            database: query["database"].as_i64()?,
            sql: sql.as_str()?.to_owned(),
            variables: tags.map(|(name, tag)| (name.clone(), variable(tag))).collect(),
        })
    };
    let legacy = |query: &Value| native(query, &query["native"]["query"], &query["native"]["template-tags"]);
    let query = &card["dataset_query"];
    let stage = &query["stages"][0];
    legacy(query)
        .or_else(|| native(query, &stage["native"], &stage["template-tags"]))
        .or_else(|| legacy(&serde_json::from_str(card["legacy_query"].as_str()?).ok()?))
}

impl Actual {
    /// The highest id of a kind; ids are never used again.
    pub(super) fn highest(&self, kind: Kind) -> i64 {
        let last = match kind {
            Kind::Connection => self.databases.keys().last().copied(),
            Kind::Group => self.groups.keys().last().copied(),
            Kind::Collection => self.collections.keys().last().copied(),
            Kind::Card | Kind::Dashboard => self.items.keys().filter(|(of, _)| *of == kind).map(|(_, id)| *id).max(),
            Kind::Person => self.users.keys().last().copied(),
            Kind::Timeline | Kind::Setting => None,
        };
        last.unwrap_or(0)
    }

    /// Groups that are not administrators'.
    pub(super) fn ordinary_groups(&self) -> impl Iterator<Item = i64> + '_ {
        self.groups.keys().copied().filter(|id| *id != self.administrators)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_right_to_ask_looks_alike_in_all_its_forms() {
        for none in [json!(null), json!("no"), json!({}), json!({"public": "no"}), json!({"public": {"1": "no"}})] {
            assert_eq!(asked(&none), None, "{none}");
        }
        assert_eq!(asked(&json!("query-builder")).as_deref(), Some("query-builder"));
        assert_eq!(asked(&json!({"public": {"1": "query-builder"}})).as_deref(), Some("some tables"));
    }

    #[test]
    fn a_query_is_found_in_every_form() {
        let tags = json!({"day": {"type": "date"}, "store": {"type": "text", "default": "000101"}});
        let native = json!({"query": "SELECT 1", "template-tags": tags});
        let legacy = json!({"type": "native", "database": 3, "native": native});
        let stage = json!({"native": "SELECT 1", "template-tags": tags});
        for card in [
            json!({"dataset_query": legacy}),
            json!({"dataset_query": {"lib/type": "mbql/query", "database": 3, "stages": [stage]}}),
            json!({"dataset_query": {}, "legacy_query": legacy.to_string()}),
        ] {
            let query = query_of(&card).unwrap();
            assert_eq!((query.database, query.sql.as_str()), (3, "SELECT 1"));
            let variables: Vec<_> = query.variables.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
            assert_eq!(variables, ["day: date", "store: text, \"000101\" unless told"]);
        }
    }
}
