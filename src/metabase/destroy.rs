//! Takes everything of ours out of an instance, and nothing else.

use std::time::Instant;

use tracing::info;

use super::actual;
use super::apply::{Applied, take_all};
use super::context::{Context, Error, Gathered, Wanted};
use super::desired::{Account, Desired};
use super::events;
use super::plan::{self, Plan};
use super::session;
use super::step::{Action, Step, Work};
use super::tables::{ADOPTED, Kind, Objects};
use crate::words::counted;

/// Lists what would go: accounts we made are shut, groups, connections and time lines
/// are removed, collections, questions and dashboards go to the trash. Accounts that
/// were there before us stay open, without our groups.
///
/// # Errors
/// When the instance cannot be read.
pub async fn destruction(context: &Context<'_>) -> Result<Plan, Error> {
    let gathered = gather(context).await?;
    let lines = timelines(&gathered).await?;
    Ok(plan_of(&gathered, &lines))
}

/// Carries a destruction out, then forgets the instance and removes our keys to it.
///
/// # Errors
/// When somebody else is writing, when the instance changed since the list was
/// made, and at the first step that fails; the rest is taken the next time.
pub async fn destroy(context: &Context<'_>, agreed: &Plan) -> Result<Applied, Error> {
    let started = Instant::now();
    let ledger = context.ledger();
    let claim = ledger.claim().await.map_err(Error::ledger("claim the instance"))?.ok_or(Error::Busy)?;
    let outcome = carry_out(context, agreed).await;
    claim.release().await;
    outcome?;
    info!(steps_done = agreed.steps.len(), "took everything of ours out of Metabase");
    Ok(Applied { steps_done: agreed.steps.len(), seconds: started.elapsed().as_secs_f64() })
}

async fn carry_out(context: &Context<'_>, agreed: &Plan) -> Result<(), Error> {
    let gathered = gather(context).await?;
    let lines = timelines(&gathered).await?;
    if plan_of(&gathered, &lines).digest() != agreed.digest() {
        return Err(Error::Stale);
    }
    take_all(context, &gathered, &agreed.steps).await?;
    let ledger = context.ledger();
    ledger.forget_all().await.map_err(Error::ledger("forget the instance"))?;
    ledger.disown().await.map_err(Error::ledger("forget the instance"))?;
    // Last: with the key goes the way in.
    session::remove_keys(&gathered.client, context.settings, &context.installation.name, &gathered.credentials)
        .await
        .map_err(Error::Session)
}

/// What is there, and that nothing is wanted.
async fn gather(context: &Context<'_>) -> Result<Gathered, Error> {
    let Wanted { tree, unscoped, credentials, .. } = context.wanted().await?;
    let client = context.open(&credentials).await?;
    let objects = context.ledger().read().await.map_err(Error::ledger("read what is ours"))?;
    let (actual, _) = actual::read(&client, &objects, None).await.map_err(Error::Metabase)?;
    let mut desired = Desired::default();
    for ((kind, key), known) in &objects {
        let user = known.id.filter(|_| *kind == Kind::Person).and_then(|id| actual.users.get(&id));
        if let Some(user) = user {
            let account = Account {
                email: user.email.clone(),
                first_name: None,
                last_name: None,
                locale: None,
                active: false,
                groups: std::collections::BTreeSet::new(),
            };
            desired.people.insert(key.clone(), account);
        }
    }
    Ok(Gathered { client, tree, desired, actual, objects, unscoped, credentials })
}

/// A time line of ours, as it is in the instance.
struct Timeline {
    key: String,
    id: i64,
    ours: Vec<i64>,
    /// Events that people put onto it.
    others: usize,
}

/// Reads the time lines that are still there.
async fn timelines(gathered: &Gathered) -> Result<Vec<Timeline>, Error> {
    let mut timelines = Vec::new();
    for ((kind, key), known) in &gathered.objects {
        let (Kind::Timeline, Some(id)) = (kind, known.id) else { continue };
        let Some(line) = events::read(&gathered.client, id).await? else { continue };
        let all: Vec<_> = line["events"].as_array().into_iter().flatten().collect();
        let ours: Vec<i64> =
            all.iter().filter(|event| events::mark(event).is_some()).filter_map(|event| event["id"].as_i64()).collect();
        timelines.push(Timeline { key: key.clone(), id, others: all.len() - ours.len(), ours });
    }
    Ok(timelines)
}

fn plan_of(gathered: &Gathered, timelines: &[Timeline]) -> Plan {
    let (mut plan, _) = plan::steps(&gathered.desired, &gathered.actual, &gathered.objects);
    plan.steps.retain(|step| goes(step, &gathered.objects));
    for Timeline { key, id, ours, others } in timelines {
        let (kind, work) = match others {
            0 => ("timeline", Work::DeleteTimeline { key: key.clone(), id: *id }),
            _ => ("events", Work::DeleteEvents { key: key.clone(), events: ours.clone() }),
        };
        if *others > 0 {
            let others = counted(*others, "event that is not ours", "events that are not ours");
            plan.notes.push(format!("the time line of `{key}` stays: it holds {others}"));
        }
        let (name, scope) = (events::NAME.to_owned(), key.clone());
        let (changes, content) = (Vec::new(), String::new());
        plan.steps.push(Step { action: Action::Delete, kind, name, scope, changes, work, content });
    }
    plan.steps.sort_by_key(|step| step.work.phase());
    plan
}

/// Whether a step takes something of ours away. Rights of others are not ours to
/// take, and those of our groups go with them.
fn goes(step: &Step, objects: &Objects) -> bool {
    match step.action {
        Action::Delete => !step.kind.starts_with("sample"),
        Action::Deactivate => {
            let adopted = |id: i64| {
                objects
                    .iter()
                    .any(|((kind, _), known)| *kind == Kind::Person && known.id == Some(id) && known.hash == ADOPTED)
            };
            step.user().is_none_or(|id| !adopted(id))
        }
        _ => false,
    }
}
