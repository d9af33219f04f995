//! Puts together what an instance should hold: the tree, the people and the files. Pure.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::clicks::Click;
use super::content::{self, Content, GRID, Readers, ValueKind, Width};
use super::desired::{
    Account, Card, Collection, Connection, Dashboard, Desired, Group, Parameter, Place, Shows, Values,
};
use super::instance::{self, Mail, cache_strategy};
use super::render::Renderer;
use crate::access::{Level, Person, Scope, ScopeKind, Tree, has_role, role_name};
use crate::settings;
use crate::warehouse::Address;
use crate::words::counted;

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
    /// The same of any other secret.
    pub(super) secret_mark: &'a dyn Fn(&SecretString) -> String,
}

/// The group of a scope's analysts has a key of its own.
fn analysts_of(scope: &Scope) -> String {
    format!("{scope} (analysts)")
}

/// The group of a scope's owners, and the collection that only they read.
fn owners_of(scope: &Scope) -> String {
    format!("{scope} (owners)")
}

impl Wishes<'_> {
    /// Says what should be there, or what is wrong with the content for a scope.
    pub(super) fn desired(&self) -> Result<Desired, Vec<String>> {
        let mail = self.settings.mail.as_ref().map(|mail| Mail::of(mail, self.secret_mark));
        let cache = self.settings.cache.map(cache_strategy);
        let blocked = self.settings.isolation == settings::Isolation::Blocked;
        let told = [&self.settings.admin_email].into_iter().chain(&self.settings.administrators);
        let administrators = told.map(|email| email.to_lowercase()).collect();
        let settings = self.instance_settings();
        let mut desired = Desired { settings, mail, cache, blocked, administrators, ..Desired::default() };
        let mut wrong = Vec::new();
        self.access(&mut desired);
        self.content(&mut desired, &mut wrong);
        self.connections(&mut desired);
        self.home_page(&mut desired);
        if wrong.is_empty() { Ok(desired) } else { Err(wrong) }
    }

    fn instance_settings(&self) -> BTreeMap<String, Value> {
        let settings = self.settings;
        let site_url = settings.site_url.as_ref().unwrap_or(&settings.url);
        let always = [
            ("enable-public-sharing", json!(false)),
            ("anon-tracking-enabled", json!(false)),
            ("enable-xrays", json!(false)),
            ("site-name", json!(settings.site_name)),
            ("site-url", json!(site_url.trim_end_matches('/'))),
            ("site-locale", json!(settings.locale)),
        ];
        let all = always.into_iter().chain(instance::values(settings));
        all.map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// One page for everybody is set only while everybody may read it: to all others
    /// the first thing of the day would be a closed door.
    fn home_page(&self, desired: &mut Desired) {
        if let Some(key) = &self.settings.home_page {
            let opens = |account: &&Account, collection: &String| {
                account.groups.iter().any(|group| desired.reads.contains(&(group.clone(), collection.clone())))
            };
            match desired.dashboards.get(key) {
                None => desired.notes.push(format!("there is no home page: no dashboard is called `{key}`")),
                Some(board) => {
                    let people = desired.people.values().filter(|account| account.active);
                    let closed = people.filter(|account| !opens(account, &board.collection)).count();
                    if closed == 0 {
                        desired.home_page = Some(key.clone());
                    } else {
                        desired.notes.push(format!(
                            "there is no home page: {} may not read `{key}`",
                            counted(closed, "person", "people")
                        ));
                    }
                }
            }
        }
        if desired.home_page.is_none() {
            desired.settings.insert("custom-homepage".to_owned(), json!(false));
        }
    }

    /// Groups, collections, who reads which, and everybody's account.
    fn access(&self, desired: &mut Desired) {
        let levels: BTreeSet<ScopeKind> =
            self.content.dashboards.values().flat_map(content::Dashboard::levels).collect();
        let owners = |dashboard: &&content::Dashboard| dashboard.readers == Readers::Owners;
        let owned: BTreeSet<ScopeKind> =
            self.content.dashboards.values().filter(owners).flat_map(content::Dashboard::levels).collect();
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
            if level == Some(Level::Owner) && owned.iter().any(|level| *level >= scope.kind()) {
                let owners = owners_of(&scope);
                desired.groups.insert(owners.clone(), Group { scope: scope.clone(), name: owners });
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
            if owned.contains(&scope.kind()) {
                let naming = self.content.collections.owners.as_ref();
                desired.collections.push(Collection {
                    key: owners_of(&scope),
                    scope: scope.clone(),
                    parent: Some(key),
                    name: naming.map_or_else(|| "For owners".to_owned(), |naming| fill(&naming.title)),
                    description: naming.and_then(|naming| naming.description.as_deref()).map(fill),
                });
            }
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
                let (group, collection) = (owners_of(&holder), owners_of(&scope));
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
            let owners = owners_of(scope);
            if level == Level::Owner && desired.groups.contains_key(&owners) {
                groups.insert(owners);
            }
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
        let currency = &self.content.collections.currency;
        for (name, dashboard) in &self.content.dashboards {
            let levels: BTreeSet<ScopeKind> = dashboard.levels().collect();
            for scope in self.tree.scopes().into_iter().filter(|scope| levels.contains(&scope.kind())) {
                let Some(connection) = self.connection_of(&scope) else { continue };
                let key = self.home_of(name, &scope);
                for question in dashboard.questions() {
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
                                    visualization: definition.visualization(currency),
                                    parameters: definition.front.parameters.clone(),
                                },
                            );
                        }
                        Err(message) => {
                            wrong.push(format!("metabase/questions/{question}.sql, for `{scope}`: {message}"));
                        }
                    }
                }
                match self.dashboard(&renderer, dashboard, &scope, &key) {
                    Ok(made) => {
                        desired.dashboards.insert(format!("{name}@{key}"), made);
                    }
                    Err(message) => wrong.push(format!("metabase/dashboards/{name}.toml: {message}")),
                }
            }
        }
    }

    fn dashboard(
        &self,
        renderer: &Renderer<'_>,
        dashboard: &content::Dashboard,
        scope: &Scope,
        key: &str,
    ) -> Result<Dashboard, String> {
        let mut grids: BTreeMap<Option<usize>, Grid> = BTreeMap::new();
        let mut places = Vec::new();
        for card in &dashboard.cards {
            let tab = card.tab.as_ref().and_then(|tab| dashboard.tabs.iter().position(|title| title == tab));
            let shows = match (&card.question, &card.text, &card.heading, &card.links) {
                (Some(question), ..) => Shows::Card(format!("{question}@{key}")),
                (_, Some(template), ..) => Shows::Text(renderer.text(template, scope)?),
                (_, _, Some(template), _) => Shows::Heading(renderer.text(template, scope)?),
                (.., links) => Shows::Links(self.links(links.as_deref().unwrap_or_default(), scope)),
            };
            let (row, col) = grids.entry(tab).or_default().put(card.size.columns, card.size.rows);
            let click = card.click.as_ref().map(|click| Click {
                column: click.column.clone(),
                // A dashboard for owners has a collection of its own; one that it opens may have another.
                dashboard: click.dashboard.as_ref().map(|name| format!("{name}@{}", self.home_of(name, scope))),
                fill: click.fill.clone(),
            });
            places.push(Place { tab, row, col, size_x: card.size.columns, size_y: card.size.rows, shows, click });
        }
        let mut parameters = Vec::new();
        for parameter in &dashboard.parameters {
            let fills = &parameter.fills;
            let kinds = dashboard.questions().filter_map(|name| self.content.questions.get(name));
            let kind = kinds.filter_map(|question| question.front.parameters.get(fills).copied()).next();
            let values = match &parameter.values_from {
                None => Values::Listed(parameter.values.clone()),
                Some(question) => {
                    let column = self.content.questions.get(question).and_then(|found| found.front.x.first().cloned());
                    Values::Question { card: format!("{question}@{key}"), column: column.unwrap_or_default() }
                }
            };
            parameters.push(Parameter {
                title: renderer.text(&parameter.title, scope)?,
                fills: fills.clone(),
                kind: kind.unwrap_or(ValueKind::Text),
                values,
                default: parameter.default.clone(),
            });
        }
        Ok(Dashboard {
            scope: scope.clone(),
            collection: key.to_owned(),
            name: renderer.text(&dashboard.title, scope)?,
            description: renderer.text(&dashboard.description, scope)?,
            width: match dashboard.width {
                Width::Fixed => "fixed",
                Width::Full => "full",
            },
            pinned: dashboard.pinned,
            tabs: dashboard.tabs.clone(),
            parameters,
            places,
        })
    }

    /// The collection in which a scope's dashboard of that name stands.
    fn home_of(&self, name: &str, scope: &Scope) -> String {
        match self.content.dashboards.get(name).map(|dashboard| dashboard.readers) {
            Some(Readers::Owners) => owners_of(scope),
            _ => scope.to_string(),
        }
    }

    /// The dashboards of one name below a scope, nearest level first. Who may read
    /// a scope may read all below it, so that no link leads to a closed door.
    fn links(&self, name: &str, scope: &Scope) -> Vec<(String, String)> {
        let levels: BTreeSet<ScopeKind> =
            self.content.dashboards.get(name).into_iter().flat_map(content::Dashboard::levels).collect();
        self.tree
            .scopes()
            .into_iter()
            .filter(|below| levels.contains(&below.kind()) && below != scope)
            .filter(|below| self.tree.lineage(below).contains(scope) && self.connection_of(below).is_some())
            .map(|below| (self.tree.title(&below), format!("{name}@{below}")))
            .collect()
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
    row: i64,
    col: i64,
    height: i64,
}

impl Grid {
    /// Finds the row and column of the next card.
    fn put(&mut self, columns: i64, rows: i64) -> (i64, i64) {
        if self.col + columns > GRID {
            self.row += self.height;
            (self.col, self.height) = (0, 0);
        }
        let corner = (self.row, self.col);
        self.col += columns;
        self.height = self.height.max(rows);
        corner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_fill_a_row_before_the_next_begins() {
        let mut grid = Grid::default();
        let corners: Vec<(i64, i64)> =
            [(24, 1), (8, 3), (8, 6), (8, 3), (12, 6)].map(|(columns, rows)| grid.put(columns, rows)).to_vec();
        assert_eq!(corners, [(0, 0), (1, 0), (1, 8), (1, 16), (7, 0)]);
    }
}
