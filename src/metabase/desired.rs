//! What an instance should hold, and how it is sent. Pure.
//!
//! Every object has a key that is the same on every instance; Metabase's ids
//! come in only when a plan is carried out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::clicks::Click;
use super::content::ValueKind;
use super::instance::Mail;
use crate::access::Scope;
use crate::warehouse::hexadecimal;

/// Everything an instance should hold, by key.
#[derive(Debug, Clone, Default)]
pub(super) struct Desired {
    pub(super) settings: BTreeMap<String, Value>,
    pub(super) mail: Option<Mail>,
    /// The dashboard that everybody sees first, by key; everybody may read it.
    pub(super) home_page: Option<String>,
    /// The rule of the cache.
    pub(super) cache: Option<Value>,
    pub(super) connections: BTreeMap<String, Connection>,
    pub(super) groups: BTreeMap<String, Group>,
    /// In an order in which parents stand before their children.
    pub(super) collections: Vec<Collection>,
    /// `(group, collection)`: may read.
    pub(super) reads: BTreeSet<(String, String)>,
    /// `(group, connection)`: may ask questions of her own, in SQL too.
    pub(super) asks: BTreeSet<(String, String)>,
    /// Whether groups are shut out of the data of connections that are none of theirs.
    pub(super) blocked: bool,
    pub(super) people: BTreeMap<String, Account>,
    /// Addresses, in small letters, of those who may be administrators.
    pub(super) administrators: BTreeSet<String>,
    pub(super) cards: BTreeMap<String, Card>,
    pub(super) dashboards: BTreeMap<String, Dashboard>,
    /// What could not be granted as written, for people.
    pub(super) notes: Vec<String>,
}

impl Desired {
    /// `(group, connection)`: has business with it. What a group reads stands on it, or it asks there.
    pub(super) fn views(&self) -> BTreeSet<(&str, &str)> {
        let mut of: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for card in self.cards.values() {
            of.entry(&card.collection).or_default().insert(&card.connection);
        }
        let read = self.reads.iter().flat_map(|(group, collection)| {
            let connections = of.get(collection.as_str()).into_iter().flatten();
            connections.map(move |connection| (group.as_str(), *connection))
        });
        read.chain(self.asks.iter().map(|(group, connection)| (group.as_str(), connection.as_str()))).collect()
    }

    /// The address that people type, without a slash at its end.
    pub(super) fn site_url(&self) -> &str {
        self.settings.get("site-url").and_then(Value::as_str).unwrap_or_default()
    }
}

/// A Metabase database: the connection of one wall scope.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) scope: Scope,
    pub(super) role: String,
    pub(super) schema: String,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) dbname: String,
    pub(super) ssl: bool,
    pub(super) password_mark: String,
    /// At which hour and minute Metabase looks for new tables.
    pub(super) sync_at: (u32, u32),
}

/// A permission group: the readers of a scope, or its analysts.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) scope: Scope,
    pub(super) name: String,
}

/// A collection: the place of a scope's content.
#[derive(Debug, Clone)]
pub(super) struct Collection {
    pub(super) key: String,
    pub(super) scope: Scope,
    pub(super) parent: Option<String>,
    pub(super) name: String,
    pub(super) description: Option<String>,
}

/// A person's account.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) email: String,
    pub(super) first_name: Option<String>,
    pub(super) last_name: Option<String>,
    pub(super) locale: Option<String>,
    pub(super) active: bool,
    pub(super) groups: BTreeSet<String>,
}

/// A saved question of one scope.
#[derive(Debug, Clone)]
pub(super) struct Card {
    pub(super) scope: Scope,
    pub(super) collection: String,
    pub(super) connection: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) display: String,
    pub(super) sql: String,
    pub(super) visualization: Value,
    /// What its query takes.
    pub(super) parameters: BTreeMap<String, ValueKind>,
}

/// A dashboard of one scope.
#[derive(Debug, Clone)]
pub(super) struct Dashboard {
    pub(super) scope: Scope,
    pub(super) collection: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) width: &'static str,
    /// Its rank among what is pinned in its collection; none: not pinned.
    pub(super) pinned: Option<u32>,
    pub(super) tabs: Vec<String>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) places: Vec<Place>,
}

/// A filter of a dashboard.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parameter {
    pub(super) title: String,
    /// The parameter of its questions that it fills; also its id.
    pub(super) fills: String,
    pub(super) kind: ValueKind,
    pub(super) values: Values,
    pub(super) default: Option<String>,
}

/// Where the values of a filter come from.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    Listed(Vec<String>),
    /// A column of a question of the same scope, by its key.
    Question {
        card: String,
        column: String,
    },
}

/// One rectangle of a dashboard.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    /// The tab it is on, from 0.
    pub(super) tab: Option<usize>,
    pub(super) row: i64,
    pub(super) col: i64,
    pub(super) size_x: i64,
    pub(super) size_y: i64,
    pub(super) shows: Shows,
    pub(super) click: Option<Click>,
}

/// What a rectangle shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shows {
    /// A question, by key.
    Card(String),
    Text(String),
    Heading(String),
    /// Links to dashboards, each with its title, by key.
    Links(Vec<(String, String)>),
}

/// Which dashboards of ours stand where, as text that Metabase draws.
pub(super) fn links_text(site_url: &str, links: &[(String, String)], id: impl Fn(&str) -> Option<i64>) -> String {
    let lines = links.iter().map(|(title, key)| {
        let at = id(key).map_or_else(|| "none".to_owned(), |id| id.to_string());
        // A bracket in a title would end the link.
        format!("[{}]({site_url}/dashboard/{at})", title.replace(['[', ']'], ""))
    });
    lines.collect::<Vec<_>>().join(" · ")
}

impl ValueKind {
    /// The type of a template tag.
    fn tag(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Date => "date",
        }
    }

    /// The type of a filter.
    pub(super) fn filter(self) -> &'static str {
        match self {
            Self::Text => "string/=",
            Self::Number => "number/=",
            Self::Date => "date/single",
        }
    }
}

impl Parameter {
    /// What is sent, and what is found again.
    pub(super) fn body(&self, id: impl Fn(&str) -> Option<i64>) -> Value {
        let (source, config) = match &self.values {
            Values::Listed(values) => ("static-list", json!({"values": values})),
            Values::Question { card, column } => {
                ("card", json!({"card_id": id(card), "value_field": ["field", column, {"base-type": "type/Text"}]}))
            }
        };
        let mut body = json!({
            "id": self.fills,
            "name": self.title,
            "slug": self.fills,
            "type": self.kind.filter(),
            "sectionId": match self.kind {
                ValueKind::Text => "string",
                ValueKind::Number => "number",
                ValueKind::Date => "date",
            },
            "values_query_type": "list",
            "values_source_type": source,
            "values_source_config": config,
        });
        if let Some(default) = &self.default {
            body["default"] = json!([default]);
        }
        body
    }
}

impl Card {
    /// Tells one version of a question from another, on every instance alike.
    pub(super) fn hash(&self) -> String {
        hash(&json!([
            self.collection,
            self.connection,
            self.name,
            self.description,
            self.display,
            self.sql,
            self.visualization,
            self.parameters.iter().map(|(name, kind)| json!([name, kind.tag()])).collect::<Vec<_>>(),
        ]))
    }

    /// Its variables as they are found again: each with its type, and without a default.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        self.parameters.iter().map(|(name, kind)| (name.clone(), kind.tag().to_owned())).collect()
    }

    /// What is sent; ids are the instance's.
    pub(super) fn body(&self, collection_id: i64, database_id: i64) -> Value {
        let mut tags = serde_json::Map::new();
        let mut parameters = Vec::new();
        for (name, kind) in &self.parameters {
            let id = tag_id(&self.collection, name);
            let title = title_of(name);
            tags.insert(name.clone(), json!({"id": id, "name": name, "display-name": title, "type": kind.tag()}));
            parameters.push(json!({
                "id": id,
                "type": kind.filter(),
                "name": title,
                "slug": name,
                "target": ["variable", ["template-tag", name]],
            }));
        }
        let mut native = json!({"query": self.sql});
        if !tags.is_empty() {
            native["template-tags"] = tags.into();
        }
        json!({
            "name": self.name,
            "description": self.description,
            "display": self.display,
            "collection_id": collection_id,
            // Every version still takes this form and answers in another.
            "dataset_query": {"type": "native", "database": database_id, "native": native},
            "visualization_settings": self.visualization,
            "parameters": parameters,
        })
    }
}

/// A tag's id is the same whenever it is written.
fn tag_id(collection: &str, name: &str) -> String {
    let digest = hexadecimal(&Sha256::digest(format!("{collection} {name}"))[..16]);
    format!("{}-{}-4{}-8{}-{}", &digest[..8], &digest[8..12], &digest[13..16], &digest[17..20], &digest[20..32])
}

fn title_of(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).map(|letter| if letter == '_' { ' ' } else { letter }).collect()
}

impl Dashboard {
    /// The questions it shows, by key.
    pub(super) fn shown(&self) -> impl Iterator<Item = &String> {
        self.places.iter().filter_map(|place| match &place.shows {
            Shows::Card(key) => Some(key),
            _ => None,
        })
    }

    /// Tells one version of a dashboard from another, on every instance alike.
    pub(super) fn hash(&self) -> String {
        let places: Vec<Value> = self
            .places
            .iter()
            .map(|place| {
                let shows = match &place.shows {
                    Shows::Card(key) => json!({"card": key}),
                    Shows::Text(text) => json!({"text": text}),
                    Shows::Heading(text) => json!({"heading": text}),
                    Shows::Links(links) => json!({"links": links}),
                };
                let place_of = json!([place.tab, place.row, place.col, place.size_x, place.size_y, shows]);
                match &place.click {
                    Some(click) => json!([place_of, click.mark()]),
                    None => place_of,
                }
            })
            .collect();
        let parameters: Vec<Value> = self
            .parameters
            .iter()
            .map(|parameter| match &parameter.values {
                Values::Question { card, .. } => json!([parameter.body(|_| None), card]),
                Values::Listed(_) => parameter.body(|_| None),
            })
            .collect();
        hash(&json!([self.collection, self.name, self.description, self.width, self.tabs, parameters, places]))
    }
}

impl Connection {
    /// Tells one version of a connection from another.
    pub(super) fn hash(&self) -> String {
        let mut details = self.details("");
        details["password"] = self.password_mark.clone().into();
        hash(&json!([self.name(), details]))
    }

    /// What Metabase calls it: analysts read it.
    pub(super) fn name(&self) -> String {
        self.scope.to_string()
    }

    /// How Metabase connects.
    pub(super) fn details(&self, password: &str) -> Value {
        json!({
            "host": self.host,
            "port": self.port,
            "dbname": self.dbname,
            "user": self.role,
            "password": password,
            "ssl": self.ssl,
            "schema-filters-type": "inclusion",
            "schema-filters-patterns": self.schema,
            "tunnel-enabled": false,
            "json-unfolding": false,
            "advanced-options": true,
            "let-user-control-scheduling": true,
        })
    }

    /// What is sent. Values are never scanned: the lists Metabase would keep of
    /// them are shared by the whole instance.
    pub(super) fn body(&self, password: &str) -> Value {
        let (hour, minute) = self.sync_at;
        json!({
            "name": self.name(),
            "engine": "postgres",
            "details": self.details(password),
            "is_full_sync": false,
            "is_on_demand": false,
            "auto_run_queries": true,
            "schedules": {
                "metadata_sync": {"schedule_type": "daily", "schedule_hour": hour, "schedule_minute": minute},
                "cache_field_values": null,
            },
        })
    }
}

fn hash(value: &Value) -> String {
    hexadecimal(&Sha256::digest(value.to_string())[..16])
}
