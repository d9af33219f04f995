//! What lies where somebody reads, and is not where we put it, or not ours at all.

use std::collections::BTreeSet;

use serde_json::Value;

use super::acting::{Acting, Tried, nothing};
use super::answers::Rows;
use super::findings::Findings;
use super::world::{Kept, OPENED};
use crate::metabase::actual::query_of;
use crate::metabase::client;

impl Acting<'_> {
    /// A question of somebody else's: its rows must be of the reader's stores like any
    /// other's, on the screen, in a file, and whatever value it is given.
    pub(super) async fn stray(&self, findings: &mut Findings, id: i64) -> Result<(), client::Error> {
        findings.check("strays");
        let path = format!("api/card/{id}");
        let Tried::Given(whole) = self.get(findings, &format!("{path}?legacy-mbql=true")).await? else {
            return Ok(());
        };
        let model = if whole["type"] == "model" { "model" } else { "question" };
        let what = format!("{model} `{}` ({id})", whole["name"].as_str().unwrap_or_default());
        let database = whole["database_id"].as_i64().or_else(|| whole["dataset_query"]["database"].as_i64());
        let Some((key, connection)) = self.world.connection(database) else {
            if self.run(findings, &format!("{path}/query"), &nothing()).await?.given().is_some() {
                findings
                    .exposures
                    .insert(format!("the {what} in a collection of ours asks over a connection that is not ours"));
            }
            return Ok(());
        };
        let brand = connection.scope.brand();
        let mut tells = false;
        let mut seen = BTreeSet::new();
        let screen = self.run(findings, &format!("{path}/query"), &nothing()).await?.given();
        for rows in screen.iter() {
            tells |= rows.tells_stores();
            seen.extend(rows.stores(brand));
        }
        let mut within = self.stores_within(findings, &seen, &what, "the rows of its answer");
        for format in ["csv", "json", "xlsx"] {
            findings.check("downloads");
            let Some(file) = self.download(findings, &format!("{path}/query"), format).await?.given() else { continue };
            let Some(rows) = file else {
                findings.failures.push(format!("the {what} downloads as {format} that cannot be read"));
                continue;
            };
            tells |= rows.tells_stores();
            let more: BTreeSet<_> = rows.stores(brand).difference(&seen).cloned().collect();
            within &= self.stores_within(findings, &more, &what, &format!("its download as {format}"));
            seen.extend(more);
        }
        if within && self.world.wider(connection, &self.allowed) {
            let over = || format!("{what}, over the connection `{key}`");
            match self.kept(&whole) {
                Kept::Always => {}
                Kept::UnlessChosen => findings.leak(&self.who, over(), OPENED),
                // Without a store in its rows, the connection says whose they may be.
                Kept::Not if !tells && screen.is_some() => {
                    findings.leak(&self.who, over(), "the rows of its answer");
                }
                Kept::Not => {}
            }
        }
        self.parameters_of_card(findings, &whole, &what, connection).await
    }

    /// Says how a question's own text keeps to one of her scopes.
    fn kept(&self, card: &Value) -> Kept {
        query_of(card).map_or(Kept::Not, |query| self.world.kept(self.scopes.iter().copied(), &query.sql))
    }

    /// A dashboard of somebody else's: what its cards show, and what its filters offer.
    pub(super) async fn stray_dashboard(&self, findings: &mut Findings, id: i64) -> Result<(), client::Error> {
        findings.check("strays");
        let Tried::Given(whole) = self.get(findings, &format!("api/dashboard/{id}")).await? else {
            return Ok(());
        };
        self.dashboard_cards(findings, id, &whole).await?;
        self.parameters_of_dashboard(findings, id, &whole).await
    }

    /// Runs what a dashboard shows beyond the questions of its collection.
    pub(super) async fn dashboard_cards(
        &self,
        findings: &mut Findings,
        id: i64,
        whole: &Value,
    ) -> Result<(), client::Error> {
        let name = whole["name"].as_str().unwrap_or_default();
        for dashcard in whole["dashcards"].as_array().into_iter().flatten() {
            let Some(place) = dashcard["id"].as_i64() else { continue };
            let series = dashcard["series"].as_array().into_iter().flatten().filter_map(|card| card["id"].as_i64());
            for card in dashcard["card_id"].as_i64().into_iter().chain(series) {
                let collection = dashcard["card"]["collection_id"].as_i64();
                if self.world.in_place(card, collection) && collection.is_some_and(|id| self.may_read().contains(&id)) {
                    continue;
                }
                findings.check("strays");
                let path = format!("api/dashboard/{id}/dashcard/{place}/card/{card}/query");
                let Some(rows) = self.run(findings, &path, &nothing()).await?.given() else { continue };
                let database = dashcard["card"]["database_id"].as_i64();
                let brand = self.world.connection(database).and_then(|(_, connection)| connection.scope.brand());
                let what = format!("question {card} on the dashboard `{name}`");
                self.stores_within(findings, &rows.stores(brand), &what, "a dashboard that shows it");
            }
        }
        Ok(())
    }
}

/// Says whether two answers hold the same rows.
pub(super) fn same(left: &Rows, right: &Rows) -> bool {
    left.hash() == right.hash()
}
