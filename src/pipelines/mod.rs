//! Definitions, and the one path a row takes.
//!
//! A [`Pipeline`] is one folder: where rows come from, what they must be, the
//! SQL that reshapes them, where they land. The [`Engine`] runs it, whatever the
//! trigger.
//!
//! Invariants: a run changes everything it says or nothing; a file is known by
//! its content; every row that was read is loaded, quarantined with its reason,
//! or left out and counted.

mod acquire;
mod columns;
mod crash;
mod definition;
mod draft_text;
mod drafting;
mod drive_files;
mod error;
mod examples;
mod explain;
mod export;
mod forecasting;
mod item_tables;
mod items;
mod judging;
mod made;
mod quarantine;
mod reading;
mod replay;
mod report;
mod report_tables;
mod restating;
mod runner;
mod staffing;
mod tables;
mod tracking;
mod turn_tables;
mod undo;

pub use acquire::{Doors, table_query};
pub use definition::{CatchUp, Definition, Overlap, Pipeline, Problem, Schedule, SourceKind, read_all};
pub use drafting::{DraftError, DraftOrder, Drafted, DraftedColumn, draft};
pub use error::Error;
pub use examples::{Difference, ExampleOutcome, ExampleReport, test_example};
pub use explain::{
    Answer, BaseAnswer, Basis, Cell, Change, Earlier, ExplainError, Explainer, FileAnswer, Found, KeyPart, Question,
    RefusedRow, RowAnswer, Standing, TransformAnswer, Value, ViewAnswer,
};
pub use export::{ExportOrder, ExportPlan, ExportTo, Follows, Missing, list_rejects};
pub use forecasting::{
    Ahead, DAY as FORECAST_DAY, EffectShown, Forecast, ForecastOf, Grain, Past, Reason, Scale, Shown,
    TABLE as FORECAST_TABLE, forecast_tables, standing,
};
pub use quarantine::{
    ExportError, Exported, QuarantineFilter, QuarantineState, RefusedCount, dismiss_quarantine, export_quarantine,
    list_quarantine, quarantine_counts, quarantined_pairs,
};
pub use report::{FileReport, QuarantineSample, RunReport, Status, Trigger};
pub use report_tables::{list_runs, reports_since, show_run};
pub use restating::{Restated, restatements};
pub use runner::{Engine, Order};
pub use staffing::{Staffed, StaffedPart, StaffingOf, staffed, staffing_tables};
pub use tables::word;
pub use undo::{UndoOrder, UndoWhat, Undone, UndoneLoad};
