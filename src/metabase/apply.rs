//! Carries out a plan: exactly its steps, part by part.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;
use tracing::{error, info};

use super::actual::{Actual, Place, read_items, read_whole};
use super::client::{self, Client, id_of};
use super::context::{Context, Error, Gathered};
use super::desired::{Dashboard, Desired};
use super::graphs::{rights, unguarded};
use super::index::Index;
use super::plan::{Plan, Refusal};
use super::step::{Phase, Step, Work};
use super::tables::{Kind, Known, Ledger};
use crate::access::Credentials;
use crate::settings;
use crate::telemetry::chain;
use crate::words::counted;

/// What an apply did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Applied {
    /// Steps taken: all of the plan's.
    pub steps_done: usize,
    /// How long it took.
    pub seconds: f64,
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {:.1} s", counted(self.steps_done, "step", "steps"), self.seconds)
    }
}

/// Carries out the steps of a plan that still fits the instance.
///
/// # Errors
/// When somebody else is writing, when the instance or what is wanted changed
/// since the plan was made, and at the first step that fails: the steps before
/// it stay done, and the next plan holds the rest. A person whom Metabase refuses
/// stops nobody else: it is told at the end.
pub async fn apply(context: &Context<'_>, plan: &Plan) -> Result<Applied, Error> {
    let started = Instant::now();
    let ledger = context.ledger();
    let claim = ledger.claim().await.map_err(Error::ledger("claim the instance"))?.ok_or(Error::Busy)?;
    let outcome = carry_out(context, plan).await;
    claim.release().await;
    outcome?;
    let applied = Applied { steps_done: plan.steps.len(), seconds: started.elapsed().as_secs_f64() };
    info!(steps_done = applied.steps_done, seconds = applied.seconds, "applied plan");
    Ok(applied)
}

async fn carry_out(context: &Context<'_>, plan: &Plan) -> Result<(), Error> {
    if !context.ledger().owned().await.map_err(Error::ledger("read whether the instance is ours"))? {
        return Err(Error::Refused(Refusal::NotOurs));
    }
    let gathered = context.gather().await?;
    if context.plan_of(&gathered, &plan.selection)?.digest() != plan.digest() {
        return Err(Error::Stale);
    }
    let applying = Applying::new(context, &gathered);
    applying.settle(&gathered).await?;
    applying.all(&plan.steps).await?;
    // What is left as it was found must still show as drift the next time.
    let mut left = BTreeSet::new();
    if !plan.selection.is_everything() {
        let taken: BTreeSet<_> = plan.steps.iter().filter_map(Step::updated).collect();
        left = context.plan_without_guards(&gathered).steps.iter().filter_map(Step::updated).collect();
        left.retain(|object| !taken.contains(object));
    }
    applying.mark(&gathered, &left).await?;
    applying.refusals()
}

/// Takes the steps of another kind of plan.
pub(super) async fn take_all(context: &Context<'_>, gathered: &Gathered, steps: &[Step]) -> Result<(), Error> {
    let applying = Applying::new(context, gathered);
    applying.settle(gathered).await?;
    applying.all(steps).await?;
    applying.refusals()
}

/// An apply under way.
pub(super) struct Applying<'a> {
    pub(super) client: &'a Client,
    pub(super) desired: &'a Desired,
    pub(super) actual: &'a Actual,
    pub(super) settings: &'a settings::Metabase,
    pub(super) credentials: &'a Credentials,
    pub(super) ledger: Ledger<'a>,
    /// Grows while objects are made.
    pub(super) index: Mutex<Index>,
    /// Groups to which Metabase would open the next database: all that have not
    /// been shut out of one before.
    pub(super) unguarded: Mutex<BTreeSet<i64>>,
    /// Who may do what where: a new collection copies it from the one above it.
    pub(super) levels: Mutex<BTreeMap<Place, BTreeMap<i64, String>>>,
    /// Steps about people that Metabase refused.
    refused: Mutex<Vec<(String, client::Error)>>,
}

pub(super) fn failed(step: &Step) -> impl FnOnce(client::Error) -> Error + use<> {
    let step = step.label();
    move |source| Error::Step { step, source }
}

impl<'a> Applying<'a> {
    fn new(context: &'a Context<'_>, gathered: &'a Gathered) -> Self {
        let Gathered { client, desired, actual, objects, credentials, .. } = gathered;
        let mut levels: BTreeMap<Place, BTreeMap<i64, String>> = BTreeMap::new();
        for ((group, place), level) in &actual.levels {
            levels.entry(*place).or_default().insert(*group, level.clone());
        }
        Self {
            client,
            desired,
            actual,
            settings: context.settings,
            credentials,
            ledger: context.ledger(),
            index: Mutex::new(Index::resolve(desired, actual, objects)),
            unguarded: Mutex::new(unguarded(actual)),
            levels: Mutex::new(levels),
            refused: Mutex::default(),
        }
    }

    /// Notes the ids of objects that an interrupted apply made.
    async fn settle(&self, gathered: &Gathered) -> Result<(), Error> {
        let index = self.index.lock().await;
        for ((kind, key), known) in &gathered.objects {
            if let (None, Some(id)) = (known.id, index.get(*kind, key)) {
                // What it holds is unknown: the next plan compares it whole.
                self.note(*kind, key, id, "", None).await?;
            }
        }
        Ok(())
    }

    async fn all(&self, steps: &[Step]) -> Result<(), Error> {
        let mut at = 0;
        while at < steps.len() {
            let phase = steps[at].work.phase();
            let length = steps[at..].iter().take_while(|step| step.work.phase() == phase).count();
            if let Err(error) = self.part(phase, &steps[at..at + length]).await {
                if (Phase::HoldMail..Phase::Mail).contains(&phase) {
                    self.put_mail_back(steps).await;
                }
                return Err(error);
            }
            at += length;
        }
        Ok(())
    }

    /// The mail server is out only while accounts are made, however that ends.
    async fn put_mail_back(&self, steps: &[Step]) {
        if !steps.iter().any(|step| step.work == Work::HoldMail) {
            return;
        }
        for step in steps.iter().filter(|step| step.work == Work::Mail) {
            if let Err(error) = self.take(step).await {
                error!(error = %chain(&error), "mail server of Metabase was not put back");
            }
        }
    }

    /// Takes steps of which each is about one person: who is refused stops nobody else.
    async fn people(&self, steps: &[Step], at_once: usize) -> Result<(), Error> {
        let all = steps.iter().map(|step| async move {
            match self.take(step).await {
                Err(Error::Step { step, source }) if source.is_about_the_call() => {
                    self.refused.lock().await.push((step, source));
                    Ok(())
                }
                other => other,
            }
        });
        futures::stream::iter(all).buffer_unordered(at_once).try_collect().await
    }

    /// Tells who was refused.
    fn refusals(self) -> Result<(), Error> {
        let mut refused = self.refused.into_inner();
        refused.sort_by(|(one, _), (other, _)| one.cmp(other));
        if refused.is_empty() { Ok(()) } else { Err(Error::People(refused)) }
    }

    async fn part(&self, phase: Phase, steps: &[Step]) -> Result<(), Error> {
        self.intend(steps).await?;
        match phase {
            Phase::CloseData | Phase::GrantData => self.data_graph(steps).await,
            Phase::Block => self.block(steps).await,
            Phase::CloseCollections | Phase::GrantCollections => self.collection_graph(steps).await,
            Phase::Dashboards => self.dashboards(steps).await,
            Phase::Pins => self.pins(steps).await,
            Phase::Reactivate | Phase::People => self.people(steps, super::AT_ONCE).await,
            Phase::Join => self.people(steps, 1).await,
            // Independent of each other, and the bulk of the work.
            Phase::Cards | Phase::ArchiveCards | Phase::ArchiveDashboards => {
                let all = steps.iter().map(|step| self.take(step));
                futures::stream::iter(all).buffer_unordered(super::AT_ONCE).try_collect().await
            }
            _ => {
                for step in steps {
                    self.take(step).await?;
                }
                Ok(())
            }
        }
    }

    /// Pins, one after the other within a collection: each moves those behind it.
    async fn pins(&self, steps: &[Step]) -> Result<(), Error> {
        let mut collections: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
        for step in steps {
            if let Work::Pin { key, .. } = &step.work {
                let collection = self.desired.dashboards.get(key).map_or("", |board| board.collection.as_str());
                collections.entry(collection).or_default().push(step);
            }
        }
        let all = collections.into_values().map(|steps| async move {
            for step in steps {
                self.take(step).await?;
            }
            Ok(())
        });
        futures::stream::iter(all).buffer_unordered(super::AT_ONCE).try_collect().await
    }

    /// Notes what a part is about to make.
    async fn intend(&self, steps: &[Step]) -> Result<(), Error> {
        let mut keys: BTreeMap<Kind, Vec<&str>> = BTreeMap::new();
        for (kind, key) in steps.iter().filter_map(Step::makes) {
            keys.entry(kind).or_default().push(key);
        }
        for (kind, keys) in keys {
            let highest = self.actual.highest(kind);
            self.ledger.intend(kind, &keys, highest).await.map_err(Error::ledger("note what is being made"))?;
        }
        Ok(())
    }

    pub(super) async fn note(
        &self,
        kind: Kind,
        key: &str,
        id: i64,
        hash: &str,
        answer: Option<&Value>,
    ) -> Result<(), Error> {
        let entity_id = answer.and_then(|answer| answer["entity_id"].as_str()).map(str::to_owned);
        let known = Known { id: Some(id), entity_id, hash: hash.to_owned(), mark: String::new() };
        self.ledger.note(kind, key, &known).await.map_err(Error::ledger("note what was made"))
    }

    pub(super) async fn made(
        &self,
        kind: Kind,
        key: &str,
        hash: &str,
        answer: &Value,
        call: &'static str,
    ) -> Result<i64, Error> {
        let id = id_of(answer, call).map_err(Error::Metabase)?;
        self.note(kind, key, id, hash, Some(answer)).await?;
        self.index.lock().await.put(kind, key, id);
        Ok(id)
    }

    pub(super) async fn id(&self, kind: Kind, key: &str) -> Result<i64, Error> {
        self.index.lock().await.get(kind, key).ok_or_else(|| Error::Missing { kind: kind.text(), key: key.to_owned() })
    }

    pub(super) async fn take(&self, step: &Step) -> Result<(), Error> {
        let client = self.client;
        match &step.work {
            Work::Setting { .. } | Work::Cache { .. } | Work::HoldMail | Work::Mail | Work::HomePage { .. } => {
                self.write_setting(step).await?;
            }
            Work::Pin { key, position } => {
                let id = self.id(Kind::Dashboard, key).await?;
                let body = json!({"collection_position": position});
                client.put(&format!("api/dashboard/{id}"), &body).await.map_err(failed(step))?;
            }
            Work::Leave { membership } => {
                gone(client.delete(&format!("api/permissions/membership/{membership}")).await).map_err(failed(step))?;
            }
            Work::Demote { user } => {
                client.put(&format!("api/user/{user}"), &json!({"is_superuser": false})).await.map_err(failed(step))?;
            }
            Work::Deactivate { user } => {
                // Its groups first: whoever opens the account again opens it empty.
                for membership in self.actual.memberships.iter().filter(|membership| membership.user == *user) {
                    if membership.group != self.actual.all_users {
                        let path = format!("api/permissions/membership/{}", membership.id);
                        gone(client.delete(&path).await).map_err(failed(step))?;
                    }
                }
                client.delete(&format!("api/user/{user}")).await.map_err(failed(step))?;
            }
            Work::DeleteGroup { key, id } => {
                gone(client.delete(&format!("api/permissions/group/{id}")).await).map_err(failed(step))?;
                self.levels.lock().await.values_mut().for_each(|levels| drop(levels.remove(id)));
                self.ledger.forget(Kind::Group, key).await.map_err(Error::ledger("forget a group"))?;
            }
            Work::DeleteSample { id } => {
                client.delete(&format!("api/database/{id}")).await.map_err(failed(step))?;
            }
            Work::ArchiveSample { id } => {
                client.put(&format!("api/collection/{id}"), &json!({"archived": true})).await.map_err(failed(step))?;
            }
            Work::CreateConnection { key } => self.create_connection(step, key).await?,
            Work::UpdateConnection { key, id } => {
                let connection = &self.desired.connections[key];
                let password = self.credentials.password(&connection.role);
                let body = connection.body(password.expose_secret());
                client.put(&format!("api/database/{id}"), &body).await.map_err(failed(step))?;
                self.note(Kind::Connection, key, *id, &connection.hash(), None).await?;
            }
            Work::CreateGroup { key } => {
                let body = json!({"name": self.desired.groups[key].name});
                let answer = client.post("api/permissions/group", &body).await.map_err(failed(step))?;
                self.made(Kind::Group, key, "", &answer, "POST api/permissions/group").await?;
            }
            Work::RenameGroup { key, id } => {
                let body = json!({"name": self.desired.groups[key].name});
                client.put(&format!("api/permissions/group/{id}"), &body).await.map_err(failed(step))?;
            }
            Work::CreateCollection { key } => self.create_collection(step, key).await?,
            Work::UpdateCollection { key, id } => self.update_collection(step, key, *id).await?,
            Work::CreateCard { key } => {
                let card = &self.desired.cards[key];
                let body = card.body(
                    self.id(Kind::Collection, &card.collection).await?,
                    self.id(Kind::Connection, &card.connection).await?,
                );
                let answer = client.post("api/card", &body).await.map_err(failed(step))?;
                self.made(Kind::Card, key, &card.hash(), &answer, "POST api/card").await?;
            }
            Work::UpdateCard { key, id } => {
                let card = &self.desired.cards[key];
                let mut body = card.body(
                    self.id(Kind::Collection, &card.collection).await?,
                    self.id(Kind::Connection, &card.connection).await?,
                );
                body["archived"] = false.into();
                let answer = client.put(&format!("api/card/{id}"), &body).await.map_err(failed(step))?;
                self.note(Kind::Card, key, *id, &card.hash(), Some(&answer)).await?;
            }
            Work::CreateDashboard { key } => {
                let id = self.id(Kind::Dashboard, key).await?;
                self.write_dashboard(step, key, id, &self.desired.dashboards[key], &Value::Null).await?;
            }
            Work::UpdateDashboard { key, id } => {
                let dashboard = &self.desired.dashboards[key];
                let whole = read_whole(client, Kind::Dashboard, *id).await.map_err(failed(step))?;
                self.write_dashboard(step, key, *id, dashboard, &whole.unwrap_or_default()).await?;
            }
            Work::CreatePerson { .. }
            | Work::AdoptPerson { .. }
            | Work::ReactivatePerson { .. }
            | Work::UpdatePerson { .. }
            | Work::Join { .. } => self.person(step).await?,
            Work::DeleteTimeline { .. } | Work::DeleteEvents { .. } => self.timeline(step).await?,
            Work::ArchiveDashboard { key, id } => {
                client.put(&format!("api/dashboard/{id}"), &json!({"archived": true})).await.map_err(failed(step))?;
                self.ledger.forget(Kind::Dashboard, key).await.map_err(Error::ledger("forget a dashboard"))?;
            }
            Work::ArchiveCard { key, id } => {
                client.put(&format!("api/card/{id}"), &json!({"archived": true})).await.map_err(failed(step))?;
                self.ledger.forget(Kind::Card, key).await.map_err(Error::ledger("forget a question"))?;
            }
            Work::ArchiveCollection { key, id } => {
                client.put(&format!("api/collection/{id}"), &json!({"archived": true})).await.map_err(failed(step))?;
                self.ledger.forget(Kind::Collection, key).await.map_err(Error::ledger("forget a collection"))?;
            }
            Work::DeleteConnection { key, id } => {
                gone(client.delete(&format!("api/database/{id}")).await).map_err(failed(step))?;
                self.ledger.forget(Kind::Connection, key).await.map_err(Error::ledger("forget a connection"))?;
            }
            // Written together, as graphs.
            Work::Silence { .. }
            | Work::Ask { .. }
            | Work::Block { .. }
            | Work::View { .. }
            | Work::Level { .. }
            | Work::Read { .. } => {}
        }
        Ok(())
    }

    /// Makes a connection and shuts everybody out of it at once. A group that is
    /// shut out of any other gets no right on a new one.
    async fn create_connection(&self, step: &Step, key: &str) -> Result<(), Error> {
        let connection = &self.desired.connections[key];
        let password = self.credentials.password(&connection.role);
        let body = connection.body(password.expose_secret());
        let answer = self.client.post("api/database", &body).await.map_err(failed(step))?;
        let mut unguarded = self.unguarded.lock().await;
        if !unguarded.is_empty() {
            let id = id_of(&answer, "POST api/database").map_err(Error::Metabase)?;
            let mut groups = Map::new();
            for group in unguarded.iter() {
                groups.insert(group.to_string(), json!({id.to_string(): rights("no")}));
            }
            self.put_graph("api/permissions/graph", &groups, None).await.map_err(failed(step))?;
            unguarded.clear();
        }
        drop(unguarded);
        self.made(Kind::Connection, key, &connection.hash(), &answer, "POST api/database").await?;
        Ok(())
    }

    /// Notes when our objects were last edited, so that the next edit shows.
    async fn mark(&self, gathered: &Gathered, left: &BTreeSet<(Kind, String)>) -> Result<(), Error> {
        let index = self.index.lock().await;
        let collections: Vec<i64> = self
            .desired
            .collections
            .iter()
            .filter_map(|collection| index.get(Kind::Collection, &collection.key))
            .collect();
        let mut items = BTreeMap::new();
        read_items(self.client, &collections, &mut items).await.map_err(Error::Metabase)?;
        // What a person edited meanwhile is no edit of ours. Our key's account is in no list of people.
        items.retain(|object, item| {
            let before = self.actual.items.get(object);
            let by_a_person = item.editor.is_some_and(|editor| self.actual.users.contains_key(&editor));
            !by_a_person || before.is_some_and(|before| before.mark == item.mark)
        });
        for kind in [Kind::Card, Kind::Dashboard] {
            let keys: Vec<&String> = match kind {
                Kind::Card => self.desired.cards.keys().collect(),
                _ => self.desired.dashboards.keys().collect(),
            };
            let marks: Vec<(String, String)> = keys
                .into_iter()
                .filter(|key| !left.contains(&(kind, (*key).clone())))
                .filter_map(|key| {
                    let item = items.get(&(kind, index.get(kind, key)?))?;
                    Some((key.clone(), item.mark.clone()))
                })
                .collect();
            self.ledger.mark(kind, &marks).await.map_err(Error::ledger("note the last edits"))?;
        }
        // Edited and yet the same, such as a name changed and changed back.
        for (kind, key) in gathered.objects.keys().filter(|object| !left.contains(*object)) {
            let hash = match kind {
                Kind::Card => self.desired.cards.get(key).map(super::desired::Card::hash),
                Kind::Dashboard => self.desired.dashboards.get(key).map(Dashboard::hash),
                _ => None,
            };
            let known = gathered.objects.get(&(*kind, key.clone()));
            if let (Some(hash), Some(id)) = (hash, index.get(*kind, key))
                && known.is_some_and(|known| known.hash != hash)
                && let Some(item) = items.get(&(*kind, id))
            {
                // A search does not tell it.
                let entity_id = item.entity_id.clone().or_else(|| known.and_then(|known| known.entity_id.clone()));
                let known = Known { id: Some(id), entity_id, hash, mark: item.mark.clone() };
                self.ledger.note(*kind, key, &known).await.map_err(Error::ledger("note the last edits"))?;
            }
        }
        Ok(())
    }
}

/// What is to go and is gone already went.
pub(super) fn gone(outcome: Result<(), client::Error>) -> Result<(), client::Error> {
    match outcome {
        Err(error) if error.is_gone() => Ok(()),
        other => other,
    }
}
