//! What somebody should see: all of it, compared with the truth.

use std::collections::BTreeSet;

use super::acting::{Acting, Tried, nothing};
use super::answers::Rows;
use super::findings::{Findings, Seen};
use super::world::{Kept, OPENED, Truth};
use crate::metabase::actual::query_of;
use crate::metabase::client;
use crate::metabase::desired::Card;
use crate::metabase::optional::without_optional_parts;
use crate::metabase::tables::Kind;
use crate::words::counted;

/// A file holds at most so many rows.
const FILE_ROWS: usize = 1_048_575;

impl Acting<'_> {
    /// Everything of the group's own scope; of each scope below it one question,
    /// the rest is run by the group whose own it is.
    pub(super) async fn own(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let desired = self.world.desired();
        let reads = |collection: &String| {
            self.groups.iter().any(|group| desired.reads.contains(&((*group).to_owned(), collection.clone())))
        };
        let own: BTreeSet<String> = self.scopes.iter().map(ToString::to_string).collect();
        for (key, dashboard) in desired.dashboards.iter().filter(|(_, dashboard)| reads(&dashboard.collection)) {
            let Some(id) = self.world.index.get(Kind::Dashboard, key) else {
                findings.failures.push(format!("the dashboard `{key}` is not there yet: apply first"));
                continue;
            };
            findings.check("dashboards");
            match self.get(findings, &format!("api/dashboard/{id}")).await? {
                Tried::Refused | Tried::Unclear => findings.failures.push(format!(
                    "`{}` cannot open the dashboard `{}` of `{}`",
                    self.who, dashboard.name, dashboard.scope
                )),
                Tried::Given(whole) if own.contains(&dashboard.collection) => {
                    self.dashboard_cards(findings, id, &whole).await?;
                    self.parameters_of_dashboard(findings, id, &whole).await?;
                }
                Tried::Given(_) => {}
            }
        }
        let mut sampled = BTreeSet::new();
        let mut turn = usize::from(self.world.drawn(&self.who, vec![0_u8, 1, 2], u8::to_string)[0]);
        for (key, card) in desired.cards.iter().filter(|(_, card)| reads(&card.collection)) {
            let whole = own.contains(&card.collection);
            if !whole && !sampled.insert(&card.collection) {
                continue;
            }
            let Some(id) = self.world.index.get(Kind::Card, key) else {
                findings.failures.push(format!("the question `{key}` is not there yet: apply first"));
                continue;
            };
            turn += 1;
            self.run_own(findings, id, key, card, whole.then_some(turn)).await?;
        }
        Ok(())
    }

    async fn run_own(
        &self,
        findings: &mut Findings,
        id: i64,
        key: &str,
        card: &Card,
        turn: Option<usize>,
    ) -> Result<(), client::Error> {
        findings.checks("questions", 2);
        let path = format!("api/card/{id}");
        let what = format!("question `{}` of `{}`", card.name, card.scope);
        match self.get(findings, &format!("{path}?legacy-mbql=true")).await? {
            Tried::Given(whole) => {
                let query = query_of(&whole).unwrap_or_default();
                if Some(query.database) != self.world.index.get(Kind::Connection, &card.connection) {
                    findings.leak(&self.who, what.clone(), "it asks over another connection than its scope's");
                }
                // As it stands: a part that a reader may choose can open what the rest keeps shut.
                match self.world.kept([&card.scope], &query.sql) {
                    Kept::Always => {}
                    Kept::UnlessChosen => findings.leak(&self.who, what.clone(), OPENED),
                    Kept::Not => findings.leak(&self.who, what.clone(), "its SQL lacks the literal of its scope"),
                }
                if let (Some(connection), true) =
                    (self.world.desired().connections.get(&card.connection), turn.is_some())
                {
                    self.parameters_of_card(findings, &whole, &what, connection).await?;
                }
            }
            Tried::Refused | Tried::Unclear => {
                findings.failures.push(format!("`{}` cannot open the {what}", self.who));
            }
        }
        let path = format!("{path}/query");
        let Tried::Given(answer) = self.attempt(findings, self.client.post(&path, &nothing())).await? else {
            findings.failures.push(format!("`{}` may not run `{}` of `{}`", self.who, card.name, card.scope));
            return Ok(());
        };
        if answer["status"] != "completed" {
            findings.failures.push(format!("`{}` of `{}` does not run", card.name, card.scope));
            return Ok(());
        }
        let rows = Rows::of_answer(&answer);
        let stores = rows.stores(card.scope.brand());
        self.stores_within(findings, &stores, &what, "the rows of its answer");
        let truth = self.compare(findings, key, &what, &path, &rows).await?;
        if let Some(turn) = turn {
            let formats = ["csv", "json", "xlsx"];
            let chosen = if self.world.extent.full { &formats[..] } else { &formats[turn % 3..=turn % 3] };
            for format in chosen {
                self.download_own(findings, key, card, &what, &path, format).await?;
            }
        }
        findings.seen.push(Seen { what, rows: rows.rows.len(), stores: stores.len(), hash: rows.hash(), truth });
        Ok(())
    }

    /// Compares rows with what the tables say; twice, where a load came in between.
    async fn compare(
        &self,
        findings: &mut Findings,
        key: &str,
        what: &str,
        path: &str,
        rows: &Rows,
    ) -> Result<String, client::Error> {
        if without_optional_parts(&self.world.desired().cards[key].sql).contains("{{") {
            return Ok("not compared: it needs a parameter".to_owned());
        }
        findings.check("answers compared with the tables");
        let mut truth = self.world.truth(key).await;
        let mut again = None;
        if truth.as_ref().as_ref().is_ok_and(|truth| rows.differs(truth) != Default::default()) {
            truth = self.world.truth_now(key).await;
            again = self.run(findings, path, &nothing()).await?.given();
        }
        let rows = again.as_ref().unwrap_or(rows);
        match truth.as_ref() {
            Ok(truth) => {
                let difference = rows.differs(truth);
                if difference.foreign > 0 {
                    let what = match self.world.counts_unlisted(key, rows).await {
                        true => format!("{what} counts rows of stores that the list of stores does not hold"),
                        false => {
                            let rows = counted(difference.foreign, "row", "rows");
                            format!("{rows} of {what} that its scope does not have")
                        }
                    };
                    findings.leak(&self.who, what, "compared with the tables");
                } else if difference.lacking > 0 {
                    findings
                        .failures
                        .push(format!("{what} lacks {} of the tables", counted(difference.lacking, "row", "rows")));
                }
                let same = difference == Default::default();
                Ok(if same { "the same as the tables" } else { "differs from the tables" }.to_owned())
            }
            Err(why) => {
                findings.failures.push(format!("{what} could not be compared with the tables: {why}"));
                Ok("not compared".to_owned())
            }
        }
    }

    async fn download_own(
        &self,
        findings: &mut Findings,
        key: &str,
        card: &Card,
        what: &str,
        path: &str,
        format: &str,
    ) -> Result<(), client::Error> {
        findings.check("downloads");
        let Some(mut rows) = self.file(findings, what, path, format).await? else { return Ok(()) };
        let how = format!("its download as {format}");
        if !self.stores_within(findings, &rows.stores(card.scope.brand()), what, &how) {
            return Ok(());
        }
        let wanted = |truth: &Truth| truth.as_ref().as_ref().ok().map(|truth| truth.filled().min(FILE_ROWS));
        let mut truth = wanted(&self.world.truth(key).await);
        if truth.is_some_and(|truth| truth != rows.filled()) {
            // A load may have come in between.
            truth = wanted(&self.world.truth_now(key).await);
            let Some(again) = self.file(findings, what, path, format).await? else { return Ok(()) };
            rows = again;
        }
        match truth.map(|truth| (truth, rows.filled())) {
            Some((truth, came)) if came > truth => {
                let more = counted(came - truth, "row", "rows");
                findings.leak(&self.who, format!("{more} of {what} that its scope does not have"), &how);
            }
            Some((truth, came)) if came < truth => {
                findings
                    .failures
                    .push(format!("{what}: {how} lacks {} of the tables", counted(truth - came, "row", "rows")));
            }
            _ => {}
        }
        Ok(())
    }

    /// A download of one's own; what keeps it from being read is a failure.
    async fn file(
        &self,
        findings: &mut Findings,
        what: &str,
        path: &str,
        format: &str,
    ) -> Result<Option<Rows>, client::Error> {
        let file = self.download(findings, path, format).await?.given();
        if file.is_none() {
            findings.failures.push(format!("the {what} does not download as {format}"));
        } else if file.as_ref().is_some_and(Option::is_none) {
            findings.failures.push(format!("the {what} downloads as {format} that cannot be read"));
        }
        Ok(file.flatten())
    }
}
