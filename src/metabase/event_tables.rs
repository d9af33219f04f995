//! What was loaded, and which of it stands on the time lines already.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::Row as _;

use super::tables::{Kind, Known, Ledger};
use crate::access::Scope;
use crate::ids::{BrandId, PipelineName};

/// The time line of a scope's collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) scope: Scope,
    pub(super) collection: i64,
    /// Missing until it was made, or was about to be.
    pub(super) timeline: Option<Known>,
}

impl Line {
    /// Loads whose events are on it and on those of its regions and stores, of the loads
    /// that are still asked for. A brand's time line keeps that for all.
    pub(super) fn told(&self) -> BTreeSet<i64> {
        let known = self.timeline.iter().flat_map(|timeline| timeline.hash.split(','));
        known.filter_map(|load| load.parse().ok()).collect()
    }

    /// The same, as it is kept.
    pub(super) fn kept(told: &BTreeSet<i64>) -> String {
        told.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }

    /// Our key of it.
    pub(super) fn key(&self) -> String {
        self.scope.to_string()
    }
}

/// What one run loaded by one pipeline: a forecast makes several loads of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LoadFacts {
    /// Its last load, which names it.
    pub(super) load_id: i64,
    /// All of them.
    pub(super) load_ids: BTreeSet<i64>,
    pub(super) pipeline: PipelineName,
    /// Tables that held something before.
    pub(super) tables: BTreeSet<String>,
    pub(super) committed_at: DateTime<Utc>,
    pub(super) rows_new: i64,
    pub(super) rows_changed: i64,
    pub(super) rows_removed: i64,
    /// When what it takes back was loaded.
    pub(super) takes_back: Option<DateTime<Utc>>,
}

impl LoadFacts {
    /// How an event says which load it is of.
    pub(super) fn mark(&self) -> String {
        format!("load {}", self.load_id)
    }
}

impl Ledger<'_> {
    /// The collections of these scopes with their time lines.
    pub(super) async fn lines(&self, scopes: &[Scope]) -> Result<Vec<Line>, sqlx::Error> {
        let of: BTreeMap<String, &Scope> = scopes.iter().map(|scope| (scope.to_string(), scope)).collect();
        let keys: Vec<&String> = of.keys().collect();
        let rows = sqlx::query(
            "SELECT c.key, c.metabase_id AS collection, t.key IS NOT NULL AS intended,
                    t.metabase_id, t.entity_id, t.content_hash, t.mark
             FROM ops.metabase_objects c
             LEFT JOIN ops.metabase_objects t ON t.instance = c.instance AND t.kind = $3 AND t.key = c.key
             WHERE c.instance = $1 AND c.kind = $2 AND c.key = ANY($4) AND c.metabase_id IS NOT NULL
             ORDER BY c.key",
        )
        .bind(self.instance)
        .bind(Kind::Collection.text())
        .bind(Kind::Timeline.text())
        .bind(keys)
        .fetch_all(self.warehouse.pool())
        .await?;
        let mut lines = Vec::new();
        for row in rows {
            let Some(scope) = of.get(row.try_get::<&str, _>("key")?).copied().cloned() else { continue };
            let timeline = match row.try_get("intended")? {
                true => Some(Known {
                    id: row.try_get("metabase_id")?,
                    entity_id: row.try_get("entity_id")?,
                    hash: row.try_get("content_hash")?,
                    mark: row.try_get("mark")?,
                }),
                false => None,
            };
            lines.push(Line { scope, collection: row.try_get("collection")?, timeline });
        }
        Ok(lines)
    }

    /// What changed something in a brand's tables lately, oldest first. A run that is still
    /// loading is not among them.
    pub(super) async fn loads(&self, brand: &BrandId) -> Result<Vec<LoadFacts>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT l.load_id, l.run_id, l.pipeline, l.table_name, l.committed_at,
                    l.rows_inserted, l.rows_updated, l.rows_deleted, u.committed_at AS takes_back,
                    EXISTS (SELECT FROM ops.loads e WHERE e.brand = l.brand AND e.table_name = l.table_name
                            AND e.load_id < l.load_id) AS held_something
             FROM ops.loads l
             JOIN ops.runs r USING (run_id)
             LEFT JOIN ops.loads u ON u.load_id = l.undoes
             WHERE l.brand = $1 AND l.rows_inserted + l.rows_updated + l.rows_deleted > 0 AND r.status <> 'running'
             ORDER BY l.load_id DESC LIMIT 200",
        )
        .bind(&brand.0)
        .fetch_all(self.warehouse.pool())
        .await?;
        let mut loads: Vec<(i64, LoadFacts)> = Vec::new();
        for row in rows.iter().rev() {
            let (run, load_id): (i64, i64) = (row.try_get("run_id")?, row.try_get("load_id")?);
            let pipeline = PipelineName(row.try_get("pipeline")?);
            let at = match loads.iter().position(|(of, load)| *of == run && load.pipeline == pipeline) {
                Some(at) => at,
                None => {
                    let load = LoadFacts {
                        load_id,
                        load_ids: BTreeSet::new(),
                        pipeline,
                        tables: BTreeSet::new(),
                        committed_at: row.try_get("committed_at")?,
                        rows_new: 0,
                        rows_changed: 0,
                        rows_removed: 0,
                        takes_back: row.try_get("takes_back")?,
                    };
                    loads.push((run, load));
                    loads.len() - 1
                }
            };
            let (_, load) = &mut loads[at];
            load.load_id = load_id;
            load.load_ids.insert(load_id);
            load.rows_new += row.try_get::<i64, _>("rows_inserted")?;
            load.rows_changed += row.try_get::<i64, _>("rows_updated")?;
            load.rows_removed += row.try_get::<i64, _>("rows_deleted")?;
            if row.try_get("held_something")? {
                load.tables.insert(row.try_get("table_name")?);
            }
        }
        Ok(loads.into_iter().map(|(_, load)| load).collect())
    }
}
