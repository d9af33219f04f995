//! `quarantine`: refused rows, why, and what to do about them.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::output::{Output, counted, grouped, table};
use super::{Exit, Failure};
use crate::app::App;
use crate::ids::{BrandId, PipelineName, RunId};
use crate::pipelines::{self, QuarantineFilter, QuarantineState, RefusedCount, Status};

const HELP: &str = "\
A row that breaks a rule is refused and kept, whole, with its reason. It is `open` until it was
  replayed     loaded by `quarantine replay`, once the contract or the table it looks into was mended
  superseded   found to be older than what stands in its place by now
  dismissed    settled by somebody who says why
Where the *file* is wrong, mend the file and load it again; then dismiss the rows.

  storekeeper quarantine list --pipeline sales_channel
  storekeeper quarantine export --pipeline sales_channel --out refused.csv
  storekeeper quarantine replay --pipeline sales_channel --rule known_store
  storekeeper quarantine dismiss --run 12 --why \"test data\"

Exit codes: 0 done; 1 something failed; 2 wrong use; 3 (replay) some rows were refused again.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Group {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Counts refused rows by reason, and lists them: file, sheet, row, column, rule, reason.
    List {
        #[command(flatten)]
        which: Which,
        /// In which state.
        #[arg(long, value_enum, default_value_t = State::Open)]
        state: State,
        /// How many rows are listed.
        #[arg(long, default_value_t = 100)]
        limit: i64,
    },
    /// Writes open refused rows, as they came, into a CSV that a spreadsheet opens safely.
    ///
    /// Columns that the contract calls personal are left out.
    Export {
        #[command(flatten)]
        which: Which,
        /// The file to write. Only its owner may read it.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Personal columns too: whoever gets the file then holds personal data.
        #[arg(long)]
        with_personal: bool,
    },
    /// Puts open refused rows through the contract as it is now, and loads those that pass.
    ///
    /// Each pipeline and brand is a run of its own, with the trigger `replay`. A row keeps its
    /// file and row number, is loaded once however often this is typed, and never overwrites a
    /// row that came later; nothing disappears from the table. Rows that fail again stay open
    /// with the new reason, and so do rows of which nobody can tell whether a later file told
    /// them again.
    Replay {
        #[command(flatten)]
        which: Which,
        /// Everything that is open.
        #[arg(long)]
        all: bool,
    },
    /// Marks open refused rows as settled, without loading them.
    Dismiss {
        #[command(flatten)]
        which: Which,
        /// Why; kept with the rows.
        #[arg(long)]
        why: String,
        /// Who; kept with the rows. Default: the name you are signed in with.
        #[arg(long, env = "USER")]
        by: String,
    },
}

#[derive(Debug, Args)]
struct Which {
    /// Rows refused by this run.
    #[arg(value_name = "RUN")]
    number: Option<i64>,
    /// The same, by name.
    #[arg(long, value_name = "ID", conflicts_with = "number")]
    run: Option<i64>,
    /// Only of this pipeline.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Only of this brand.
    #[arg(long)]
    brand: Option<String>,
    /// Only rows that broke this rule, e.g. known_store.
    #[arg(long)]
    rule: Option<String>,
    /// Only this row, by its id in `list`; may be given several times.
    #[arg(long = "id", value_name = "ID")]
    ids: Vec<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Open,
    Replayed,
    Superseded,
    Dismissed,
    /// Of loads that were taken back.
    Undone,
    /// Whatever became of them.
    All,
}

impl Which {
    fn filter(&self, state: Option<QuarantineState>) -> QuarantineFilter {
        QuarantineFilter {
            pipeline: self.pipeline.as_deref().map(PipelineName::from),
            brand: self.brand.as_deref().map(BrandId::from),
            run: self.number.or(self.run).map(RunId),
            rule: self.rule.clone(),
            ids: self.ids.clone(),
            state,
        }
    }

    /// Refuses to change everything for want of a word.
    fn narrowed(&self) -> Result<(), Failure> {
        let narrow = self.number.or(self.run).is_some()
            || self.pipeline.is_some()
            || self.brand.is_some()
            || self.rule.is_some()
            || !self.ids.is_empty();
        if narrow {
            return Ok(());
        }
        Err(Failure::usage("which rows is not said", Some("name a run, --pipeline, --brand, --rule or --id")))
    }
}

pub(super) async fn run(app: &App, group: &Group, output: &Output) -> Result<Exit, Failure> {
    match &group.command {
        Command::List { which, state, limit } => list(app, which, *state, *limit, output).await,
        Command::Export { which, out, with_personal } => {
            let definitions = app.pipelines().await?;
            let warehouse = app.warehouse_to_load().await?;
            let filter = which.filter(Some(QuarantineState::Open));
            let exported = pipelines::export_quarantine(&warehouse, &filter, &definitions, *with_personal, out).await?;
            warehouse.close().await;
            output.answer(&exported, || {
                let left_out = if exported.left_out.is_empty() {
                    String::new()
                } else {
                    format!("; left out, as personal or unknown: {}", exported.left_out.join(", "))
                };
                format!("{} written to {}{left_out}", counted(exported.rows, "row", "rows"), exported.file.display())
            });
            Ok(Exit::Done)
        }
        Command::Replay { which, all } => replay(app, which, *all, output).await,
        Command::Dismiss { which, why, by } => {
            which.narrowed()?;
            let warehouse = app.warehouse_to_load().await?;
            let filter = which.filter(Some(QuarantineState::Open));
            let rows = pipelines::dismiss_quarantine(&warehouse, &filter, by, why, app.clock.now()).await?;
            warehouse.close().await;
            output.answer(&json!({ "dismissed": rows }), || format!("{} dismissed", counted(rows, "row", "rows")));
            Ok(Exit::Done)
        }
    }
}

async fn list(app: &App, which: &Which, state: State, limit: i64, output: &Output) -> Result<Exit, Failure> {
    let state = match state {
        State::Open => Some(QuarantineState::Open),
        State::Replayed => Some(QuarantineState::Replayed),
        State::Superseded => Some(QuarantineState::Superseded),
        State::Dismissed => Some(QuarantineState::Dismissed),
        State::Undone => Some(QuarantineState::Undone),
        State::All => None,
    };
    let warehouse = app.warehouse_to_load().await?;
    let filter = which.filter(state);
    let counts = pipelines::quarantine_counts(&warehouse, &filter).await?;
    let rows = pipelines::list_quarantine(&warehouse, &filter, limit).await?;
    warehouse.close().await;
    output.answer(&json!({ "reasons": counts, "quarantine": rows }), || listed(&counts, &rows));
    Ok(Exit::Done)
}

fn listed(counts: &[RefusedCount], rows: &[Value]) -> String {
    if counts.is_empty() {
        return "nothing".to_owned();
    }
    let mut lines = vec![["rows", "pipeline", "brand", "column", "rule", "state"].map(str::to_owned).to_vec()];
    lines.extend(counts.iter().map(|count| {
        let rows = grouped(count.rows.unsigned_abs());
        let words = [&count.pipeline, &count.brand, &count.column, &count.rule, &count.state];
        std::iter::once(rows).chain(words.into_iter().cloned()).collect()
    }));
    let mut text = table(&lines, &[0]);
    let keys = ["id", "run_id", "pipeline", "brand", "file", "sheet", "row", "column", "rule", "reason"];
    text.push('\n');
    text.push_str(&super::runs::columns(rows, &keys, &[0, 1, 6]));
    let all: i64 = counts.iter().map(|count| count.rows).sum();
    if all.unsigned_abs() > rows.len() as u64 {
        let rest = all.unsigned_abs() - rows.len() as u64;
        text.push_str(&format!("\nand {} more: --limit shows them\n", grouped(rest)));
    }
    text
}

async fn replay(app: &App, which: &Which, all: bool, output: &Output) -> Result<Exit, Failure> {
    if !all {
        which.narrowed()?;
    }
    let definitions = app.pipelines().await?;
    let named: Vec<String> = which.pipeline.iter().cloned().collect();
    super::run::named(&definitions, &named)?;
    super::run::brands(app, which.brand.as_deref())?;
    let warehouse = app.warehouse_to_load().await?;
    let engine = app.engine(&warehouse)?;
    let filter = which.filter(Some(QuarantineState::Open));
    let pairs = pipelines::quarantined_pairs(&warehouse, &filter).await?;
    let mut runs = Vec::new();
    // A table that rules look values up in comes first, as in `run --all`.
    for pipeline in &definitions {
        for (_, brand) in pairs.iter().filter(|(name, _)| *name == pipeline.name) {
            runs.push(engine.replay(pipeline, brand, &filter).await?);
        }
    }
    let orphans: Vec<&(PipelineName, BrandId)> =
        pairs.iter().filter(|(name, _)| !definitions.iter().any(|pipeline| pipeline.name == *name)).collect();
    if runs.iter().any(|run| run.status == Status::Succeeded) {
        super::run::follow_up(app, &warehouse).await?;
    }
    warehouse.close().await;
    let forgotten: Vec<String> = orphans.iter().map(|(pipeline, brand)| format!("{pipeline} ({brand})")).collect();
    output.answer(&json!({ "runs": runs, "without_definition": forgotten }), || {
        if runs.is_empty() && forgotten.is_empty() {
            return "nothing is open".to_owned();
        }
        let mut text = super::run::text(&runs);
        for name in &forgotten {
            text.push_str(&format!("\n{name}: no definition of this name is left; its rows stay open\n"));
        }
        text
    });
    Ok(if runs.iter().any(|run| !run.status.is_fine()) {
        Exit::Failed
    } else if runs.iter().any(|run| run.rows_quarantined > 0) {
        Exit::OverThreshold
    } else {
        Exit::Done
    })
}
