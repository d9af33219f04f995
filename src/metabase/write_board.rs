//! Writes a dashboard whole: its tabs, filters and cards.

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use super::apply::{Applying, failed};
use super::context::Error;
use super::desired::{Dashboard, Parameter, Shows, links_text};
use super::step::{Step, Work};
use super::tables::Kind;

impl Applying<'_> {
    /// Makes the dashboards that a part makes, empty, and then writes all of the part: links
    /// and clicks name dashboards by their numbers, so all of them must be there first.
    pub(super) async fn dashboards(&self, steps: &[Step]) -> Result<(), Error> {
        let made = steps.iter().map(|step| self.make_dashboard(step));
        futures::stream::iter(made).buffer_unordered(super::AT_ONCE).try_collect::<()>().await?;
        let written = steps.iter().map(|step| self.take(step));
        futures::stream::iter(written).buffer_unordered(super::AT_ONCE).try_collect().await
    }

    async fn make_dashboard(&self, step: &Step) -> Result<(), Error> {
        let Work::CreateDashboard { key } = &step.work else { return Ok(()) };
        let dashboard = &self.desired.dashboards[key];
        let body = json!({
            "name": dashboard.name,
            "description": dashboard.description,
            "collection_id": self.id(Kind::Collection, &dashboard.collection).await?,
        });
        let answer = self.client.post("api/dashboard", &body).await.map_err(failed(step))?;
        // Without its hash until its cards are on it: a crash in between is mended.
        self.made(Kind::Dashboard, key, "", &answer, "POST api/dashboard").await?;
        Ok(())
    }

    pub(super) async fn write_dashboard(
        &self,
        step: &Step,
        key: &str,
        id: i64,
        dashboard: &Dashboard,
        whole: &Value,
    ) -> Result<(), Error> {
        let index = self.index.lock().await.clone();
        let card_of = |key: &str| index.get(Kind::Card, key);
        let site_url = self.desired.site_url();
        let mut free: Vec<&Value> = whole["dashcards"].as_array().into_iter().flatten().collect();
        // A tab that is there keeps its id, known by its title.
        let mut tabs_there: Vec<&Value> = whole["tabs"].as_array().into_iter().flatten().collect();
        let tabs: Vec<Value> = dashboard
            .tabs
            .iter()
            .enumerate()
            .map(|(at, title)| {
                let kept = tabs_there.iter().position(|tab| tab["name"] == title.as_str());
                let kept = kept.and_then(|position| tabs_there.swap_remove(position)["id"].as_i64());
                json!({"id": kept.unwrap_or(-(at as i64) - 1), "name": title})
            })
            .collect();
        let mut cards = Vec::new();
        for (at, place) in dashboard.places.iter().enumerate() {
            let mut mappings = Vec::new();
            let (card_id, visualization) = match &place.shows {
                Shows::Card(key) => {
                    let id = self.id(Kind::Card, key).await?;
                    let takes = self.desired.cards.get(key).map(|card| &card.parameters);
                    let filled =
                        |parameter: &&Parameter| takes.is_some_and(|takes| takes.contains_key(&parameter.fills));
                    mappings = dashboard
                        .parameters
                        .iter()
                        .filter(filled)
                        .map(|parameter| mapping(&parameter.fills, id))
                        .collect();
                    let opens = |key: &str| index.get(Kind::Dashboard, key);
                    (Some(id), place.click.as_ref().map_or_else(|| json!({}), |click| click.settings(opens)))
                }
                Shows::Text(text) => (None, virtual_card("text", text)),
                Shows::Heading(text) => (None, virtual_card("heading", text)),
                Shows::Links(links) => {
                    let text = links_text(site_url, links, |key| index.get(Kind::Dashboard, key));
                    (None, virtual_card("text", &text))
                }
            };
            // A place that is there keeps its id, and with it its subscriptions.
            let kept = card_id
                .and_then(|id| free.iter().position(|card| card["card_id"] == id))
                .and_then(|position| free.swap_remove(position)["id"].as_i64());
            let mut card = json!({
                "id": kept.unwrap_or(-(at as i64) - 1),
                "card_id": card_id,
                "row": place.row,
                "col": place.col,
                "size_x": place.size_x,
                "size_y": place.size_y,
                "series": [],
                "parameter_mappings": mappings,
                "visualization_settings": visualization,
            });
            if let Some(tab) = place.tab {
                card["dashboard_tab_id"] = tabs[tab]["id"].clone();
            }
            cards.push(card);
        }
        let parameters: Vec<Value> = dashboard.parameters.iter().map(|parameter| parameter.body(card_of)).collect();
        // The list replaces what is there, and tabs are wiped where they are not
        // sent: both are always sent, and always whole.
        let body = json!({
            "name": dashboard.name,
            "description": dashboard.description,
            "collection_id": self.id(Kind::Collection, &dashboard.collection).await?,
            "width": dashboard.width,
            "archived": false,
            "parameters": parameters,
            "tabs": tabs,
            "dashcards": cards,
        });
        let answer = self.client.put(&format!("api/dashboard/{id}"), &body).await.map_err(failed(step))?;
        self.note(Kind::Dashboard, key, id, &dashboard.hash(), Some(&answer)).await
    }
}

fn virtual_card(display: &str, text: &str) -> Value {
    json!({
        "virtual_card": {
            "name": null,
            "display": display,
            "visualization_settings": {},
            "dataset_query": {},
            "archived": false,
        },
        "text": text,
    })
}

/// Leads a filter to the parameter of a question that has its name.
fn mapping(name: &str, card: i64) -> Value {
    json!({"parameter_id": name, "card_id": card, "target": ["variable", ["template-tag", name]]})
}
