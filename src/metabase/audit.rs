//! Proves who sees what, by trying it.
//!
//! For each group of ours a short-lived API key is made: a hidden user with
//! exactly that group. With it everything is tried that the group should see,
//! and much that it should not; what comes back is compared with the stores of
//! its scope. Nobody's password is touched and nobody is mailed. Then every
//! database role signs in and reads every table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::actual::sql_of;
use super::client::{self, Client, Proof, id_of, list};
use super::context::{Context, Error, Gathered};
use super::desired::Desired;
use super::fence::Fence;
use super::plan::Index;
use super::step::Action;
use super::tables::Kind;
use crate::access::{Scope, ScopeKind, Tree, has_role, role_name};
use crate::ids::{BrandId, StoreId};
use crate::warehouse::probe::{self, Relation};

/// Something that somebody sees, or could see, and should not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Leak {
    /// Who: a group, a role, or a person's number.
    pub who: String,
    /// What: an object, a store, a right.
    pub what: String,
    /// How it was found.
    pub how: String,
}

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Audit {
    /// People whose view was proven, each as the union of her groups.
    pub people: usize,
    /// Things tried or compared.
    pub checks: u64,
    /// What should not have been seen.
    pub leaks: Vec<Leak>,
    /// What should have been seen and could not be.
    pub failures: Vec<String>,
    /// Weaknesses of open-source Metabase itself that are open here.
    pub exposures: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for leak in &self.leaks {
            writeln!(f, "LEAK  {}: {} ({})", leak.who, leak.what, leak.how)?;
        }
        for failure in &self.failures {
            writeln!(f, "FAIL  {failure}")?;
        }
        for exposure in &self.exposures {
            writeln!(f, "note  {exposure}")?;
        }
        let (people, checks, leaks) = (self.people, self.checks, self.leaks.len());
        write!(f, "{people} people, {checks} checks, {leaks} leaks in {:.1} s", self.seconds)
    }
}

/// Tries what every group and every role can see.
///
/// # Errors
/// When the instance or the warehouse cannot be asked. A leak is no error.
pub async fn audit(context: &Context<'_>) -> Result<Audit, Error> {
    let started = Instant::now();
    let ledger = context.ledger();
    let claim = ledger.claim().await.map_err(Error::ledger("claim the instance"))?.ok_or(Error::Busy)?;
    let outcome = prove(context, started).await;
    claim.release().await;
    outcome
}

async fn prove(context: &Context<'_>, started: Instant) -> Result<Audit, Error> {
    let gathered = context.gather().await?;
    let index = Index::resolve(&gathered.desired, &gathered.actual, &gathered.objects);
    let auditing = Auditing { context, tree: &gathered.tree, gathered: &gathered, index: &index };
    let prefix = format!("{} audit ", context.installation.name);
    remove_keys(&gathered.client, &prefix).await?;
    let mut findings = auditing.rights();
    auditing.links(&mut findings).await.map_err(Error::Metabase)?;
    let outcome = auditing.groups(&prefix, &mut findings).await;
    // Whatever happened, no key is left behind.
    remove_keys(&gathered.client, &prefix).await?;
    outcome?;
    auditing.roles(&gathered.credentials, context, &mut findings).await?;
    let people = gathered.desired.people.values().filter(|account| account.active).count();
    findings.leaks.sort();
    findings.leaks.dedup();
    let audit = Audit {
        people,
        checks: findings.checks,
        leaks: findings.leaks,
        failures: findings.failures,
        exposures: findings.exposures.into_iter().collect(),
        seconds: started.elapsed().as_secs_f64(),
    };
    let (leaks, failures) = (audit.leaks.len(), audit.failures.len());
    if leaks > 0 {
        warn!(people, checks = audit.checks, leaks, failures, "audit found leaks");
    } else {
        info!(people, checks = audit.checks, leaks, failures, "audited");
    }
    Ok(audit)
}

/// Deletes keys of this audit, or of one that was killed.
async fn remove_keys(client: &Client, prefix: &str) -> Result<(), Error> {
    for key in list(client.get("api/api-key").await.map_err(Error::Metabase)?) {
        let ours = key["name"].as_str().is_some_and(|name| name.starts_with(prefix));
        if let (true, Some(id)) = (ours, key["id"].as_i64()) {
            client.delete(&format!("api/api-key/{id}")).await.map_err(Error::Metabase)?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Findings {
    checks: u64,
    leaks: Vec<Leak>,
    failures: Vec<String>,
    exposures: BTreeSet<String>,
}

impl Findings {
    fn leak(&mut self, who: &str, what: impl Into<String>, how: &str) {
        self.leaks.push(Leak { who: who.to_owned(), what: what.into(), how: how.to_owned() });
    }

    fn add(&mut self, other: Self) {
        self.checks += other.checks;
        self.leaks.extend(other.leaks);
        self.failures.extend(other.failures);
        self.exposures.extend(other.exposures);
    }
}

struct Auditing<'a> {
    context: &'a Context<'a>,
    tree: &'a Tree,
    gathered: &'a Gathered,
    index: &'a Index,
}

impl Auditing<'_> {
    fn desired(&self) -> &Desired {
        &self.gathered.desired
    }

    /// Says whether a question is ours and lies in the collection we put it into.
    fn in_place(&self, id: i64, collection: Option<i64>) -> bool {
        let key = self.index.key(Kind::Card, id);
        let card = key.and_then(|key| self.desired().cards.get(key));
        card.is_some_and(|card| self.index.get(Kind::Collection, &card.collection) == collection)
    }

    /// Compares the rights that are set with those that are wanted: the union of
    /// a person's groups is right when her memberships and their rights are.
    fn rights(&self) -> Findings {
        let mut findings = Findings::default();
        let actual = &self.gathered.actual;
        findings.checks += (actual.levels.len() + actual.asks.len() + actual.memberships.len()) as u64;
        // A guard may refuse the plan as a whole; what it would revoke is open all the same.
        let steps = self.context.plan_without_guards(self.gathered).steps;
        for step in &steps {
            let how = match (step.action, step.kind) {
                (Action::Revoke, kind) => format!("{kind} that nobody granted"),
                (Action::Deactivate, _) => "account without a grant".to_owned(),
                (Action::Update, "setting") if step.name.starts_with("enable-public") => "setting".to_owned(),
                _ => continue,
            };
            let changes: Vec<String> =
                step.changes.iter().map(|change| format!("{} {}", change.field, change.from)).collect();
            let who = match step.kind {
                "membership" | "person" => {
                    let id = actual.users.iter().find(|(_, user)| user.email == step.name).map(|(id, _)| *id);
                    format!("person {}", id.unwrap_or_default())
                }
                _ => step.name.clone(),
            };
            findings.leak(&who, format!("{} {}", step.scope, changes.join(", ")).trim(), &how);
        }
        let people: BTreeMap<i64, &str> = self
            .desired()
            .people
            .keys()
            .filter_map(|key| Some((self.index.get(Kind::Person, key)?, key.as_str())))
            .collect();
        let ours: BTreeSet<i64> =
            self.desired().groups.keys().filter_map(|key| self.index.get(Kind::Group, key)).collect();
        for membership in actual.memberships.iter().filter(|membership| people.contains_key(&membership.user)) {
            let group = membership.group;
            if group != actual.all_users && group != actual.administrators && !ours.contains(&group) {
                let name = actual.groups.get(&group).cloned().unwrap_or_default();
                findings.leak(
                    &format!("person {}", membership.user),
                    format!("group `{name}`"),
                    "membership of a group that is not ours",
                );
            }
        }
        findings
    }

    /// Looks for links that need no sign-in, and for keys that act for our groups.
    async fn links(&self, findings: &mut Findings) -> Result<(), client::Error> {
        for (path, kind) in [("api/card/public", "question"), ("api/dashboard/public", "dashboard")] {
            findings.checks += 1;
            match self.gathered.client.get(path).await {
                Ok(answer) => {
                    for link in list(answer) {
                        let name = link["name"].as_str().unwrap_or_default();
                        findings.leak("anybody", format!("{kind} `{name}`"), "public link");
                    }
                }
                // While sharing is switched off the list is refused, and so is every link.
                Err(error) if error.status().is_some_and(|status| status.is_client_error()) => {}
                Err(error) => return Err(error),
            }
        }
        let ours: BTreeSet<i64> =
            self.desired().groups.keys().filter_map(|key| self.index.get(Kind::Group, key)).collect();
        for key in list(self.gathered.client.get("api/api-key").await?) {
            findings.checks += 1;
            if key["group"]["id"].as_i64().is_some_and(|group| ours.contains(&group)) {
                let name = key["name"].as_str().unwrap_or_default();
                let group = key["group"]["name"].as_str().unwrap_or_default();
                findings.exposures.insert(format!("the API key `{name}` has the rights of `{group}` and is not ours"));
            }
        }
        Ok(())
    }

    async fn groups(&self, prefix: &str, findings: &mut Findings) -> Result<(), Error> {
        let found: Vec<Findings> = futures::stream::iter(self.desired().groups.keys())
            .map(|group| self.group(prefix, group))
            .buffer_unordered(super::AT_ONCE)
            .try_collect()
            .await?;
        for one in found {
            findings.add(one);
        }
        Ok(())
    }

    async fn group(&self, prefix: &str, key: &str) -> Result<Findings, Error> {
        let mut findings = Findings::default();
        let Some(group_id) = self.index.get(Kind::Group, key) else {
            findings.failures.push(format!("the group `{key}` is not there yet: apply first"));
            return Ok(findings);
        };
        let client = &self.gathered.client;
        // Names must differ among all keys, so also from a key of a killed audit.
        let name = format!("{prefix}{group_id} {:08x}", rand::random::<u32>());
        let answer =
            client.post("api/api-key", &json!({"name": name, "group_id": group_id})).await.map_err(Error::Metabase)?;
        let key_id = id_of(&answer, "POST api/api-key").map_err(Error::Metabase)?;
        let secret = answer["unmasked_key"].as_str().unwrap_or_default().to_owned();
        let acting = Acting {
            auditing: self,
            group: key,
            scope: &self.desired().groups[key].scope,
            client: client.with(Proof::Key(SecretString::from(secret))),
        };
        let outcome = acting.everything(&mut findings).await;
        client.delete(&format!("api/api-key/{key_id}")).await.map_err(Error::Metabase)?;
        outcome.map_err(Error::Metabase)?;
        Ok(findings)
    }

    async fn roles(
        &self,
        credentials: &crate::access::Credentials,
        context: &Context<'_>,
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let mut schemas: Vec<String> = self.tree.brands.iter().map(|brand| brand.id.schema()).collect();
        schemas.extend(["mart_all", "access", "ops", "walls", "public"].map(str::to_owned));
        let relations = probe::relations(context.warehouse, &schemas)
            .await
            .map_err(|source| Error::Role { role: "owner".to_owned(), source })?;
        let scopes: Vec<Scope> =
            self.tree.scopes().into_iter().filter(|scope| has_role(scope, context.settings.wall)).collect();
        let mut sampled: BTreeSet<(Option<BrandId>, ScopeKind)> = BTreeSet::new();
        let jobs: Vec<(Scope, Vec<&Relation>)> = scopes
            .into_iter()
            .map(|scope| {
                // A view shows its reader what the tables show her, so the tables are
                // enough; one role of each kind and brand proves it of the views.
                let views = sampled.insert((scope.brand().cloned(), scope.kind()));
                let relations =
                    relations.iter().filter(|relation| views || !relation.view || relation.owner_rights).collect();
                (scope, relations)
            })
            .collect();
        let found: Vec<Findings> = futures::stream::iter(jobs)
            .map(|(scope, relations)| async move {
                let role = role_name(&context.installation.name, &scope);
                let password = credentials.password(&role);
                let seen = probe::look(context.warehouse, &role, &password, &relations)
                    .await
                    .map_err(|source| Error::Role { role: role.clone(), source })?;
                Ok::<_, Error>(self.role(&scope, &role, &relations, &seen))
            })
            .buffer_unordered(super::AT_ONCE)
            .try_collect()
            .await?;
        for one in found {
            findings.add(one);
        }
        Ok(())
    }

    fn role(&self, scope: &Scope, role: &str, relations: &[&Relation], seen: &probe::Seen) -> Findings {
        let mut findings = Findings::default();
        let who = format!("role {role}");
        let allowed = self.tree.stores_of(scope);
        for relation in relations {
            findings.checks += 1;
            let key = (relation.schema.clone(), relation.name.clone());
            if !seen.readable.contains(&key) {
                continue;
            }
            let name = format!("{}.{}", relation.schema, relation.name);
            let schema_brand = relation.schema.strip_prefix("mart_").map(BrandId::from);
            let may_enter = match relation.schema.as_str() {
                "mart_all" => *scope == Scope::Chain,
                "walls" => relation.name == "stores",
                "access" | "ops" | "public" => false,
                _ => scope.brand().is_none_or(|brand| Some(brand) == schema_brand.as_ref()),
            };
            if !may_enter {
                findings.leak(&who, format!("table `{name}`"), "select as the role");
                continue;
            }
            for (brand, store) in seen.stores.get(&key).into_iter().flatten() {
                let brand = brand.as_deref().map(BrandId::from).or_else(|| schema_brand.clone());
                let pair = (brand.unwrap_or_else(|| BrandId::from("")), StoreId(store.clone()));
                if !allowed.contains(&pair) {
                    findings.leak(&who, format!("store {}/{store} in `{name}`", pair.0), "select as the role");
                }
            }
        }
        findings
    }
}

/// One group's rights, in use.
struct Acting<'a> {
    auditing: &'a Auditing<'a>,
    group: &'a str,
    scope: &'a Scope,
    client: Client,
}

/// How an attempt ended.
enum Tried {
    Given(Value),
    Refused,
}

impl Acting<'_> {
    async fn everything(&self, findings: &mut Findings) -> Result<(), client::Error> {
        self.itself(findings).await?;
        self.lists(findings).await?;
        self.own(findings).await?;
        self.foreign(findings).await?;
        self.own_sql(findings).await
    }

    /// Tries a call; only a refusal or an answer ends it well.
    async fn attempt(&self, call: impl Future<Output = Result<Value, client::Error>>) -> Result<Tried, client::Error> {
        match call.await {
            Ok(answer) => Ok(Tried::Given(answer)),
            Err(error) if error.status().is_some_and(|status| status.is_client_error()) => Ok(Tried::Refused),
            Err(error) => Err(error),
        }
    }

    fn readable(&self) -> BTreeSet<i64> {
        let desired = self.auditing.desired();
        desired
            .reads
            .iter()
            .filter(|(group, _)| group == self.group)
            .filter_map(|(_, collection)| self.auditing.index.get(Kind::Collection, collection))
            .collect()
    }

    fn askable(&self) -> BTreeSet<i64> {
        let desired = self.auditing.desired();
        desired
            .asks
            .iter()
            .filter(|(group, _)| group == self.group)
            .filter_map(|(_, connection)| self.auditing.index.get(Kind::Connection, connection))
            .collect()
    }

    async fn itself(&self, findings: &mut Findings) -> Result<(), client::Error> {
        findings.checks += 3;
        if self.client.get("api/user/current").await?["is_superuser"] == true {
            findings.leak(self.group, "everything", "the group makes administrators");
        }
        if let Tried::Given(answer) = self.attempt(self.client.get("api/user")).await?
            && !list(answer).is_empty()
        {
            findings.leak(self.group, "the list of accounts", "GET /api/user");
        }
        if let Tried::Given(answer) = self.attempt(self.client.get("api/user/recipients")).await?
            && list(answer).len() > 1
        {
            findings.exposures.insert(
                "every signed-in person can read names and addresses of all others (GET /api/user/recipients): \
                 reach Metabase through the shipped nginx, which refuses that path"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// What the group's own lists show must be within what was granted.
    async fn lists(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let readable = self.readable();
        for row in list(self.client.get("api/collection").await?) {
            let personal = row["is_personal"] == true || row["personal_owner_id"].is_i64();
            if personal || row["type"] == "trash" {
                continue;
            }
            findings.checks += 1;
            if row["id"].as_i64().is_none_or(|id| !readable.contains(&id)) {
                let name = row["name"].as_str().unwrap_or_default();
                findings.leak(self.group, format!("collection `{name}`"), "GET /api/collection");
            }
        }
        let models = "models=card&models=dataset&models=metric&models=dashboard";
        for row in self.client.pages(&format!("api/search?{models}")).await? {
            findings.checks += 1;
            let collection = row["collection_id"].as_i64().or_else(|| row["collection"]["id"].as_i64());
            if collection.is_none_or(|id| !readable.contains(&id)) {
                let (model, name) = (row["model"].as_str(), row["name"].as_str());
                let what = format!("{} `{}`", model.unwrap_or_default(), name.unwrap_or_default());
                findings.leak(self.group, what, "GET /api/search");
                continue;
            }
            let question = row["model"] != "dashboard";
            if let (true, Some(id)) = (question, row["id"].as_i64())
                && !self.auditing.in_place(id, collection)
            {
                self.stray(findings, id).await?;
            }
        }
        let askable = self.askable();
        for row in list(self.client.get("api/database").await?) {
            findings.checks += 1;
            if row["id"].as_i64().is_none_or(|id| !askable.contains(&id)) {
                let name = row["name"].as_str().unwrap_or_default();
                findings.leak(self.group, format!("connection `{name}`"), "GET /api/database");
            }
        }
        Ok(())
    }

    /// A question in a collection of ours that is not where we put it, or not ours
    /// at all: its rows must be of the group's stores like any other's.
    async fn stray(&self, findings: &mut Findings, id: i64) -> Result<(), client::Error> {
        findings.checks += 1;
        let path = format!("api/card/{id}");
        let Tried::Given(whole) = self.attempt(self.client.get(&path)).await? else {
            return Ok(());
        };
        let name = whole["name"].as_str().unwrap_or_default();
        let (path, nothing) = (format!("{path}/query"), json!({}));
        let Tried::Given(answer) = self.attempt(self.client.post(&path, &nothing)).await? else {
            return Ok(());
        };
        let database = whole["database_id"].as_i64().or_else(|| whole["dataset_query"]["database"].as_i64());
        let connection = self
            .auditing
            .desired()
            .connections
            .iter()
            .find(|(key, _)| database.is_some() && self.auditing.index.get(Kind::Connection, key) == database);
        let Some((key, connection)) = connection else {
            findings.exposures.insert(format!(
                "the question `{name}` ({id}) in a collection of ours asks over a connection that is not ours"
            ));
            return Ok(());
        };
        let allowed = self.auditing.tree.stores_of(self.scope);
        let seen = stores_in(&answer, connection.scope.brand());
        let wider = !self.auditing.tree.stores_of(&connection.scope).is_subset(&allowed);
        // Without a store in its rows, the connection says whose they may be.
        if seen.iter().any(|pair| !allowed.contains(pair)) || (seen.is_empty() && wider) {
            findings.leak(
                self.group,
                format!("question `{name}` ({id}), over the connection `{key}`"),
                "the rows of its answer",
            );
        }
        Ok(())
    }

    /// Everything of the group's own scope; of each scope below it one question,
    /// the rest is run by the group whose own it is.
    async fn own(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let desired = self.auditing.desired();
        let reads = |collection: &String| desired.reads.contains(&(self.group.to_owned(), collection.clone()));
        let own = self.scope.to_string();
        for (key, dashboard) in desired.dashboards.iter().filter(|(_, dashboard)| reads(&dashboard.collection)) {
            let Some(id) = self.auditing.index.get(Kind::Dashboard, key) else {
                findings.failures.push(format!("the dashboard `{key}` is not there yet: apply first"));
                continue;
            };
            findings.checks += 1;
            if matches!(self.attempt(self.client.get(&format!("api/dashboard/{id}"))).await?, Tried::Refused) {
                findings.failures.push(format!(
                    "`{}` cannot open the dashboard `{}` of `{}`",
                    self.group, dashboard.name, dashboard.scope
                ));
            }
        }
        let mut sampled = BTreeSet::new();
        for (key, card) in desired.cards.iter().filter(|(_, card)| reads(&card.collection)) {
            if card.collection != own && !sampled.insert(&card.collection) {
                continue;
            }
            let Some(id) = self.auditing.index.get(Kind::Card, key) else {
                findings.failures.push(format!("the question `{key}` is not there yet: apply first"));
                continue;
            };
            self.run_own(findings, id, key).await?;
        }
        Ok(())
    }

    async fn run_own(&self, findings: &mut Findings, id: i64, key: &str) -> Result<(), client::Error> {
        let card = &self.auditing.desired().cards[key];
        findings.checks += 2;
        let path = format!("api/card/{id}");
        match self.attempt(self.client.get(&path)).await? {
            Tried::Given(whole) => {
                let (database, sql) = sql_of(&whole).unwrap_or_default();
                let what = format!("question `{}` of `{}`", card.name, card.scope);
                if Some(database) != self.auditing.index.get(Kind::Connection, &card.connection) {
                    findings.leak(self.group, what.clone(), "it asks over another connection than its scope's");
                }
                let fence = Fence { scope: &card.scope, unscoped: &self.auditing.gathered.unscoped };
                if fence.check(&sql).is_err() {
                    findings.leak(self.group, what, "its SQL lacks the literal of its scope");
                }
            }
            Tried::Refused => {
                findings
                    .failures
                    .push(format!("`{}` cannot open the question `{}` of `{}`", self.group, card.name, card.scope));
            }
        }
        let (path, nothing) = (format!("{path}/query"), json!({}));
        let Tried::Given(answer) = self.attempt(self.client.post(&path, &nothing)).await? else {
            findings.failures.push(format!("`{}` may not run `{}` of `{}`", self.group, card.name, card.scope));
            return Ok(());
        };
        if answer["status"] != "completed" {
            findings.failures.push(format!("`{}` of `{}` does not run", card.name, card.scope));
            return Ok(());
        }
        let allowed = self.auditing.tree.stores_of(self.scope);
        for pair in stores_in(&answer, card.scope.brand()) {
            findings.checks += 1;
            if !allowed.contains(&pair) {
                let what = format!("store {}/{} in question `{}` of `{}`", pair.0, pair.1, card.name, card.scope);
                findings.leak(self.group, what, "the rows of its answer");
            }
        }
        Ok(())
    }

    /// Questions, dashboards and collections of other scopes, by their ids.
    async fn foreign(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let desired = self.auditing.desired();
        let index = self.auditing.index;
        let readable = self.readable();
        let mut one_of: BTreeMap<&String, Vec<(&str, String, i64)>> = BTreeMap::new();
        for (key, dashboard) in &desired.dashboards {
            if let Some(id) = index.get(Kind::Dashboard, key) {
                one_of.entry(&dashboard.collection).or_default().push(("dashboard", format!("api/dashboard/{id}"), id));
            }
        }
        for (key, card) in &desired.cards {
            let Some(id) = index.get(Kind::Card, key) else { continue };
            let tries = one_of.entry(&card.collection).or_default();
            if !tries.iter().any(|(kind, ..)| *kind == "question") {
                tries.push(("question", format!("api/card/{id}/query"), id));
            }
        }
        for collection in &desired.collections {
            if let Some(id) = index.get(Kind::Collection, &collection.key) {
                one_of.entry(&collection.key).or_default().push((
                    "collection",
                    format!("api/collection/{id}/items"),
                    id,
                ));
            }
        }
        for (collection, tries) in one_of {
            if index.get(Kind::Collection, collection).is_some_and(|id| readable.contains(&id)) {
                continue;
            }
            for (kind, path, id) in tries {
                findings.checks += 1;
                let tried = match kind {
                    "question" => self.attempt(self.client.post(&path, &json!({}))).await?,
                    _ => self.attempt(self.client.get(&path)).await?,
                };
                let given = match (&tried, kind) {
                    (Tried::Given(answer), "question") => answer["status"] == "completed",
                    // What lies in a collection is only listed where it may be read.
                    (Tried::Given(answer), "collection") => !list(answer.clone()).is_empty(),
                    (Tried::Given(_), _) => true,
                    (Tried::Refused, _) => false,
                };
                if given {
                    findings.leak(self.group, format!("{kind} {id} of `{collection}`"), "asked for by its id");
                }
            }
        }
        Ok(())
    }

    /// SQL of one's own: analysts on their connection, nobody on any other.
    async fn own_sql(&self, findings: &mut Findings) -> Result<(), client::Error> {
        let askable = self.askable();
        for (key, connection) in &self.auditing.desired().connections {
            let Some(id) = self.auditing.index.get(Kind::Connection, key) else { continue };
            let allowed = askable.contains(&id);
            let related = self.auditing.tree.lineage(self.scope).contains(&connection.scope)
                || self.auditing.tree.lineage(&connection.scope).contains(self.scope);
            let neighbour = stable_pick(self.group, key);
            if !allowed && !related && !neighbour {
                continue;
            }
            findings.checks += 1;
            // Of the union of all brands a number alone does not name a store.
            let columns = if connection.scope.brand().is_some() { "store_id" } else { "brand, store_id" };
            let sql = format!("SELECT DISTINCT {columns} FROM {}.stores", connection.schema);
            let body = json!({"database": id, "type": "native", "native": {"query": sql}});
            let given = match self.attempt(self.client.post("api/dataset", &body)).await? {
                Tried::Given(answer) if answer["status"] == "completed" => Some(answer),
                _ => None,
            };
            match (allowed, given) {
                (false, Some(_)) => {
                    findings.leak(self.group, format!("SQL on the connection `{key}`"), "POST /api/dataset");
                }
                (true, None) => findings.failures.push(format!("`{}` cannot ask questions on `{key}`", self.group)),
                (true, Some(answer)) => {
                    let stores = self.auditing.tree.stores_of(self.scope);
                    for pair in stores_in(&answer, connection.scope.brand()) {
                        if !stores.contains(&pair) {
                            let what = format!("store {}/{} by SQL on `{key}`", pair.0, pair.1);
                            findings.leak(self.group, what, "POST /api/dataset");
                        }
                    }
                }
                (false, None) => {}
            }
        }
        Ok(())
    }
}

/// Picks about one in sixteen of the pairs, always the same ones.
fn stable_pick(group: &str, connection: &str) -> bool {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(format!("{group} {connection}"))[0] % 16 == 0
}

/// Finds the stores an answer speaks of: in a column `store_id`, or in a column
/// `stores` that lists those which were added up.
fn stores_in(answer: &Value, brand: Option<&BrandId>) -> BTreeSet<(BrandId, StoreId)> {
    let names: Vec<&str> = answer["data"]["cols"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|column| column["name"].as_str().unwrap_or_default())
        .collect();
    let at = |name: &str| names.iter().position(|found| *found == name);
    let (one, many, brands) = (at("store_id"), at("stores"), at("brand"));
    let mut stores = BTreeSet::new();
    for row in answer["data"]["rows"].as_array().into_iter().flatten() {
        let text = |at: Option<usize>| at.and_then(|at| row[at].as_str());
        let brand = text(brands).map(BrandId::from).or_else(|| brand.cloned()).unwrap_or_else(|| BrandId::from(""));
        let listed = text(many).into_iter().flat_map(|list| list.split(','));
        for store in text(one).into_iter().chain(listed) {
            stores.insert((brand.clone(), StoreId::from(store.trim())));
        }
    }
    stores
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_found_in_single_and_in_listed_form() {
        let brand = BrandId::from("harbor");
        let answer =
            json!({"data": {"cols": [{"name": "x"}, {"name": "store_id"}], "rows": [[1, "000101"], [2, null]]}});
        assert_eq!(stores_in(&answer, Some(&brand)).len(), 1);
        let answer = json!({"data": {"cols": [{"name": "stores"}], "rows": [["000101,000102"], ["000102, 000103"]]}});
        assert_eq!(stores_in(&answer, Some(&brand)).len(), 3);
        let answer = json!({"data": {"cols": [{"name": "brand"}, {"name": "store_id"}], "rows": [["mesa", "000101"]]}});
        assert_eq!(stores_in(&answer, None).into_iter().next().map(|pair| pair.0), Some(BrandId::from("mesa")));
    }
}
