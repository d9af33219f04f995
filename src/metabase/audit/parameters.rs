//! Parameters with the values of other stores, and the values that drop-down lists offer.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::acting::{Acting, Tried};
use super::answers::StoreKey;
use super::findings::Findings;
use super::strays::same;
use crate::metabase::client;
use crate::metabase::desired::Connection;

/// A value that no row has.
const NONSENSE: &str = "no such store";

/// One parameter, and how its value is sent.
struct Parameter {
    key: String,
    name: String,
    kind: String,
    target: Value,
    /// Its values are typed in, or those of a question; not those of a column.
    sourced: bool,
    /// The question or dashboard lists it: only then it must answer for its values.
    listed: bool,
}

impl Parameter {
    /// The parameters of a question: those it declares, and its template tags.
    fn of_card(card: &Value) -> Vec<Self> {
        let mut found: Vec<Self> = card["parameters"].as_array().into_iter().flatten().filter_map(Self::of).collect();
        let query = &card["dataset_query"];
        let tags = query["native"]["template-tags"].as_object();
        let tags = tags.or_else(|| query["stages"][0]["template-tags"].as_object());
        for (name, tag) in tags.into_iter().flatten() {
            let target = if tag["type"] == "dimension" { "dimension" } else { "variable" };
            let target = json!([target, ["template-tag", name]]);
            if found.iter().any(|known| known.target[1] == target[1]) || tag["type"] == "snippet" {
                continue;
            }
            let kind = match (tag["type"].as_str(), tag["widget-type"].as_str()) {
                (Some("dimension"), Some(widget)) if !matches!(widget, "none" | "category") => widget.to_owned(),
                (Some("number"), _) => "number/=".to_owned(),
                (Some("date"), _) => "date/single".to_owned(),
                _ => "category".to_owned(),
            };
            let key = tag["id"].as_str().unwrap_or_default().to_owned();
            found.push(Self { key, name: name.clone(), kind, target, sourced: false, listed: false });
        }
        found
    }

    fn of(parameter: &Value) -> Option<Self> {
        Some(Self {
            key: parameter["id"].as_str()?.to_owned(),
            name: parameter["name"].as_str().or_else(|| parameter["slug"].as_str()).unwrap_or_default().to_owned(),
            kind: parameter["type"].as_str().unwrap_or("category").to_owned(),
            target: parameter["target"].clone(),
            sourced: parameter["values_source_type"].is_string() || parameter["values_query_type"] == "none",
            listed: true,
        })
    }

    /// Says whether a store's number could be its value.
    fn takes_a_store(&self) -> bool {
        !self.kind.starts_with("date") && !self.kind.starts_with("boolean") && !self.kind.starts_with("temporal")
    }

    fn value(&self, text: &str) -> Value {
        if self.kind.starts_with("number") {
            // A number that is no store's stands for nonsense.
            return json!(text.trim_start_matches('0').parse::<i64>().unwrap_or(987_654_321));
        }
        if self.kind.contains('/') || self.target[0] == "dimension" { json!([text]) } else { json!(text) }
    }

    fn sent(&self, text: &str) -> Value {
        let mut sent = json!({"type": self.kind, "target": self.target, "value": self.value(text)});
        if !self.key.is_empty() {
            sent["id"] = self.key.clone().into();
        }
        sent
    }
}

impl Acting<'_> {
    /// Asks a question with other stores' numbers, and looks into its drop-down lists.
    pub(super) async fn parameters_of_card(
        &self,
        findings: &mut Findings,
        card: &Value,
        what: &str,
        connection: &Connection,
    ) -> Result<(), client::Error> {
        let Some(id) = card["id"].as_i64() else { return Ok(()) };
        let brand = connection.scope.brand();
        for parameter in Parameter::of_card(card) {
            let wide = self.world.wider(connection, &self.allowed) && !parameter.sourced;
            let path = format!("api/card/{id}/params/{}/values", parameter.key);
            self.offered(findings, &path, &parameter, what, wide).await?;
            if !parameter.takes_a_store() {
                continue;
            }
            let run = async |findings: &mut Findings, text: &str| {
                let body = json!({"parameters": [parameter.sent(text)]});
                let ran = self.run(findings, &format!("api/card/{id}/query"), &body).await?.given();
                findings.control("parameters", ran.is_some());
                Ok::<_, client::Error>(ran)
            };
            let without = run(findings, NONSENSE).await?;
            for (of, store) in self.strangers(Some(&connection.scope)) {
                findings.check("parameters");
                let Some(rows) = run(findings, &store.0).await? else { continue };
                let how = format!("the parameter `{}` with a foreign value", parameter.name);
                if !self.stores_within(findings, &rows.stores(brand), what, &how) {
                    continue;
                }
                // Rows without a store in them: those that only this value brings are its own.
                let own = without.as_ref().is_some_and(|without| !same(&rows, without));
                if own && !rows.tells_stores() && self.allowed.iter().all(|(_, mine)| *mine != store) {
                    findings.leak(&self.who, format!("figures of store {of}/{store} in {what}"), &how);
                }
            }
        }
        Ok(())
    }

    /// The same for a dashboard's filters, through each card they reach.
    pub(super) async fn parameters_of_dashboard(
        &self,
        findings: &mut Findings,
        id: i64,
        whole: &Value,
    ) -> Result<(), client::Error> {
        let what = format!("dashboard `{}`", whole["name"].as_str().unwrap_or_default());
        for parameter in whole["parameters"].as_array().into_iter().flatten().filter_map(Parameter::of) {
            let mut wide = false;
            for dashcard in whole["dashcards"].as_array().into_iter().flatten() {
                let mapped = dashcard["parameter_mappings"].as_array().into_iter().flatten();
                let connection = self.world.connection(dashcard["card"]["database_id"].as_i64());
                let mapped = mapped.filter(|mapping| mapping["parameter_id"] == parameter.key.as_str()).count() > 0;
                let (Some(place), Some(card), true, Some((_, connection))) =
                    (dashcard["id"].as_i64(), dashcard["card_id"].as_i64(), mapped, connection)
                else {
                    continue;
                };
                wide |= self.world.wider(connection, &self.allowed);
                if !parameter.takes_a_store() {
                    continue;
                }
                let path = format!("api/dashboard/{id}/dashcard/{place}/card/{card}/query");
                for (_, store) in self.strangers(Some(&connection.scope)) {
                    findings.check("parameters");
                    let value = parameter.value(&store.0);
                    let body = json!({"parameters": [{"id": parameter.key, "type": parameter.kind, "value": value}]});
                    let rows = self.run(findings, &path, &body).await?.given();
                    findings.control("filters", rows.is_some());
                    let Some(rows) = rows else { continue };
                    let how = format!("the filter `{}` with a foreign value", parameter.name);
                    self.stores_within(findings, &rows.stores(connection.scope.brand()), &what, &how);
                }
            }
            let path = format!("api/dashboard/{id}/params/{}/values", parameter.key);
            self.offered(findings, &path, &parameter, &what, wide && !parameter.sourced).await?;
        }
        Ok(())
    }

    /// What a drop-down list offers: no store of others, and nothing that was gathered
    /// over a connection that shows more than hers.
    async fn offered(
        &self,
        findings: &mut Findings,
        path: &str,
        parameter: &Parameter,
        what: &str,
        wide: bool,
    ) -> Result<(), client::Error> {
        findings.check("drop-down values");
        let answer = match self.client.get(path).await {
            Err(error) if !parameter.listed && error.status().is_some_and(|status| status.is_client_error()) => {
                return Ok(());
            }
            other => self.attempt(findings, std::future::ready(other)).await?,
        };
        let Tried::Given(answer) = answer else { return Ok(()) };
        let values = answer["values"].as_array().cloned().unwrap_or_default();
        let texts: BTreeSet<&str> =
            values.iter().flat_map(|value| value.as_array().into_iter().flatten()).filter_map(Value::as_str).collect();
        let (list, how) = (format!("the values of `{}` on {what}", parameter.name), "drop-down values");
        let foreign: Vec<StoreKey> = self
            .world
            .stores
            .of(&crate::access::Scope::Chain)
            .into_iter()
            .filter(|pair| !self.allowed.contains(pair) && texts.contains(pair.1.0.as_str()))
            // Both brands may have the number.
            .filter(|pair| self.allowed.iter().all(|(_, mine)| *mine != pair.1))
            .collect();
        for (brand, store) in &foreign {
            findings.leak(&self.who, format!("store {brand}/{store} in {list}"), how);
        }
        if foreign.is_empty() && wide && !values.is_empty() {
            findings.leak(&self.who, format!("{list}: gathered over a wider connection"), how);
        }
        Ok(())
    }
}
