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
use serde_json::json;
use tracing::{info, warn};

use super::acting::Acting;
use super::client::{self, Client, Proof, id_of, list};
use super::context::{Context, Error, Gathered};
use super::desired::Desired;
use super::index::Index;
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

/// What was found so far.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) checks: u64,
    pub(super) leaks: Vec<Leak>,
    pub(super) failures: Vec<String>,
    pub(super) exposures: BTreeSet<String>,
}

impl Findings {
    pub(super) fn leak(&mut self, who: &str, what: impl Into<String>, how: &str) {
        self.leaks.push(Leak { who: who.to_owned(), what: what.into(), how: how.to_owned() });
    }

    fn add(&mut self, other: Self) {
        self.checks += other.checks;
        self.leaks.extend(other.leaks);
        self.failures.extend(other.failures);
        self.exposures.extend(other.exposures);
    }
}

/// One audit.
pub(super) struct Auditing<'a> {
    context: &'a Context<'a>,
    pub(super) tree: &'a Tree,
    pub(super) gathered: &'a Gathered,
    pub(super) index: &'a Index,
}

impl Auditing<'_> {
    pub(super) fn desired(&self) -> &Desired {
        &self.gathered.desired
    }

    /// Says whether a question is ours and lies in the collection we put it into.
    pub(super) fn in_place(&self, id: i64, collection: Option<i64>) -> bool {
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
