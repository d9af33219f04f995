//! Loads as events on the charts of a brand's collection.
//!
//! A load is known by the words `load 17` in its event: whatever was lost on the
//! way, the next time finds what is there and makes the rest.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::client::{Client, id_of, list};
use super::context::{Context, Error};
use super::plan::Refusal;
use super::tables::{Kind, LoadFacts};
use crate::access::{Credentials, Scope};
use crate::ids::BrandId;

/// The time line of a collection.
const NAME: &str = "Loads";

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
        write!(f, "{} new events on the charts of {} brands", self.made, self.brands)
    }
}

/// Makes an event of each load that changed something, the latest two hundred of a
/// brand; what is there already stays as it is.
///
/// # Errors
/// When the instance is not ours, somebody else is writing, or a call fails.
pub async fn events(context: &Context<'_>) -> Result<Events, Error> {
    let ledger = context.ledger();
    let claim = ledger.claim().await.map_err(Error::ledger("claim the instance"))?.ok_or(Error::Busy)?;
    let outcome = make(context).await;
    claim.release().await;
    outcome
}

async fn make(context: &Context<'_>) -> Result<Events, Error> {
    let ledger = context.ledger();
    if !ledger.owned().await.map_err(Error::ledger("read whether the instance is ours"))? {
        return Err(Error::Refused(Refusal::NotOurs));
    }
    let credentials = Credentials::open(&context.installation.data_dir).map_err(Error::Credentials)?;
    let client = context.open(&credentials).await?;
    let objects = ledger.read().await.map_err(Error::ledger("read what is ours"))?;
    let timelines = list(client.get("api/timeline?include=events").await.map_err(Error::Metabase)?);
    let mut made = Events::default();
    for ((kind, key), known) in &objects {
        let (Kind::Collection, Ok(Scope::Brand(brand)), Some(collection)) = (kind, key.parse(), known.id) else {
            continue;
        };
        made.brands += 1;
        let loads = ledger.loads(&brand).await.map_err(Error::ledger("read the loads"))?;
        let ours = |line: &&Value| line["collection_id"] == collection && line["name"] == NAME;
        let (timeline, there) = match timelines.iter().find(ours) {
            Some(line) => (id_of(line, "GET api/timeline").map_err(Error::Metabase)?, known_loads(line)),
            None if loads.is_empty() => continue,
            None => (open(&client, collection, &brand).await?, BTreeSet::new()),
        };
        for load in loads.iter().filter(|load| !there.contains(&mark(load.load_id))) {
            client.post("api/timeline-event", &event(timeline, load)).await.map_err(Error::Metabase)?;
            made.made += 1;
        }
    }
    Ok(made)
}

async fn open(client: &Client, collection: i64, brand: &BrandId) -> Result<i64, Error> {
    let body = json!({
        "name": NAME,
        "description": format!("What was loaded for {brand}, and what was told anew."),
        "icon": "cloud",
        "collection_id": collection,
    });
    let answer = client.post("api/timeline", &body).await.map_err(Error::Metabase)?;
    id_of(&answer, "POST api/timeline").map_err(Error::Metabase)
}

fn mark(load: i64) -> String {
    format!("load {load}")
}

fn known_loads(timeline: &Value) -> BTreeSet<String> {
    let events = timeline["events"].as_array().into_iter().flatten();
    events.filter_map(|event| event["description"].as_str().map(str::to_owned)).collect()
}

fn event(timeline: i64, load: &LoadFacts) -> Value {
    let mut parts = Vec::new();
    for (rows, word) in [(load.rows_new, "new"), (load.rows_changed, "changed"), (load.rows_removed, "removed")] {
        if rows > 0 {
            parts.push(format!("{rows} {word}"));
        }
    }
    let told_anew = load.rows_changed + load.rows_removed > 0;
    let undone = if load.undoes { "taken back: " } else { "" };
    json!({
        "timeline_id": timeline,
        "name": format!("{undone}{}: {}", load.pipeline, parts.join(", ")),
        "description": mark(load.load_id),
        "timestamp": load.committed_at.to_rfc3339(),
        "timezone": "UTC",
        "time_matters": true,
        "icon": if told_anew || load.undoes { "warning" } else { "cloud" },
    })
}
