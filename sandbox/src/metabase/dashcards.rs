//! Cards on a dashboard: known ids are updated, others made, missing ones gone.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::access::Caller;
use super::call::Call;
use super::cards;
use super::reply::{Reply, forbidden, invalid};
use super::state::{Dashboard, Dashcard, Level, State, Tab, stamp};
use super::template::field_id;

/// Replaces the cards and tabs of a dashboard; gives the ids of questions that
/// are no longer on it.
pub(super) fn replace(
    state: &mut State,
    caller: &Caller,
    call: &Call,
    dashboard: &mut Dashboard,
) -> Result<Vec<i64>, Reply> {
    let sent = list(call, "dashcards")?;
    let sent_tabs = list(call, "tabs")?;
    unique_ids("dashcards", &sent)?;
    unique_ids("tabs", &sent_tabs)?;
    let mut tabs = Vec::new();
    let mut tab_ids = BTreeMap::new();
    for sent in &sent_tabs {
        let sent_id = whole(sent, "tabs", "id", i64::MIN)?;
        let name = sent
            .get("name")
            .and_then(Value::as_str)
            .filter(|name| !name.is_empty())
            .ok_or_else(|| invalid("tabs", "tab with a name", "missing required key"))?;
        let known = dashboard.tabs.iter().find(|tab| tab.id == sent_id);
        let tab = match known {
            Some(tab) => Tab { name: name.to_owned(), ..tab.clone() },
            None => {
                let tab_id = state.next_id("tab");
                Tab { id: tab_id, name: name.to_owned(), entity_id: state.entity_id("tab", tab_id) }
            }
        };
        tab_ids.insert(sent_id, tab.id);
        tabs.push(tab);
    }
    let mut next = Vec::new();
    for sent in &sent {
        let tab_id = match sent.get("dashboard_tab_id").and_then(Value::as_i64) {
            Some(tab) => tab_ids.get(&tab).copied(),
            None if tabs.len() == 1 => Some(tabs[0].id),
            None => None,
        };
        if !tabs.is_empty() && tab_id.is_none() {
            return Err(Reply::text(400, "This dashboard has tab, makes sure every card has a tab"));
        }
        next.push(one(state, caller, dashboard, sent, tab_id)?);
    }
    let on = |dashcards: &[Dashcard]| -> BTreeSet<i64> {
        dashcards.iter().flat_map(|dashcard| dashcard.card_id.into_iter().chain(dashcard.series.clone())).collect()
    };
    let left = on(&dashboard.dashcards).difference(&on(&next)).copied().collect();
    dashboard.tabs = tabs;
    dashboard.dashcards = next;
    Ok(left)
}

fn one(
    state: &mut State,
    caller: &Caller,
    dashboard: &Dashboard,
    sent: &Map<String, Value>,
    tab_id: Option<i64>,
) -> Result<Dashcard, Reply> {
    let sent_id = whole(sent, "dashcards", "id", i64::MIN)?;
    let known = dashboard.dashcards.iter().find(|dashcard| dashcard.id == sent_id).cloned();
    let card_id = match (sent.get("card_id"), &known) {
        (Some(value), _) => value.as_i64(),
        (None, Some(known)) => known.card_id,
        (None, None) => None,
    };
    let gone = |id: &i64| state.cards.get(id).is_none_or(|card| card.archived);
    // The trap: without `card_id`, a card in the trash leaves an empty copy.
    let lost = known.is_some() && sent.get("card_id").is_none() && card_id.as_ref().is_some_and(gone);
    let (known, card_id) = if lost { (None, None) } else { (known, card_id) };
    let series: Vec<i64> = sent
        .get("series")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|card| card["id"].as_i64())
        .collect();
    let before = known.as_ref().and_then(|known| known.card_id);
    for card in card_id.iter().chain(&series) {
        if Some(*card) != before {
            state.readable_card(caller, *card)?;
        }
    }
    let list = |key: &str| sent.get(key).filter(|value| value.is_array()).cloned();
    let mappings = match list("parameter_mappings") {
        Some(mappings) => mappings,
        None => known.as_ref().map_or_else(|| json!([]), |known| known.parameter_mappings.clone()),
    };
    check_mappings(state, caller, &mappings)?;
    let (id, created_at) = match &known {
        Some(known) => (known.id, known.created_at),
        None => (state.next_id("dashcard"), state.now),
    };
    Ok(Dashcard {
        id,
        card_id,
        tab_id,
        row: whole(sent, "dashcards", "row", 0)?,
        col: whole(sent, "dashcards", "col", 0)?,
        size_x: whole(sent, "dashcards", "size_x", 1)?,
        size_y: whole(sent, "dashcards", "size_y", 1)?,
        parameter_mappings: mappings,
        visualization_settings: match (sent.get("visualization_settings"), &known) {
            (Some(settings), _) if settings.is_object() => settings.clone(),
            (_, Some(known)) => known.visualization_settings.clone(),
            _ => json!({}),
        },
        series,
        inline_parameters: list("inline_parameters").unwrap_or_else(|| json!([])),
        action_id: sent.get("action_id").cloned().unwrap_or_default(),
        entity_id: state.entity_id("dashcard", id),
        created_at,
        updated_at: state.now,
    })
}

/// Mapping a field needs the right to query its table.
fn check_mappings(state: &State, caller: &Caller, mappings: &Value) -> Result<(), Reply> {
    for mapping in mappings.as_array().into_iter().flatten() {
        if !mapping["parameter_id"].is_string() || mapping.get("target").is_none() {
            return Err(invalid(
                "dashcards",
                "parameter_mapping must be a map with :parameter_id and :target keys",
                "missing required key",
            ));
        }
        let target = &mapping["target"][1];
        if target[0] == "field"
            && let Some(field) = field_id(target)
            && !state.field(field).is_some_and(|(table, _)| caller.superuser || state.sees_table(caller, table.id))
        {
            return Err(forbidden());
        }
    }
    Ok(())
}

fn list(call: &Call, key: &str) -> Result<Vec<Map<String, Value>>, Reply> {
    let wrong = || invalid(key, "value must be seq of maps in which ids are unique", "wrong shape");
    match call.given(key) {
        None => Ok(Vec::new()),
        Some(Value::Array(items)) => items.iter().map(|item| item.as_object().cloned().ok_or_else(wrong)).collect(),
        Some(_) => Err(wrong()),
    }
}

fn unique_ids(key: &str, items: &[Map<String, Value>]) -> Result<(), Reply> {
    let ids: BTreeSet<i64> = items.iter().filter_map(|item| item.get("id").and_then(Value::as_i64)).collect();
    if ids.len() == items.len() {
        Ok(())
    } else {
        Err(invalid(key, "value must be seq of maps in which ids are unique", "duplicate or missing ids"))
    }
}

fn whole(item: &Map<String, Value>, list: &str, key: &str, least: i64) -> Result<i64, Reply> {
    item.get(key)
        .and_then(Value::as_i64)
        .filter(|value| *value >= least)
        .ok_or_else(|| invalid(list, &format!("{key} must be an integer of at least {least}"), "wrong or missing"))
}

/// The cards as answers show them, in an order that is not to be relied on.
pub(super) fn describe_all(state: &State, caller: &Caller, dashboard: &Dashboard, turns: u64) -> Vec<Value> {
    let mut cards: Vec<Value> =
        dashboard.dashcards.iter().map(|dashcard| describe(state, caller, dashboard, dashcard)).collect();
    let count = cards.len();
    if count > 1 {
        let turn = usize::try_from(turns % count as u64).unwrap_or(0);
        cards.rotate_left(turn);
        if turns.is_multiple_of(2) {
            cards.reverse();
        }
    }
    cards
}

fn describe(state: &State, caller: &Caller, dashboard: &Dashboard, dashcard: &Dashcard) -> Value {
    let shown = |id: i64| {
        let card = state.cards.get(&id).filter(|card| !card.archived)?;
        // The dashboard shows that a card is there, not what it asks.
        Some(match state.card_level(caller, card) {
            Level::None => json!({ "id": id }),
            _ => cards::describe(state, caller, card, false),
        })
    };
    let series: Vec<Value> = dashcard.series.iter().filter_map(|id| shown(*id)).collect();
    json!({
        "id": dashcard.id,
        "dashboard_id": dashboard.id,
        "dashboard_tab_id": dashcard.tab_id,
        "card_id": dashcard.card_id,
        "card": dashcard.card_id.and_then(shown),
        "row": dashcard.row,
        "col": dashcard.col,
        "size_x": dashcard.size_x,
        "size_y": dashcard.size_y,
        "parameter_mappings": dashcard.parameter_mappings,
        "visualization_settings": dashcard.visualization_settings,
        "series": series,
        "inline_parameters": dashcard.inline_parameters,
        "action_id": dashcard.action_id,
        "entity_id": dashcard.entity_id,
        "collection_authority_level": null,
        "created_at": stamp(dashcard.created_at),
        "updated_at": stamp(dashcard.updated_at),
    })
}

impl State {
    /// Puts a question saved inside a dashboard at the dashboard's end.
    pub(super) fn append_dashcard(&mut self, dashboard_id: i64, card_id: i64) {
        let id = self.next_id("dashcard");
        let entity_id = self.entity_id("dashcard", id);
        let now = self.now;
        let Some(dashboard) = self.dashboards.get_mut(&dashboard_id) else {
            return;
        };
        let row = dashboard.dashcards.iter().map(|dashcard| dashcard.row + dashcard.size_y).max().unwrap_or(0);
        dashboard.dashcards.push(Dashcard {
            id,
            card_id: Some(card_id),
            tab_id: dashboard.tabs.first().map(|tab| tab.id),
            row,
            col: 0,
            size_x: 12,
            size_y: 6,
            parameter_mappings: json!([]),
            visualization_settings: json!({}),
            series: Vec::new(),
            inline_parameters: json!([]),
            action_id: Value::Null,
            entity_id,
            created_at: now,
            updated_at: now,
        });
    }
}
