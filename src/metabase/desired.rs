//! What an instance should hold: the tree, the people and the files, put together. Pure.
//!
//! Every object has a key that is the same on every instance; Metabase's ids
//! come in only when a plan is carried out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::content::{Content, GRID, Width};
use super::render::Renderer;
use crate::access::{Level, Person, Scope, ScopeKind, Tree, has_role, role_name};
use crate::settings;
use crate::warehouse::{Address, hexadecimal};

/// Everything an instance should hold, by key.
#[derive(Debug, Clone, Default)]
pub(super) struct Desired {
    pub(super) settings: BTreeMap<String, Value>,
    pub(super) connections: BTreeMap<String, Connection>,
    pub(super) groups: BTreeMap<String, Group>,
    /// In an order in which parents stand before their children.
    pub(super) collections: Vec<Collection>,
    /// `(group, collection)`: may read.
    pub(super) reads: BTreeSet<(String, String)>,
    /// `(group, connection)`: may ask questions of her own, in SQL too.
    pub(super) asks: BTreeSet<(String, String)>,
    pub(super) people: BTreeMap<String, Account>,
    pub(super) cards: BTreeMap<String, Card>,
    pub(super) dashboards: BTreeMap<String, Dashboard>,
    /// What could not be granted as written, for people.
    pub(super) notes: Vec<String>,
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
}

/// A dashboard of one scope.
#[derive(Debug, Clone)]
pub(super) struct Dashboard {
    pub(super) scope: Scope,
    pub(super) collection: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) width: &'static str,
    pub(super) places: Vec<Place>,
}

/// One rectangle of a dashboard.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub(super) row: i64,
    pub(super) col: i64,
    pub(super) size_x: i64,
    pub(super) size_y: i64,
    pub(super) shows: Shows,
}

/// What a rectangle shows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shows {
    /// A question, by key.
    Card(String),
    Text(String),
    Heading(String),
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
            self.visualization
        ]))
    }

    /// What is sent; ids are the instance's.
    pub(super) fn body(&self, collection_id: i64, database_id: i64) -> Value {
        json!({
            "name": self.name,
            "description": self.description,
            "display": self.display,
            "collection_id": collection_id,
            // Every version still takes this form and answers in another.
            "dataset_query": {"type": "native", "database": database_id, "native": {"query": self.sql}},
            "visualization_settings": self.visualization,
        })
    }
}

impl Dashboard {
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
                };
                json!([place.row, place.col, place.size_x, place.size_y, shows])
            })
            .collect();
        hash(&json!([self.collection, self.name, self.description, self.width, places]))
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

/// Puts together what an instance should hold.
pub(super) struct Wishes<'a> {
    pub(super) settings: &'a settings::Metabase,
    pub(super) installation: &'a str,
    pub(super) address: &'a Address,
    pub(super) tree: &'a Tree,
    pub(super) people: &'a [Person],
    pub(super) content: &'a Content,
    /// Derives what tells that a role's password changed.
    pub(super) password_mark: &'a dyn Fn(&str) -> String,
}

/// The group of a scope's analysts has a key of its own.
fn analysts_of(scope: &Scope) -> String {
    format!("{scope} (analysts)")
}

impl Wishes<'_> {
    /// Says what should be there, or what is wrong with the content for a scope.
    pub(super) fn desired(&self) -> Result<Desired, Vec<String>> {
        let mut desired = Desired { settings: self.instance_settings(), ..Desired::default() };
        let mut wrong = Vec::new();
        self.access(&mut desired);
        self.content(&mut desired, &mut wrong);
        self.connections(&mut desired);
        if wrong.is_empty() { Ok(desired) } else { Err(wrong) }
    }

    fn instance_settings(&self) -> BTreeMap<String, Value> {
        let settings = self.settings;
        let site_url = settings.site_url.as_ref().unwrap_or(&settings.url);
        BTreeMap::from([
            ("enable-public-sharing".to_owned(), json!(false)),
            ("anon-tracking-enabled".to_owned(), json!(false)),
            ("enable-xrays".to_owned(), json!(false)),
            ("site-name".to_owned(), json!(settings.site_name)),
            ("site-url".to_owned(), json!(site_url.trim_end_matches('/'))),
            ("site-locale".to_owned(), json!(settings.locale)),
        ])
    }

    /// Groups, collections, who reads which, and everybody's account.
    fn access(&self, desired: &mut Desired) {
        let levels: BTreeSet<ScopeKind> = self.content.dashboards.values().map(|dashboard| dashboard.level).collect();
        let granted: BTreeMap<&Scope, Level> =
            self.people.iter().flat_map(Person::levels).fold(BTreeMap::new(), |mut all, (scope, level)| {
                let highest = all.entry(scope).or_insert(level);
                *highest = (*highest).max(level);
                all
            });
        let renderer = Renderer::new(self.tree, self.content);
        for scope in self.tree.scopes() {
            let key = scope.to_string();
            let level = granted.get(&scope).copied();
            // Somebody who has a scope has all that hangs under it.
            let anything = levels.iter().any(|level| *level >= scope.kind()) || level.is_some();
            if !anything {
                continue;
            }
            desired.groups.insert(key.clone(), Group { scope: scope.clone(), name: key.clone() });
            if level >= Some(Level::Analyst) && has_role(&scope, self.settings.wall) {
                let analysts = analysts_of(&scope);
                desired.groups.insert(analysts.clone(), Group { scope: scope.clone(), name: analysts.clone() });
                desired.asks.insert((analysts, key.clone()));
            }
            let naming = self.content.collections.levels.get(&scope.kind());
            let fill = |template: &str| renderer.text(template, &scope).unwrap_or_else(|_| template.to_owned());
            desired.collections.push(Collection {
                key: key.clone(),
                scope: scope.clone(),
                parent: self.tree.parent(&scope).map(|parent| parent.to_string()),
                name: naming.map_or_else(|| self.tree.title(&scope), |naming| fill(&naming.title)),
                description: naming.and_then(|naming| naming.description.as_deref()).map(fill),
            });
        }
        let collections: BTreeSet<String> =
            desired.collections.iter().map(|collection| collection.key.clone()).collect();
        for collection in &mut desired.collections {
            collection.parent.take_if(|parent| !collections.contains(parent));
        }
        for scope in self.tree.scopes() {
            for holder in self.tree.lineage(&scope) {
                let (group, collection) = (holder.to_string(), scope.to_string());
                if desired.groups.contains_key(&group) && collections.contains(&collection) {
                    desired.reads.insert((group, collection));
                }
            }
        }
        for person in self.people {
            let account = self.account(person, desired);
            desired.people.insert(person.id.to_string(), account);
        }
    }

    fn account(&self, person: &Person, desired: &mut Desired) -> Account {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let mut groups = BTreeSet::new();
        for (scope, level) in person.levels() {
            let key = scope.to_string();
            if !self.tree.contains(scope) {
                desired.notes.push(format!("a grant of `{scope}` means nothing: the scope is not in the tree"));
                continue;
            }
            groups.insert(key);
            if level >= Level::Analyst {
                let analysts = analysts_of(scope);
                if desired.groups.contains_key(&analysts) {
                    groups.insert(analysts);
                } else {
                    desired.notes.push(format!(
                        "an analyst of `{scope}` gets dashboards only: the scope is below the wall and has no connection of its own"
                    ));
                }
            }
        }
        Account {
            email: person.email.clone(),
            first_name: some(&person.first_name),
            last_name: some(&person.last_name),
            locale: person.language.as_ref().map(|language| language.replace('-', "_")),
            active: person.active,
            groups,
        }
    }

    fn content(&self, desired: &mut Desired, wrong: &mut Vec<String>) {
        let renderer = Renderer::new(self.tree, self.content);
        for (name, dashboard) in &self.content.dashboards {
            for scope in self.tree.scopes().into_iter().filter(|scope| scope.kind() == dashboard.level) {
                let key = scope.to_string();
                let Some(connection) = self.connection_of(&scope) else { continue };
                let mut text = |template: &str| {
                    renderer.text(template, &scope).unwrap_or_else(|message| {
                        wrong.push(format!("metabase/dashboards/{name}.toml: {message}"));
                        String::new()
                    })
                };
                let (title, description) = (text(&dashboard.title), text(&dashboard.description));
                let mut grid = Grid::default();
                for card in &dashboard.cards {
                    let shows = match (&card.question, &card.text, &card.heading) {
                        (Some(question), _, _) => Shows::Card(format!("{question}@{key}")),
                        (_, Some(template), _) => Shows::Text(text(template)),
                        (_, _, heading) => Shows::Heading(text(heading.as_deref().unwrap_or_default())),
                    };
                    grid.put(card.size.columns, card.size.rows, shows);
                }
                for question in dashboard.cards.iter().filter_map(|card| card.question.as_ref()) {
                    let Some(definition) = self.content.questions.get(question) else { continue };
                    match renderer.sql(definition, &scope) {
                        Ok(sql) => {
                            desired.cards.insert(
                                format!("{question}@{key}"),
                                Card {
                                    scope: scope.clone(),
                                    collection: key.clone(),
                                    connection: connection.to_string(),
                                    name: definition.front.title.clone(),
                                    description: definition.front.description.clone(),
                                    display: definition.front.display.clone(),
                                    sql,
                                    visualization: definition.visualization(&self.content.collections.currency),
                                },
                            );
                        }
                        Err(message) => {
                            wrong.push(format!("metabase/questions/{question}.sql, for `{scope}`: {message}"));
                        }
                    }
                }
                desired.dashboards.insert(
                    format!("{name}@{key}"),
                    Dashboard {
                        scope: scope.clone(),
                        collection: key.clone(),
                        name: title,
                        description,
                        width: match dashboard.width {
                            Width::Fixed => "fixed",
                            Width::Full => "full",
                        },
                        places: grid.places,
                    },
                );
            }
        }
    }

    /// The narrowest scope around one that has a role of its own.
    fn connection_of(&self, scope: &Scope) -> Option<Scope> {
        self.tree.lineage(scope).into_iter().find(|scope| has_role(scope, self.settings.wall))
    }

    /// A connection for each scope whose questions or analysts need one.
    fn connections(&self, desired: &mut Desired) {
        let needed: BTreeSet<&String> = desired
            .cards
            .values()
            .map(|card| &card.connection)
            .chain(desired.asks.iter().map(|(_, connection)| connection))
            .collect();
        let mut connections = BTreeMap::new();
        for scope in self.tree.scopes().into_iter().filter(|scope| needed.contains(&scope.to_string())) {
            let role = role_name(self.installation, &scope);
            // Spread over two hours of the night, so that syncs don't come at once.
            let minute = u32::from(Sha256::digest(scope.to_string())[0]) % 120;
            connections.insert(
                scope.to_string(),
                Connection {
                    password_mark: (self.password_mark)(&role),
                    role,
                    schema: scope.brand().map_or_else(|| "mart_all".to_owned(), crate::ids::BrandId::schema),
                    host: self.settings.database_host.clone().unwrap_or_else(|| self.address.host.clone()),
                    port: self.settings.database_port.unwrap_or(self.address.port),
                    dbname: self.address.database.clone(),
                    ssl: self.settings.database_ssl,
                    sync_at: (1 + minute / 60, minute % 60),
                    scope,
                },
            );
        }
        desired.connections = connections;
    }
}

/// Fills rows from the left; a row is as high as its highest card.
#[derive(Default)]
struct Grid {
    places: Vec<Place>,
    row: i64,
    col: i64,
    height: i64,
}

impl Grid {
    fn put(&mut self, columns: i64, rows: i64, shows: Shows) {
        if self.col + columns > GRID {
            self.row += self.height;
            (self.col, self.height) = (0, 0);
        }
        self.places.push(Place { row: self.row, col: self.col, size_x: columns, size_y: rows, shows });
        self.col += columns;
        self.height = self.height.max(rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_fill_a_row_before_the_next_begins() {
        let mut grid = Grid::default();
        for (columns, rows) in [(24, 1), (8, 3), (8, 6), (8, 3), (12, 6)] {
            grid.put(columns, rows, Shows::Text(String::new()));
        }
        let corners: Vec<(i64, i64)> = grid.places.iter().map(|place| (place.row, place.col)).collect();
        assert_eq!(corners, [(0, 0), (1, 0), (1, 8), (1, 16), (7, 0)]);
    }
}
