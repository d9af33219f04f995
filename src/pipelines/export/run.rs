//! Exports, by plan or in earnest.

use std::time::Instant;

use futures::{FutureExt as _, StreamExt as _};
use serde::Serialize;
use tracing::{Instrument as _, error, info, info_span};

use super::changes::{Changes, Piece, Refused, Sent, masked};
use super::definition::{ExportTo, Missing};
use super::tables::{Book, Place, Reader};
use crate::ids::{BrandId, PipelineName};
use crate::pipelines::crash;
use crate::pipelines::definition::Pipeline;
use crate::pipelines::error::Error;
use crate::pipelines::report::{QuarantineSample, RunReport, Status, Trigger};
use crate::pipelines::runner::Engine;
use crate::pipelines::tables::{self as ledger, is_not_there};
use crate::pipelines::turn_tables::Turn;
use crate::sources::{Dataverse, Outcome, Round, Target, TargetQuery, Writer};
use crate::telemetry::chain;
use crate::words::counted;

/// Refused rows that a report shows.
const SAMPLES: usize = 20;
/// Vanished keys that are looked at together.
const VANISHED: usize = 1000;

/// What is asked of an export.
#[derive(Debug, Clone, Copy)]
pub struct ExportOrder {
    /// Why it starts.
    pub trigger: Trigger,
    /// Whether to send again what is as it was sent last.
    pub full: bool,
}

/// What an export would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportPlan {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The brand.
    pub brand: BrandId,
    /// The table.
    pub entity_set: String,
    /// Rows that were never sent.
    pub created: u64,
    /// Rows that were sent with other values.
    pub changed: u64,
    /// Rows that are as they were sent.
    pub unchanged: u64,
    /// Rows that would be deleted.
    pub deleted: u64,
    /// Rows that cannot be sent, with the first reasons.
    pub refused: u64,
    /// The first of the reasons.
    pub reasons: Vec<String>,
}

/// Everything an export needs, opened.
struct Open {
    dataverse: Dataverse,
    target: Target,
    book: Book,
}

impl Engine {
    /// Exports what changed since the last time. A failure is an answer; what was
    /// written before it stays, and the next export goes on from there.
    ///
    /// # Errors
    /// When the run could not even be noted.
    pub async fn export(&self, pipeline: &Pipeline, brand: &BrandId, order: ExportOrder) -> Result<RunReport, Error> {
        let name = PipelineName(format!("export_{}", pipeline.name));
        let turn = Turn::take(&self.warehouse, &name, brand).await?;
        let (mut report, started) = self.open(&name, brand, order.trigger).await?;
        let span = info_span!("export", run.id = %report.run_id, pipeline = %pipeline.name, %brand);
        let outcome = self.send_changes(pipeline, brand, order, &mut report).boxed().instrument(span.clone()).await;
        span.in_scope(|| settle(&mut report, started, outcome));
        ledger::close_run_alone(&self.warehouse, &report, self.clock.now()).await?;
        turn.give_back().await;
        Ok(report)
    }

    /// Says what an export would do, and sends nothing.
    ///
    /// # Errors
    /// When the query or the table does not allow an export at all.
    pub async fn plan_export(&self, pipeline: &Pipeline, brand: &BrandId) -> Result<ExportPlan, Error> {
        let (export, sql) = exported(pipeline)?;
        let mut plan = ExportPlan {
            pipeline: pipeline.name.clone(),
            brand: brand.clone(),
            entity_set: export.entity_set.clone(),
            created: 0,
            changed: 0,
            unchanged: 0,
            deleted: 0,
            refused: 0,
            reasons: Vec::new(),
        };
        let mut reader = Reader::open(&self.warehouse, &pipeline.name, brand).await?;
        let mut lines = reader.rows(sql);
        let Some(first) = lines.next().await.transpose().or_else(not_there_yet)? else { return Ok(plan) };
        let mut open = self.open_target(pipeline, export, brand, &first).await?;
        let lines = futures::stream::iter([Ok(first)]).chain(lines).fuse().boxed();
        let mut changes = Changes { lines, target: &open.target, full: false, number: 0 };
        while let Some(piece) = changes.next(&mut open.book, VANISHED).await? {
            let created = piece.marks.iter().filter(|(_, new)| *new).count() as u64;
            plan.created += created;
            plan.changed += piece.rows.len() as u64 - created;
            plan.unchanged += piece.unchanged;
            plan.refused += piece.refused.len() as u64;
            let said =
                piece.refused.iter().map(|refused| format!("row {}: {}", refused.number, refused.reason.message));
            plan.reasons.extend(said.take(SAMPLES.saturating_sub(plan.reasons.len())));
        }
        if export.missing == Missing::Delete {
            let mut behind = String::new();
            loop {
                let keys = open.book.vanished(&behind, VANISHED).await?;
                let Some(last) = keys.last() else { break };
                behind.clone_from(last);
                plan.deleted += keys.len() as u64;
            }
        }
        open.book.close().await?;
        Ok(plan)
    }

    async fn send_changes(
        &self,
        pipeline: &Pipeline,
        brand: &BrandId,
        order: ExportOrder,
        report: &mut RunReport,
    ) -> Result<(), Error> {
        let (export, sql) = exported(pipeline)?;
        let mut reader = Reader::open(&self.warehouse, &pipeline.name, brand).await?;
        let mut lines = reader.rows(sql);
        let Some(first) = lines.next().await.transpose().or_else(not_there_yet)? else {
            // A query that selects nothing is more often a mistake than a wish to delete everything.
            report.notes.push("the query selected no row; nothing was sent or deleted".to_owned());
            return Ok(());
        };
        let Open { dataverse, target, mut book } = self.open_target(pipeline, export, brand, &first).await?;
        let writer = Writer::new(&dataverse, &target);
        let lines = futures::stream::iter([Ok(first)]).chain(lines).fuse().boxed();
        let mut changes = Changes { lines, target: &target, full: order.full, number: 0 };
        crash::point("export_opened");
        while let Some(piece) = changes.next(&mut book, writer.round_rows()).await? {
            let round = writer.upsert(&piece.rows).await;
            crash::point("export_sent");
            self.keep(&mut book, piece, round, &export.entity_set, report).await?;
            crash::point("export_noted");
        }
        drop(changes);
        if export.missing == Missing::Delete {
            self.delete_vanished(&mut book, &writer, &export.entity_set, report).await?;
        }
        book.forget_rejects(report.run_id).await?;
        book.close().await?;
        report.rows_loaded = report.rows_inserted + report.rows_updated + report.rows_unchanged;
        let allowed = pipeline.definition.contract.quarantine_threshold * report.rows_read as f64;
        report.over_threshold = report.rows_quarantined as f64 > allowed;
        Ok(())
    }

    /// Looks at the table, and opens the book of what was sent to it.
    async fn open_target(
        &self,
        pipeline: &Pipeline,
        export: &ExportTo,
        brand: &BrandId,
        first: &str,
    ) -> Result<Open, Error> {
        let cells: serde_json::Map<String, serde_json::Value> = serde_json::from_str(first).unwrap_or_default();
        let columns: Vec<String> = cells.keys().cloned().collect();
        let wanted = export.key.iter().chain(export.lookups.iter().map(|lookup| &lookup.column));
        let absent: Vec<String> = wanted.filter(|name| !columns.contains(name)).cloned().collect();
        if !absent.is_empty() {
            return Err(Error::ExportColumns { pipeline: pipeline.name.clone(), columns: absent.join("`, `") });
        }
        let query = TargetQuery {
            entity_set: export.entity_set.clone(),
            key: export.key.clone(),
            columns,
            lookups: export.lookups.clone(),
        };
        let dataverse = self.doors.dataverse(brand)?;
        let target = dataverse.target(&query).await.map_err(Error::Export)?;
        let place = Place {
            organization_id: target.organization_id.clone(),
            entity_set: export.entity_set.clone(),
            pipeline: pipeline.name.clone(),
            brand: brand.clone(),
        };
        let book = Book::open(&self.warehouse, place).await?;
        Ok(Open { dataverse, target, book })
    }

    /// Notes what is known of a round, then says why not all of it is.
    async fn keep(
        &self,
        book: &mut Book,
        piece: Piece,
        round: Round,
        entity_set: &str,
        report: &mut RunReport,
    ) -> Result<(), Error> {
        report.rows_read += piece.read;
        report.rows_unchanged += piece.unchanged;
        let (mut sent, mut refused) = (Vec::new(), piece.refused);
        for ((row, (hash, new)), outcome) in piece.rows.into_iter().zip(piece.marks).zip(round.outcomes) {
            match outcome {
                Some(Outcome::Written) => {
                    *(if new { &mut report.rows_inserted } else { &mut report.rows_updated }) += 1;
                    sent.push(Sent { key: row.key, hash });
                }
                Some(Outcome::Rejected(reason)) => {
                    let reason = masked(&row, reason);
                    refused.push(Refused { key: row.key, number: row.number, reason });
                }
                None => {}
            }
        }
        if !sent.is_empty() || !refused.is_empty() {
            report.status = Status::Succeeded;
        }
        report.rows_quarantined += refused.len() as u64;
        for refused in &refused {
            if report.quarantine.len() < SAMPLES {
                report.quarantine.push(QuarantineSample {
                    file: entity_set.to_owned(),
                    row: refused.number,
                    column: String::new(),
                    rule: refused.reason.code.clone(),
                    reason: refused.reason.message.clone(),
                });
            }
        }
        book.keep(report.run_id, self.clock.now(), &sent, &refused, &[]).await?;
        round.failure.map_or(Ok(()), |failure| Err(Error::Export(failure)))
    }

    async fn delete_vanished(
        &self,
        book: &mut Book,
        writer: &Writer<'_>,
        entity_set: &str,
        report: &mut RunReport,
    ) -> Result<(), Error> {
        let (mut behind, mut gone, mut kept) = (String::new(), 0_u64, 0_u64);
        loop {
            let keys = book.vanished(&behind, VANISHED).await?;
            let Some(last) = keys.last() else { break };
            behind.clone_from(last);
            let round = writer.delete(&keys).await;
            crash::point("export_deleted");
            let mut deleted = Vec::new();
            for (key, outcome) in keys.into_iter().zip(round.outcomes) {
                match outcome {
                    Some(Outcome::Written) => deleted.push(key),
                    Some(Outcome::Rejected(_)) => kept += 1,
                    None => {}
                }
            }
            gone += deleted.len() as u64;
            book.keep(report.run_id, self.clock.now(), &[], &[], &deleted).await?;
            if let Some(failure) = round.failure {
                return Err(Error::Export(failure));
            }
        }
        if gone > 0 {
            report.status = Status::Succeeded;
            report
                .notes
                .push(format!("{} disappeared from the query and from `{entity_set}`", counted(gone, "row", "rows")));
        }
        if kept > 0 {
            report
                .notes
                .push(format!("{} disappeared from the query, and could not be deleted", counted(kept, "row", "rows")));
        }
        Ok(())
    }
}

fn exported(pipeline: &Pipeline) -> Result<(&ExportTo, &str), Error> {
    let export = pipeline.definition.export.as_ref().zip(pipeline.export_sql.as_deref());
    export.ok_or_else(|| Error::NoExport { pipeline: pipeline.name.clone() })
}

/// A table that nothing was loaded into yet has no rows to export.
fn not_there_yet(error: Error) -> Result<Option<String>, Error> {
    match &error {
        Error::ExportQuery { source, .. } if is_not_there(source) => {
            info!(error = %chain(&error), "nothing to export yet");
            Ok(None)
        }
        _ => Err(error),
    }
}

/// Unlike a load, an export that failed has done what it had done: its counts stay.
fn settle(report: &mut RunReport, started: Instant, outcome: Result<(), Error>) {
    report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok(()) => info!(
            rows_created = report.rows_inserted,
            rows_changed = report.rows_updated,
            rows_unchanged = report.rows_unchanged,
            rows_refused = report.rows_quarantined,
            duration_ms = report.duration_ms,
            "exported"
        ),
        Err(failure) => {
            report.status = Status::Failed;
            report.error = Some(chain(&failure));
            report.hint = failure.hint().map(str::to_owned);
            error!(error = %chain(&failure), "export failed");
        }
    }
}
