//! One audit from its beginning to its end.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

use futures::{StreamExt as _, TryStreamExt as _};
use secrecy::SecretString;
use serde::Serialize;
use tracing::{info, warn};

use super::acting::Acting;
use super::combinations::{make_key, people};
use super::findings::{Evidence, Findings, GroupProof, Leak};
use super::truth_tables::{Stores, Unlisted};
use super::world::World;
use crate::metabase::AT_ONCE;
use crate::metabase::client::{Client, Proof, list};
use crate::metabase::context::{Context, Error};
use crate::metabase::index::Index;
use crate::metabase::step::Action;
use crate::metabase::tables::Kind;
use crate::words::counted;

/// How much an audit tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Decides what is drawn where not all is tried: the same seed draws the same.
    pub seed: String,
    /// Try everything, however long it takes.
    pub full: bool,
    /// Of foreign places, connections and combinations, so many for each group.
    pub sample: usize,
}

impl Extent {
    /// What is tried of a chain of this size: everything, or a draw that differs from
    /// day to day.
    pub fn of_day(now: chrono::DateTime<chrono::Utc>) -> Self {
        Self { seed: now.date_naive().to_string(), full: false, sample: 16 }
    }
}

/// Groups times places up to which everything is tried unasked.
const SMALL: usize = 6_400;

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
    /// The release of the instance.
    pub metabase: String,
    /// What was drawn by.
    pub seed: String,
    /// Whether everything was tried.
    pub full: bool,
    /// Who saw what.
    #[serde(skip)]
    pub evidence: Evidence,
}

impl Audit {
    /// Says whether everybody sees what she should, and nothing else.
    pub fn is_clean(&self) -> bool {
        self.leaks.is_empty() && self.failures.is_empty()
    }
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
        if !self.evidence.unlisted.is_empty() {
            let stores = self.evidence.unlisted.join(", ");
            writeln!(f, "note  nobody sees the rows of stores that the list of stores does not hold: {stores}")?;
        }
        let (places, tried) = (self.evidence.foreign_places, self.evidence.foreign_tried);
        if tried < places {
            writeln!(
                f,
                "note  {tried} of {places} foreign places were tried, drawn by `{}`; --full tries all",
                self.seed
            )?;
        }
        let (people, checks) = (counted(self.people, "person", "people"), counted(self.checks, "check", "checks"));
        let leaks = counted(self.leaks.len(), "leak", "leaks");
        write!(f, "{people}, {checks}, {leaks} in {:.1} s", self.seconds)
    }
}

/// Tries what every group and every role can see, as much of it as is usual.
///
/// # Errors
/// When the instance or the warehouse cannot be asked. A leak is no error.
pub async fn audit(context: &Context<'_>) -> Result<Audit, Error> {
    audit_with(context, &Extent::of_day(context.now)).await
}

/// Tries what every group and every role can see.
///
/// # Errors
/// As [`audit`].
pub async fn audit_with(context: &Context<'_>, extent: &Extent) -> Result<Audit, Error> {
    let started = Instant::now();
    let ledger = context.ledger();
    let claim = ledger.claim().await.map_err(Error::ledger("claim the instance"))?.ok_or(Error::Busy)?;
    let outcome = prove(context, extent, started).await;
    claim.release().await;
    outcome
}

async fn prove(context: &Context<'_>, extent: &Extent, started: Instant) -> Result<Audit, Error> {
    let gathered = context.gather_anew().await?;
    let index = Index::resolve(&gathered.desired, &gathered.actual, &gathered.objects);
    let brands: Vec<_> = context.brands.keys().cloned().collect();
    let as_owner = |source| Error::Role { role: "owner".to_owned(), source };
    let stores = Stores::read(context.warehouse, &brands).await.map_err(as_owner)?;
    let unlisted = Unlisted::read(context.warehouse, &stores).await.map_err(as_owner)?;
    let pairs = gathered.desired.groups.len() * gathered.desired.collections.len();
    let extent = Extent { full: extent.full || pairs <= SMALL, ..extent.clone() };
    let world = World::new(context, &gathered, &index, stores, unlisted, extent);
    let prefix = format!("{} audit ", context.installation.name);
    remove_keys(&gathered.client, &prefix).await?;
    let mut findings = world.rights();
    let mut evidence = Evidence::default();
    let outcome = world.with_keys(&prefix, &mut findings, &mut evidence).await;
    // Whatever happened, no key is left behind.
    remove_keys(&gathered.client, &prefix).await?;
    let probed = outcome?;
    evidence.roles = world.roles(&mut findings).await?;
    evidence.people = people(&world, &evidence, &probed);
    findings.judge_controls();
    evidence.tried = std::mem::take(&mut findings.tried);
    evidence.unlisted = world.unlisted.stores.iter().cloned().collect();
    (evidence.foreign_places, evidence.foreign_tried) = (findings.foreign_places, findings.foreign_tried);
    findings.leaks.sort();
    findings.leaks.dedup();
    findings.failures.sort();
    findings.failures.dedup();
    let audit = Audit {
        people: evidence.people.len(),
        checks: findings.checks,
        leaks: findings.leaks,
        failures: findings.failures,
        exposures: findings.exposures.into_iter().collect(),
        seconds: started.elapsed().as_secs_f64(),
        metabase: gathered.actual.version.clone(),
        seed: world.extent.seed.clone(),
        full: world.extent.full,
        evidence,
    };
    let (people, leaks, failures) = (audit.people, audit.leaks.len(), audit.failures.len());
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

impl World<'_> {
    /// Everything that is tried with keys, and what only an administrator can list.
    async fn with_keys(
        &self,
        prefix: &str,
        findings: &mut Findings,
        evidence: &mut Evidence,
    ) -> Result<BTreeSet<BTreeSet<String>>, Error> {
        self.controls(findings).await.map_err(Error::Metabase)?;
        self.links(findings).await.map_err(Error::Metabase)?;
        self.mails(findings).await.map_err(Error::Metabase)?;
        self.personal(findings).await.map_err(Error::Metabase)?;
        let found: Vec<(Findings, Option<GroupProof>)> = futures::stream::iter(self.desired().groups.keys())
            .map(|group| self.group(prefix, group))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for (one, proof) in found {
            findings.add(one);
            evidence.groups.extend(proof);
        }
        evidence.groups.sort_by(|left, right| left.group.cmp(&right.group));
        self.combined(prefix, findings).await
    }

    async fn group(&self, prefix: &str, key: &str) -> Result<(Findings, Option<GroupProof>), Error> {
        let mut findings = Findings::default();
        let Some((key, group)) = self.desired().groups.get_key_value(key) else { return Ok((findings, None)) };
        let Some(id) = self.index.get(Kind::Group, key) else {
            findings.failures.push(format!("the group `{key}` is not there yet: apply first"));
            return Ok((findings, None));
        };
        let client = &self.gathered.client;
        let (key_id, secret) = make_key(client, prefix, id).await?;
        let acting = Acting::new(self, vec![key], client.with(Proof::Key(SecretString::from(secret))));
        let outcome = acting.everything(&mut findings).await;
        client.delete(&format!("api/api-key/{key_id}")).await.map_err(Error::Metabase)?;
        outcome.map_err(Error::Metabase)?;
        let proof = findings.proof(key, &group.scope.to_string(), acting.allowed.len());
        Ok((findings, Some(proof)))
    }

    /// Compares the rights that are set with those that are wanted: the union of
    /// a person's groups is right when her memberships and their rights are.
    fn rights(&self) -> Findings {
        let mut findings = Findings::default();
        let actual = &self.gathered.actual;
        findings.checks("rights", actual.levels.len() + actual.asks.len() + actual.memberships.len());
        // A guard may refuse the plan as a whole; what it would revoke is open all the same.
        let steps = self.context.plan_without_guards(self.gathered).steps;
        for step in &steps {
            let locks = step.name.starts_with("enable-public") || step.name == "enable-xrays";
            let how = match (step.action, step.kind) {
                (Action::Revoke, kind) => format!("{kind} that nobody granted"),
                (Action::Deactivate, _) => "account without a grant".to_owned(),
                (Action::Update, "setting") if locks => "setting".to_owned(),
                _ => continue,
            };
            let changes: Vec<String> =
                step.changes.iter().map(|change| format!("{} {}", change.field, change.from)).collect();
            let who = match step.kind {
                "membership" | "person" | "administrator" => {
                    let user = actual.users.iter().find(|(_, user)| user.email == step.name);
                    user.map_or_else(|| "an account".to_owned(), |(id, _)| self.who(*id))
                }
                _ => step.name.clone(),
            };
            findings.leak(&who, format!("{} {}", step.scope, changes.join(", ")).trim(), &how);
        }
        let ours: BTreeSet<i64> =
            self.desired().groups.keys().filter_map(|key| self.index.get(Kind::Group, key)).collect();
        for membership in actual.memberships.iter().filter(|membership| self.person(membership.user).is_some()) {
            let group = membership.group;
            if group != actual.all_users && group != actual.administrators && !ours.contains(&group) {
                let name = actual.groups.get(&group).cloned().unwrap_or_default();
                findings.leak(
                    &self.who(membership.user),
                    format!("group `{name}`"),
                    "membership of a group that is not ours",
                );
            }
        }
        findings
    }
}
