//! The part of a plan about questions and dashboards, and what hands did to them. Pure.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::actual::{Item, query_of};
use super::clicks;
use super::desired::{Card, Dashboard, Place as Rectangle, Shows, links_text};
use super::plan::Planning;
use super::step::{Action, Change, LAST_EDITED, Work};
use super::tables::Kind;
use crate::words::counted;

impl Planning<'_> {
    pub(super) fn content(&mut self) {
        for (key, card) in &self.desired.cards {
            let (name, scope) = (&card.name, card.scope.to_string());
            match self.index.get(Kind::Card, key) {
                None => {
                    let changes = vec![Change::new("display", Value::Null, card.display.clone())];
                    let work = Work::CreateCard { key: key.clone() };
                    self.step(Action::Create, "question", name, &scope, changes, work);
                }
                Some(id) => {
                    let changes = self.card_changes(key, id, card);
                    if !changes.is_empty() {
                        let work = Work::UpdateCard { key: key.clone(), id };
                        self.step(Action::Update, "question", name, &scope, changes, work);
                    }
                }
            }
        }
        for (key, dashboard) in &self.desired.dashboards {
            let (name, scope) = (&dashboard.name, dashboard.scope.to_string());
            match self.index.get(Kind::Dashboard, key) {
                None => {
                    let changes = vec![Change::new("cards", Value::Null, dashboard.places.len())];
                    let work = Work::CreateDashboard { key: key.clone() };
                    self.step(Action::Create, "dashboard", name, &scope, changes, work);
                }
                Some(id) => {
                    let changes = self.dashboard_changes(key, id, dashboard);
                    if !changes.is_empty() {
                        let work = Work::UpdateDashboard { key: key.clone(), id };
                        self.step(Action::Update, "dashboard", name, &scope, changes, work);
                    }
                }
            }
        }
        for (kind, word) in [(Kind::Dashboard, "dashboard"), (Kind::Card, "question")] {
            let wanted = |key: &str| match kind {
                Kind::Dashboard => self.desired.dashboards.contains_key(key),
                _ => self.desired.cards.contains_key(key),
            };
            for (key, id) in self.obsolete(kind, wanted) {
                let Some(item) = self.actual.items.get(&(kind, id)).filter(|item| !item.archived) else { continue };
                let scope = key.split_once('@').map_or("", |(_, scope)| scope).to_owned();
                let work = match kind {
                    Kind::Dashboard => Work::ArchiveDashboard { key, id },
                    _ => Work::ArchiveCard { key, id },
                };
                let name = item.name.clone();
                self.step(Action::Delete, word, &name, &scope, Vec::new(), work);
            }
        }
        for collection in &self.desired.collections {
            if let Some(id) = self.index.get(Kind::Collection, &collection.key) {
                let others = self.items_of_others(id);
                if others > 0 {
                    let others = counted(others, "object that is not ours", "objects that are not ours");
                    self.note(format!("the collection `{}` holds {others}", collection.key));
                }
            }
        }
    }

    /// What the list of items tells of any object.
    fn item_changes(&self, item: &Item, name: &str, description: &str, collection: &str) -> Vec<Change> {
        let mut changes = Vec::new();
        if item.archived {
            changes.push(Change::new("archived", true, false));
        }
        if item.name != name {
            changes.push(Change::new("name", item.name.clone(), name));
        }
        if item.description.as_deref().unwrap_or_default() != description {
            changes.push(Change::new("description", item.description.clone(), description));
        }
        let home = self.index.get(Kind::Collection, collection);
        if !item.archived && (home.is_none() || item.collection != home) {
            changes.push(Change::new("collection", item.collection, collection));
        }
        changes
    }

    /// Who edited it, for people who ask where a change comes from.
    fn edited(&self, item: &Item, changes: &mut Vec<Change>) {
        if changes.is_empty() || item.mark.is_empty() {
            return;
        }
        let by = match item.editor.map(|id| (id, self.actual.users.get(&id))) {
            Some((_, Some(editor))) => format!("{} by {}", item.mark, editor.email),
            // Behind an API key stands an account that no list shows.
            Some((id, None)) => format!("{} by the account {id}", item.mark),
            None => item.mark.clone(),
        };
        changes.push(Change::new(LAST_EDITED, by, Value::Null));
    }

    fn card_changes(&self, key: &str, id: i64, card: &Card) -> Vec<Change> {
        let known = self.objects.get(&(Kind::Card, key.to_owned()));
        let item = &self.actual.items[&(Kind::Card, id)];
        let mut changes = self.item_changes(item, &card.name, &card.description, &card.collection);
        if item.display.as_ref().is_some_and(|display| *display != card.display) {
            changes.push(Change::new("display", item.display.clone(), card.display.clone()));
        }
        let database = self.index.get(Kind::Connection, &card.connection);
        let ours = known.is_some_and(|known| known.hash == card.hash());
        match self.actual.details.get(&(Kind::Card, id)) {
            Some(whole) => {
                let found = query_of(whole).unwrap_or_default();
                if found.sql.trim() != card.sql.trim() {
                    changes.push(Change::new("query", found.sql, card.sql.clone()));
                }
                if Some(found.database) != database {
                    changes.push(Change::new("connection", found.database, card.connection.clone()));
                }
                let variables = card.variables();
                if found.variables != variables {
                    changes.push(Change::new("variables", json!(found.variables), json!(variables)));
                }
                let visualization = &whole["visualization_settings"];
                if *visualization != card.visualization {
                    changes.push(Change::new("visualization", visualization.clone(), card.visualization.clone()));
                }
                self.edited(item, &mut changes);
            }
            None if !ours => changes.push(Change::new("definition", "an older one", "the file's")),
            None if database.is_none() => {
                changes.push(Change::new("connection", Value::Null, card.connection.clone()));
            }
            None => {}
        }
        changes
    }

    fn dashboard_changes(&self, key: &str, id: i64, dashboard: &Dashboard) -> Vec<Change> {
        let known = self.objects.get(&(Kind::Dashboard, key.to_owned()));
        let item = &self.actual.items[&(Kind::Dashboard, id)];
        let mut changes = self.item_changes(item, &dashboard.name, &dashboard.description, &dashboard.collection);
        let ours = known.is_some_and(|known| known.hash == dashboard.hash());
        // A question that is made anew has another id.
        let board_stays = |key: &String| self.index.get(Kind::Dashboard, key).is_some();
        let cards_stay = dashboard.places.iter().all(|place| {
            let opens = place.click.as_ref().and_then(|click| click.dashboard.as_ref());
            let shown = match &place.shows {
                Shows::Card(card) => self.index.get(Kind::Card, card).is_some(),
                Shows::Links(links) => links.iter().all(|(_, board)| board_stays(board)),
                _ => true,
            };
            shown && opens.is_none_or(board_stays)
        });
        match self.actual.details.get(&(Kind::Dashboard, id)) {
            Some(whole) => {
                if whole["width"].as_str().is_some_and(|width| width != dashboard.width) {
                    changes.push(Change::new("width", whole["width"].clone(), dashboard.width));
                }
                let title = |tab: &Value| tab["name"].as_str().unwrap_or_default().to_owned();
                let tabs: Vec<String> = whole["tabs"].as_array().into_iter().flatten().map(title).collect();
                if tabs != dashboard.tabs {
                    changes.push(Change::new("tabs", tabs, dashboard.tabs.clone()));
                }
                let wanted: Vec<Value> = dashboard
                    .parameters
                    .iter()
                    .map(|parameter| parameter.body(|key| self.index.get(Kind::Card, key)))
                    .collect();
                let found: Vec<&Value> = whole["parameters"].as_array().into_iter().flatten().collect();
                if !same_parameters(&found, &wanted) {
                    let names = |list: Vec<&Value>| {
                        list.iter().filter_map(|one| one["name"].as_str()).collect::<Vec<_>>().join(", ")
                    };
                    changes.push(Change::new("filters", names(found), names(wanted.iter().collect())));
                }
                let found = self.found_places(whole);
                let wanted = self.wanted_places(dashboard);
                if found != wanted {
                    let kept = found.intersection(&wanted).count();
                    changes.push(Change::new("cards", format!("{} ({kept} in place)", found.len()), wanted.len()));
                }
                self.edited(item, &mut changes);
            }
            None if !ours => changes.push(Change::new("definition", "an older one", "the file's")),
            None if !cards_stay => changes.push(Change::new("cards", "some are gone", dashboard.places.len())),
            None => {}
        }
        changes
    }

    fn wanted_places(&self, dashboard: &Dashboard) -> BTreeSet<String> {
        let shown = |place: &Rectangle| {
            let mut filters: Vec<&str> = Vec::new();
            let shows = match &place.shows {
                Shows::Card(key) => {
                    let takes = self.desired.cards.get(key).map(|card| &card.parameters);
                    let names = dashboard.parameters.iter().map(|parameter| parameter.fills.as_str());
                    filters.extend(names.filter(|name| takes.is_some_and(|takes| takes.contains_key(*name))));
                    json!(self.index.get(Kind::Card, key))
                }
                Shows::Text(text) => json!(["text", text]),
                Shows::Heading(text) => json!(["heading", text]),
                Shows::Links(links) => {
                    let id = |key: &str| self.index.get(Kind::Dashboard, key);
                    json!(["text", links_text(self.desired.site_url(), links, id)])
                }
            };
            filters.sort_unstable();
            let id = |key: &str| self.index.get(Kind::Dashboard, key);
            let click = place.click.as_ref().map(|click| clicks::found(&click.settings(id)));
            json!([place.tab, place.row, place.col, place.size_x, place.size_y, shows, filters, click]).to_string()
        };
        dashboard.places.iter().map(shown).collect()
    }

    fn found_places(&self, whole: &Value) -> BTreeSet<String> {
        let tabs: Vec<&Value> = whole["tabs"].as_array().into_iter().flatten().map(|tab| &tab["id"]).collect();
        let shown = |card: &Value| {
            let settings = &card["visualization_settings"];
            let shows = match &card["card_id"] {
                Value::Null => json!([settings["virtual_card"]["display"], settings["text"]]),
                id => id.clone(),
            };
            let tab = tabs.iter().position(|tab| **tab == card["dashboard_tab_id"] && !tab.is_null());
            let mut filters: Vec<&str> = card["parameter_mappings"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|mapping| mapping["parameter_id"].as_str())
                .collect();
            filters.sort_unstable();
            let click = clicks::found(settings);
            json!([tab, card["row"], card["col"], card["size_x"], card["size_y"], shows, filters, click]).to_string()
        };
        whole["dashcards"].as_array().into_iter().flatten().map(shown).collect()
    }
}

/// Compares what we send of a filter; a server may add more.
fn same_parameters(found: &[&Value], wanted: &[Value]) -> bool {
    found.len() == wanted.len()
        && found.iter().zip(wanted).all(|(found, wanted)| {
            let unset = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            (wanted.get("default").is_some() || unset(&found["default"]))
                && wanted.as_object().is_some_and(|fields| fields.iter().all(|(key, value)| found[key] == *value))
        })
}
