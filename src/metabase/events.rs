//! Loads and restatements as events on the charts: all of a brand in its collection, and in
//! those of regions and stores what was told anew of them.
//!
//! Which loads were told stands with our time line, so that nothing is asked of Metabase
//! where nothing is new. An event ends with its mark, such as `load 17`: whatever was lost on
//! the way, the next time finds what is there and makes the rest. Events and time lines that
//! somebody put away stay away.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, NaiveTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use serde_json::{Value, json};

use super::apply::{Applying, failed, gone};
use super::client::{Client, id_of, list};
use super::context::{Context, Error};
use super::event_tables::{Line, LoadFacts};
use super::plan::Refusal;
use super::step::{Step, Work};
use super::tables::{Kind, Known, Ledger};
use crate::access::{self, Credentials, Scope, ScopeKind};
use crate::ids::{BrandId, PipelineName, StoreId};
use crate::warehouse::restatements::{self, Anew};
use crate::words::counted;

/// The time line of a collection.
pub(super) const NAME: &str = "Loads";

/// What people call the pipelines that load from sources.
pub type Titles = BTreeMap<PipelineName, String>;

/// What was put onto the time lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Events {
    /// Brands whose charts have them.
    pub brands: usize,
    /// Events that are new.
    pub made: usize,
}

impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = counted(self.made, "new event", "new events");
        write!(f, "{made} on the charts of {}", counted(self.brands, "brand", "brands"))
    }
}

/// Says whether there are loads that no chart tells of yet. Metabase is not asked.
///
/// # Errors
/// When our own lists cannot be read.
pub async fn events_are_due(context: &Context<'_>) -> Result<bool, Error> {
    if !context.ledger().owned().await.map_err(Error::ledger("read whether the instance is ours"))? {
        return Ok(false);
    }
    Ok(untold(context).await?.iter().any(|brand| !brand.loads.is_empty()))
}

/// Makes events of the loads that changed something, the latest two hundred of a brand: one
/// of each, and one of the days whose figures it told anew. The latter stand on the charts
/// of the regions and stores whose figures they are, too.
///
/// # Errors
/// When the instance is not ours, somebody else is writing, or a call fails.
pub async fn events(context: &Context<'_>, titles: &Titles) -> Result<Events, Error> {
    let ledger = context.ledger();
    if !ledger.owned().await.map_err(Error::ledger("read whether the instance is ours"))? {
        return Err(Error::Refused(Refusal::NotOurs));
    }
    let claim = ledger.claim().await.map_err(Error::ledger("claim the instance"))?.ok_or(Error::Busy)?;
    let outcome = make(context, titles).await;
    claim.release().await;
    outcome
}

async fn make(context: &Context<'_>, titles: &Titles) -> Result<Events, Error> {
    let brands = untold(context).await?;
    let mut made = Events { brands: brands.len(), made: 0 };
    if brands.iter().all(|brand| brand.loads.is_empty()) {
        return Ok(made);
    }
    let credentials = Credentials::open(&context.installation.data_dir).map_err(Error::Credentials)?;
    let client = context.open(&credentials).await?;
    let ledger = context.ledger();
    let tree = access::tree(context.warehouse, context.brands).await.map_err(Error::Access)?;
    for brand in brands.iter().filter(|brand| !brand.loads.is_empty()) {
        let anew = restated(context, brand, titles).await?;
        let below = |scope: &Scope| scope.kind() != ScopeKind::Brand && scope.brand() == Some(&brand.id);
        let below: Vec<Scope> = tree.scopes().into_iter().filter(below).collect();
        let lines = ledger.lines(&below).await.map_err(Error::ledger("read the time lines"))?;
        let mut calls = Vec::new();
        for line in &lines {
            let stores = tree.stores_of(&line.scope).into_iter().map(|(_, store)| store).collect();
            let events = of_stores(brand, titles, &anew, &stores);
            if !events.is_empty() {
                calls.push(put(&client, &ledger, line, events));
            }
        }
        let below: Vec<(i64, usize)> = futures::stream::iter(calls).buffered(super::AT_ONCE).try_collect().await?;
        let (timeline, events) = put(&client, &ledger, &brand.line, of_brand(brand, titles, &anew)).await?;
        made.made += events + below.iter().map(|(_, made)| made).sum::<usize>();
        let told = brand.line.told().into_iter().chain(brand.loads.iter().flat_map(|load| load.load_ids.clone()));
        note(&ledger, &brand.line, timeline, &told.collect()).await?;
    }
    Ok(made)
}

/// A brand, its time line, and the loads that are not told yet.
struct Untold {
    id: BrandId,
    line: Line,
    loads: Vec<LoadFacts>,
}

/// Looks for them: asked each minute, while mostly nothing is new.
async fn untold(context: &Context<'_>) -> Result<Vec<Untold>, Error> {
    let ledger = context.ledger();
    let mut untold = Vec::new();
    for id in context.brands.keys() {
        let lines = ledger.lines(&[Scope::Brand(id.clone())]).await.map_err(Error::ledger("read the time lines"))?;
        for line in lines {
            let mut loads = ledger.loads(id).await.map_err(Error::ledger("read the loads"))?;
            let told = line.told();
            loads.retain(|load| !told.contains(&load.load_id));
            untold.push(Untold { id: id.clone(), line, loads });
        }
    }
    Ok(untold)
}

/// What each load told anew, in all of its tables: one look for each table, and one or
/// several sums for each store.
async fn restated(
    context: &Context<'_>,
    Untold { id, loads, .. }: &Untold,
    titles: &Titles,
) -> Result<BTreeMap<i64, Vec<Anew>>, Error> {
    let mut restated: BTreeMap<i64, Vec<Anew>> = BTreeMap::new();
    // What was forecast is no figure that anybody told.
    let loads: Vec<&LoadFacts> = loads.iter().filter(|load| titles.contains_key(&load.pipeline)).collect();
    let tables: BTreeSet<&String> = loads.iter().flat_map(|load| &load.tables).collect();
    for table in tables {
        let of: Vec<&&LoadFacts> = loads.iter().filter(|load| load.tables.contains(table)).collect();
        let named: BTreeMap<i64, i64> =
            of.iter().flat_map(|load| load.load_ids.iter().map(|id| (*id, load.load_id))).collect();
        let ids: Vec<i64> = named.keys().copied().collect();
        let since = of.iter().map(|load| load.committed_at).min().unwrap_or(context.now);
        let found = restatements::of_loads(context.warehouse, id, table, since, &ids).await;
        for (load, anew) in found.map_err(Error::ledger("read the restatements"))? {
            restated.entry(named[&load]).or_default().push(anew);
        }
    }
    Ok(restated)
}

/// What a brand's charts say: each load, and everything that was told anew.
fn of_brand(brand: &Untold, titles: &Titles, anew: &BTreeMap<i64, Vec<Anew>>) -> Vec<Occurrence> {
    let events = |load: &LoadFacts| {
        let title = title_of(load, titles);
        let anew = sum(anew.get(&load.load_id).into_iter().flatten());
        [Some(loaded(load, &title)), anew.map(|anew| told_anew(load, &title, &anew))]
    };
    brand.loads.iter().flat_map(events).flatten().collect()
}

/// What the charts of some of its stores say: what was told anew of these.
fn of_stores(
    brand: &Untold,
    titles: &Titles,
    anew: &BTreeMap<i64, Vec<Anew>>,
    stores: &BTreeSet<StoreId>,
) -> Vec<Occurrence> {
    let event = |load: &LoadFacts| {
        let theirs = anew.get(&load.load_id)?.iter().filter(|anew| !anew.stores.is_disjoint(stores));
        Some(told_anew(load, &title_of(load, titles), &sum(theirs)?))
    };
    brand.loads.iter().filter_map(event).collect()
}

fn sum<'a>(mut parts: impl Iterator<Item = &'a Anew>) -> Option<Anew> {
    let first = parts.next()?.clone();
    Some(parts.fold(first, Anew::and))
}

/// Puts events onto a time line that are not there yet; gives its id, and how many were made.
async fn put(
    client: &Client,
    ledger: &Ledger<'_>,
    line: &Line,
    events: Vec<Occurrence>,
) -> Result<(i64, usize), Error> {
    let found = open(client, ledger, line).await?;
    let mut made = 0;
    for event in events.iter().filter(|event| !found.put_away && !found.there.contains(&event.mark)) {
        client.post("api/timeline-event", &event.body(found.timeline)).await.map_err(Error::Metabase)?;
        made += 1;
    }
    Ok((found.timeline, made))
}

async fn note(ledger: &Ledger<'_>, line: &Line, timeline: i64, told: &BTreeSet<i64>) -> Result<(), Error> {
    // More than are asked for need not be kept.
    let told: BTreeSet<i64> = told.iter().rev().take(400).copied().collect();
    let known = Known { id: Some(timeline), hash: Line::kept(&told), ..Known::default() };
    ledger.note(Kind::Timeline, &line.key(), &known).await.map_err(Error::ledger("note what the time line tells"))
}

/// A time line as it was found, or made.
struct Found {
    timeline: i64,
    /// The marks of its events.
    there: BTreeSet<String>,
    /// Somebody put it into the trash.
    put_away: bool,
}

impl Found {
    fn of(line: &Value, call: &'static str) -> Result<Self, Error> {
        let events = line["events"].as_array().into_iter().flatten();
        Ok(Self {
            timeline: id_of(line, call).map_err(Error::Metabase)?,
            there: events.filter_map(mark).map(str::to_owned).collect(),
            put_away: line["archived"] == true,
        })
    }
}

/// Finds our time line, brings it to its scope's collection, or makes it.
async fn open(client: &Client, ledger: &Ledger<'_>, line: &Line) -> Result<Found, Error> {
    if let Some(id) = line.timeline.as_ref().and_then(|timeline| timeline.id)
        && let Some(found) = read(client, id).await?
    {
        if found["collection_id"] != line.collection {
            let body = json!({"collection_id": line.collection});
            client.put(&format!("api/timeline/{id}"), &body).await.map_err(Error::Metabase)?;
        }
        return Found::of(&found, "GET api/timeline/:id");
    }
    // Known by its name and description: people read time lines, and don't make them.
    ledger.intend(Kind::Timeline, &[&line.key()], 0).await.map_err(Error::ledger("note a time line"))?;
    let description = match &line.scope {
        Scope::Brand(brand) => format!("What was loaded for {brand}, and what was told anew."),
        _ => "Figures that were told anew.".to_owned(),
    };
    // Made by a process that ended before it could note so.
    let path = format!("api/timeline/collection/{}?include=events", line.collection);
    let others = list(client.get(&path).await.map_err(Error::Metabase)?);
    let ours = |other: &&Value| other["name"] == NAME && other["description"] == description.as_str();
    if let Some(found) = others.iter().find(ours) {
        return Found::of(found, "GET api/timeline/collection/:id");
    }
    let body = json!({"name": NAME, "description": description, "icon": "cloud", "collection_id": line.collection});
    let made = client.post("api/timeline", &body).await.map_err(Error::Metabase)?;
    let found = Found::of(&made, "POST api/timeline")?;
    note(ledger, line, found.timeline, &line.told()).await?;
    Ok(found)
}

/// Reads a time line with its events; `None` where it is gone.
pub(super) async fn read(client: &Client, id: i64) -> Result<Option<Value>, Error> {
    match client.get(&format!("api/timeline/{id}?include=events")).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_gone() => Ok(None),
        Err(error) => Err(Error::Metabase(error)),
    }
}

impl Applying<'_> {
    /// Removes a time line, or our events from one that others use.
    pub(super) async fn timeline(&self, step: &Step) -> Result<(), Error> {
        let (key, paths) = match &step.work {
            Work::DeleteTimeline { key, id } => (key, vec![format!("api/timeline/{id}")]),
            Work::DeleteEvents { key, events } => {
                (key, events.iter().map(|id| format!("api/timeline-event/{id}")).collect())
            }
            _ => return Ok(()),
        };
        for path in paths {
            gone(self.client.delete(&path).await).map_err(failed(step))?;
        }
        self.ledger.forget(Kind::Timeline, key).await.map_err(Error::ledger("forget a time line"))
    }
}

/// The last line of an event's text, where it is one of ours.
pub(super) fn mark(event: &Value) -> Option<&str> {
    let last = event["description"].as_str()?.lines().next_back()?;
    let load = last.strip_prefix("restated by ").unwrap_or(last).strip_prefix("load ")?;
    load.parse::<i64>().ok().map(|_| last)
}

/// An event as people read it.
#[derive(Debug, Clone, PartialEq)]
struct Occurrence {
    name: String,
    text: String,
    mark: String,
    at: DateTime<Utc>,
    /// Whether it stands at a time of the day, or for the day.
    time_matters: bool,
    icon: &'static str,
}

impl Occurrence {
    fn body(&self, timeline: i64) -> Value {
        json!({
            "timeline_id": timeline,
            "name": self.name,
            "description": format!("{}\n{}", self.text, self.mark),
            "timestamp": self.at.to_rfc3339(),
            "timezone": "UTC",
            "time_matters": self.time_matters,
            "icon": self.icon,
        })
    }
}

fn title_of(load: &LoadFacts, titles: &Titles) -> String {
    titles.get(&load.pipeline).cloned().unwrap_or_else(|| in_words(&load.pipeline))
}

/// What people are told of a load: that it came.
fn loaded(load: &LoadFacts, title: &str) -> Occurrence {
    let mut parts = Vec::new();
    for (rows, word) in [(load.rows_new, "new"), (load.rows_changed, "changed"), (load.rows_removed, "removed")] {
        if rows > 0 {
            parts.push(format!("{} {word}", counted(rows, "row", "rows")));
        }
    }
    let (name, icon) = match load.takes_back {
        Some(loaded) => (format!("{title}: the load of {} was taken back", loaded.date_naive()), "warning"),
        None => (format!("{title}: {}", parts.join(", ")), "cloud"),
    };
    let text = match load.takes_back {
        Some(_) => "The figures are what they were before it.".to_owned(),
        None => format!("Loaded at {}.", load.committed_at.format("%H:%M UTC")),
    };
    Occurrence { name, text, mark: load.mark(), at: load.committed_at, time_matters: true, icon }
}

/// And which days it told anew.
fn told_anew(load: &LoadFacts, title: &str, anew: &Anew) -> Occurrence {
    let how = if load.takes_back.is_some() { "went back" } else { "changed" };
    let (first, last) = (anew.days.first().copied().unwrap_or(anew.made_on), anew.days.last());
    let when = match last.filter(|last| **last != first) {
        Some(last) => format!("{} days from {first} to {last}", anew.days.len()),
        None => first.to_string(),
    };
    let mut what = vec![counted(anew.rows, "row", "rows")];
    if !anew.stores.is_empty() {
        what.push(counted(anew.stores.len(), "store", "stores"));
    }
    Occurrence {
        name: format!("{title}: figures {how} on {}", anew.made_on),
        text: format!("These {how}: {}, {when}.", what.join(", ")),
        mark: format!("restated by {}", load.mark()),
        at: first.and_time(NaiveTime::MIN).and_utc(),
        time_matters: false,
        icon: "warning",
    }
}

fn in_words(pipeline: &PipelineName) -> String {
    let words = pipeline.0.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> LoadFacts {
        LoadFacts {
            load_id: 17,
            load_ids: [16, 17].into(),
            pipeline: "forecast_net_sales".into(),
            tables: BTreeSet::new(),
            committed_at: "2025-11-29T11:00:00Z".parse().unwrap(),
            rows_new: 1,
            rows_changed: 30,
            rows_removed: 0,
            takes_back: None,
        }
    }

    fn anew(days: usize) -> Anew {
        let first: chrono::NaiveDate = "2025-11-10".parse().unwrap();
        Anew {
            rows: 12,
            days: first.iter_days().take(days).collect(),
            stores: ["000101".into()].into(),
            made_on: "2025-11-29".parse().unwrap(),
        }
    }

    fn told(load: &LoadFacts, title: Option<&str>, anew: Option<Anew>) -> String {
        let titles = title.map(|title| (load.pipeline.clone(), title.to_owned())).into_iter().collect();
        let anew = anew.map(|anew| (load.load_id, vec![anew])).into_iter().collect();
        let line = Line { scope: Scope::Brand("harbor".into()), collection: 1, timeline: None };
        let brand = Untold { id: "harbor".into(), line, loads: vec![load.clone()] };
        let all = of_brand(&brand, &titles, &anew);
        let line = |one: &Occurrence| {
            format!("{} {} | {} | {} | {}", one.icon, one.at.format("%m-%d %H:%M"), one.name, one.text, one.mark)
        };
        all.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_load_is_told_in_words_of_its_readers() {
        insta::assert_snapshot!(told(&load(), None, None), @"cloud 11-29 11:00 | Forecast net sales: 1 row new, 30 rows changed | Loaded at 11:00 UTC. | load 17");
        insta::assert_snapshot!(told(&load(), Some("Sales by channel"), Some(anew(3))), @r"
        cloud 11-29 11:00 | Sales by channel: 1 row new, 30 rows changed | Loaded at 11:00 UTC. | load 17
        warning 11-10 00:00 | Sales by channel: figures changed on 2025-11-29 | These changed: 12 rows, 1 store, 3 days from 2025-11-10 to 2025-11-12. | restated by load 17
        ");
        let undo = LoadFacts { takes_back: "2025-11-27T06:00:00Z".parse().ok(), ..load() };
        insta::assert_snapshot!(told(&undo, Some("Sales by channel"), Some(anew(1))), @r"
        warning 11-29 11:00 | Sales by channel: the load of 2025-11-27 was taken back | The figures are what they were before it. | load 17
        warning 11-10 00:00 | Sales by channel: figures went back on 2025-11-29 | These went back: 12 rows, 1 store, 2025-11-10. | restated by load 17
        ");
    }

    #[test]
    fn only_events_of_ours_have_a_mark() {
        let of = |text: &str| mark(&json!({"description": text})).map(str::to_owned);
        assert_eq!(of("load 17").as_deref(), Some("load 17"), "as earlier versions wrote it");
        assert_eq!(of("words\nrestated by load 17").as_deref(), Some("restated by load 17"));
        assert_eq!((of("a load 17"), of("load of bricks"), mark(&json!({}))), (None, None, None));
    }
}
