//! Takes loads back, and says before what that means.
//!
//! An undo is a run of the load's own pipeline, with the trigger `undo`. The loads
//! that have to go together are taken back in one transaction, the latest first,
//! while this process alone holds the turns of all their pipelines.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::crash;
use super::definition::{Changes, Pipeline, SourceKind};
use super::error::Error;
use super::report::{RunReport, Status, Trigger};
use super::runner::Engine;
use super::tables;
use super::turn_tables::Turn;
use crate::ids::{BrandId, LoadId, PipelineName, RunId};
use crate::warehouse::{self, Because, LoadEntry, LoadError, TakenBack, UndoStep};
use crate::words::{counted, grouped};

/// Files that are named where many are meant.
const FILES_NAMED: usize = 3;

/// Which load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UndoWhat {
    /// The load of a run.
    Run(RunId),
    /// A load.
    Load(LoadId),
}

/// What is asked of an undo.
#[derive(Debug, Clone)]
pub struct UndoOrder {
    /// Which load.
    pub what: UndoWhat,
    /// Whether what was built on it goes too.
    pub cascade: bool,
    /// Why, for the ledger.
    pub why: Option<String>,
}

/// A load that was taken back, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UndoneLoad {
    /// Which, and why.
    #[serde(flatten)]
    pub step: UndoStep,
    /// What that changed; none in a plan.
    pub rows: Option<TakenBack>,
}

/// What an undo comes to.
#[derive(Debug, Clone, Serialize)]
pub struct Undone {
    /// The run; none for a plan, and where the load was taken back before.
    pub run: Option<RunReport>,
    /// The loads, in the order in which they go.
    pub loads: Vec<UndoneLoad>,
}

impl Undone {
    /// Whether loads would go that were only built on the one that is meant.
    pub fn cascades(&self) -> bool {
        self.loads.iter().any(|load| load.step.because == Because::BuiltOnIt)
    }
}

impl Engine {
    /// Says which loads an undo would take back, and changes nothing.
    ///
    /// # Errors
    /// When there is no such load, or it cannot be undone.
    pub async fn plan_undo(&self, what: UndoWhat) -> Result<Undone, Error> {
        let steps = self.steps(what).await?;
        Ok(Undone { run: None, loads: steps.into_iter().map(|step| UndoneLoad { step, rows: None }).collect() })
    }

    /// Takes a load back. One that was taken back before stays so: then there is no run.
    ///
    /// # Errors
    /// When there is no such load, when it cannot be undone, or when later loads were
    /// built on it and `cascade` is not set.
    pub async fn undo(&self, order: &UndoOrder) -> Result<Undone, Error> {
        let (turns, steps) = self.take_turns(order.what).await?;
        let outcome = match steps.first() {
            None => Ok(Undone { run: None, loads: Vec::new() }),
            Some(_) => self.undo_steps(&turns, order, steps).await,
        };
        for turn in turns {
            turn.give_back().await;
        }
        outcome
    }

    /// Says which files count as loaded though their load was taken back, and what loads them
    /// all the same; `file` is the one that is meant, where one was handed over.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn still_known(
        &self,
        pipeline: &Pipeline,
        brand: &BrandId,
        file: Option<&Path>,
    ) -> Result<Option<String>, Error> {
        let source = &pipeline.definition.source;
        if source.kind == SourceKind::Dataverse && source.changes == Changes::Track {
            // The next run reads the table as a whole.
            return Ok(None);
        }
        let mut names = tables::undone_files(&self.warehouse, &pipeline.name, brand).await?;
        if let Some(file) = file {
            names.retain(|name| file.file_name().is_some_and(|own| own == name.as_str()));
        }
        if names.is_empty() {
            return Ok(None);
        }
        let named: Vec<String> = names.iter().take(FILES_NAMED).map(|name| format!("`{name}`")).collect();
        let more = match names.len().saturating_sub(FILES_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let by_hand = file.is_some() || source.kind == SourceKind::Upload;
        let path = if by_hand { " --file PATH" } else { "" };
        let (verb, it) = if names.len() == 1 { ("counts", "it") } else { ("count", "them") };
        Ok(Some(format!(
            "{}{more} {verb} as loaded, though the load was taken back: \
             `storekeeper run {} --brand {brand} --full{path}` loads {it} all the same",
            named.join(", "),
            pipeline.name
        )))
    }

    /// Takes the turns of all pipelines whose loads go, in their order, so that two
    /// undos never wait for each other; what goes is looked up again once they are held.
    async fn take_turns(&self, what: UndoWhat) -> Result<(Vec<Turn>, Vec<UndoStep>), Error> {
        let mut steps = self.steps(what).await?;
        loop {
            let wanted = owners(&steps);
            let mut turns = Vec::new();
            for pipeline in &wanted {
                let brand = &steps.first().expect("there is an owner only where there is a step").load.brand;
                turns.push(Turn::take(&self.warehouse, pipeline, brand).await?);
            }
            steps = self.steps(what).await?;
            if owners(&steps).is_subset(&wanted) {
                return Ok((turns, steps));
            }
            for turn in turns {
                turn.give_back().await;
            }
        }
    }

    async fn steps(&self, what: UndoWhat) -> Result<Vec<UndoStep>, Error> {
        let query = |source| Error::Ledger { action: "look the load up", source };
        let failed = |source: LoadError| Error::Undo { source };
        let mut connection = self.warehouse.pool().acquire().await.map_err(query)?;
        let (load, run) = match what {
            UndoWhat::Run(run) => (None, Some(run)),
            UndoWhat::Load(load) => (Some(load), None),
        };
        let found = warehouse::find_load(&mut connection, load, run).await.map_err(failed)?;
        let Some(load) = found else { return Err(Error::NoLoad { what: what.to_string() }) };
        if load.undone_by.is_some() {
            return Ok(Vec::new());
        }
        refuse(&load)?;
        let steps = warehouse::plan_undo(&mut connection, &load).await.map_err(failed)?;
        for step in &steps {
            refuse(&step.load)?;
        }
        Ok(steps)
    }

    async fn undo_steps(&self, turns: &[Turn], order: &UndoOrder, steps: Vec<UndoStep>) -> Result<Undone, Error> {
        let built_on: Vec<UndoStep> = steps.iter().filter(|step| step.because == Because::BuiltOnIt).cloned().collect();
        if !built_on.is_empty() && !order.cascade {
            return Err(Error::BuiltOn { what: order.what.to_string(), loads: built_on });
        }
        let asked = steps.iter().find(|step| step.because == Because::Asked).expect("a plan holds what was asked for");
        let (mut report, started) = self.open(&asked.load.pipeline, &asked.load.brand, Trigger::Undo).await?;
        let mut loads: Vec<UndoneLoad> = steps.into_iter().map(|step| UndoneLoad { step, rows: None }).collect();
        let outcome = self.take_back(turns, order, &mut loads, &mut report, started).await;
        let report = self.settle(report, started, outcome);
        if !report.status.has_loaded() {
            tables::close_run_alone(&self.warehouse, &report, self.clock.now()).await?;
        }
        Ok(Undone { run: Some(report), loads })
    }

    async fn take_back(
        &self,
        turns: &[Turn],
        order: &UndoOrder,
        loads: &mut [UndoneLoad],
        report: &mut RunReport,
        started: Instant,
    ) -> Result<(), Error> {
        let query = |source| Error::Ledger { action: "take the loads back", source };
        let failed = |source: LoadError| Error::Undo { source };
        crash::point("undo_opened");
        let mut transaction = self.warehouse.pool().begin().await.map_err(query)?;
        for turn in turns {
            turn.guard(&mut transaction).await?;
        }
        let now = self.clock.now();
        for load in loads.iter_mut() {
            let (by, rows) =
                warehouse::take_back(&mut transaction, &load.step, report.run_id, now).await.map_err(failed)?;
            load.rows = Some(rows);
            report.rows_inserted += rows.restored;
            report.rows_loaded += rows.restored;
            let entry = &load.step.load;
            if load.step.because == Because::Asked {
                report.load_id = Some(by);
            }
            report.notes.push(format!(
                "load {} of `{}` was taken back: {} left, {} returned",
                entry.load_id,
                entry.pipeline,
                counted(rows.removed, "row", "rows"),
                grouped(rows.restored)
            ));
            crash::point("undo_taken_back");
        }
        report.notes.extend(order.why.as_ref().map(|why| format!("why: {why}")));
        report.status = Status::Succeeded;
        report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tables::close_run(&mut transaction, report, now).await?;
        crash::point("undo_before_commit");
        warehouse::commit(&self.warehouse, transaction).await.map_err(failed)?;
        crash::point("undo_committed");
        Ok(())
    }
}

/// Whose loads go.
fn owners(steps: &[UndoStep]) -> BTreeSet<PipelineName> {
    steps.iter().map(|step| step.load.pipeline.clone()).collect()
}

fn refuse(load: &LoadEntry) -> Result<(), Error> {
    if load.undoes.is_some() {
        return Err(Error::UndoOfUndo { load_id: load.load_id });
    }
    if !load.kept_history {
        return Err(Error::NoHistory { load_id: load.load_id });
    }
    Ok(())
}

impl std::fmt::Display for UndoWhat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Run(run) => write!(f, "run {run}"),
            Self::Load(load) => write!(f, "load {load}"),
        }
    }
}
