//! `explain`: the way back from a value to its cell.

use std::io::Read as _;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::output::Output;
use super::{Exit, Failure, explain_text};
use crate::app::App;
use crate::ids::BrandId;
use crate::pipelines::{Answer, ExplainError, Explainer, KeyPart, Question};

const HELP: &str = "\
Follows a row back: value, load, run, file, sheet, row, and the text that stands in the cell.
TABLE is a table or a view of a brand; KEY says which row: column=value, or the values of the
table's key in their order. Fewer values mean more rows. An empty value (`column=`) means none.

  storekeeper explain sales_channel 000125 2025-11-28 iOS App Lunch --column net_sales
      one number: its cell, its file, who changed that last, and what the number was before
  storekeeper explain sales_channel store_id=125 business_date=2025-11-28
      every row of that store and day, of each brand that has such a store
  storekeeper explain sales_channel 000125 2025-11-28 iOS App Lunch --as-of 2025-12-01T08:00:00Z
      what was known then
  storekeeper explain sales_by_day store_id=000125 business_date=2025-11-28 --brand harbor
      a view: the tables it rests on, and their rows with these values
  storekeeper explain forecast 000125 net_sales 2025-12-05 Lunch
      what a forecast was made from
  storekeeper explain --file \"Sales Channel - Daily.xlsx\"
      what a file made, load by load, and how much of it still stands; also by its hash
  storekeeper explain --questions - <<< '{\"table\": \"sales_channel\", \"key\": [\"000125\"]}'
      many at once, a JSON object a line: table, key (an object or a list), brand, columns, as_of

A row that was refused is found in quarantine, with the reason. Texts of cells are read from the
kept bytes of the file (`warehouse.keep_files_days`), by the definition as it reads now. Columns
that a contract calls personal are withheld unless --with-personal.

Exit codes: 0 every row was found, be it removed by now; 1 some row was not found, or something failed; 2 wrong use;
3 some row is in quarantine and not in the table.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Command {
    /// Table or view, e.g. sales_channel or mart_harbor.sales_channel.
    #[arg(required_unless_present_any = ["file", "questions"], conflicts_with_all = ["file", "questions"])]
    table: Option<String>,
    /// The row: column=value, or values in the order of the table's key.
    #[arg(value_name = "KEY", conflicts_with_all = ["file", "questions"])]
    key: Vec<String>,
    /// Only this column; may be given several times.
    #[arg(long = "column", value_name = "NAME", conflicts_with_all = ["file", "questions"])]
    columns: Vec<String>,
    /// Only this brand. Default: every brand that has such a row.
    #[arg(long)]
    brand: Option<String>,
    /// As it was known at that moment, e.g. 2025-11-30T06:00:00Z.
    #[arg(long, value_name = "MOMENT", conflicts_with_all = ["file", "questions"])]
    as_of: Option<DateTime<Utc>>,
    /// A file, by its name or the beginning of its hash: what it made.
    #[arg(long, value_name = "NAME|HASH", conflicts_with = "questions")]
    file: Option<String>,
    /// Questions from a file, or from standard input for `-`: a JSON object a line.
    #[arg(long, value_name = "FILE")]
    questions: Option<String>,
    /// Personal columns too.
    #[arg(long)]
    with_personal: bool,
    /// Rows shown at most, for each question.
    #[arg(long, default_value_t = 20, value_name = "ROWS")]
    limit: usize,
}

impl From<ExplainError> for Failure {
    fn from(error: ExplainError) -> Self {
        let code = if error.is_usage() { 2 } else { 1 };
        Self { code, ..Self::new(&error, error.hint()) }
    }
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    let questions = match (&command.questions, &command.table) {
        (Some(from), _) => read_questions(from)?,
        (None, Some(table)) => vec![Question {
            table: table.clone(),
            brand: None,
            key: command.key.iter().map(|word| KeyPart::read(word)).collect(),
            columns: command.columns.clone(),
            as_of: command.as_of,
        }],
        (None, None) => Vec::new(),
    };
    let brands = super::run::brands(app, command.brand.as_deref())?;
    known_brands(&questions, &brands)?;
    let pipelines = app.pipelines().await?;
    let warehouse = app.warehouse().await?;
    let explainer = Explainer {
        warehouse: &warehouse,
        pipelines: &pipelines,
        brands,
        worksheet_limit_bytes: app.settings.sources.worksheet_limit_bytes,
        with_personal: command.with_personal,
        limit: command.limit.max(1),
    };
    let exit = if let Some(wanted) = &command.file {
        let files = explainer.explain_file(wanted).await?;
        if files.is_empty() {
            return Err(Failure {
                code: 1,
                message: format!("no file called `{wanted}` was loaded, and none has a hash that begins so"),
                hint: Some("`storekeeper runs list` and `runs show` name the files of each run".to_owned()),
            });
        }
        output.answer(&json!({ "files": files }), || explain_text::files(&files));
        Exit::Done
    } else {
        let answers = explainer.explain(&questions).await?;
        output.answer(&json!({ "answers": answers }), || explain_text::answers(&answers, &app.definitions));
        exit_of(&answers)
    };
    warehouse.close().await;
    Ok(exit)
}

/// Refuses a brand that the settings do not know: nothing would be found, and nobody told why.
fn known_brands(questions: &[Question], brands: &[BrandId]) -> Result<(), Failure> {
    match questions.iter().filter_map(|question| question.brand.as_ref()).find(|brand| !brands.contains(brand)) {
        None => Ok(()),
        Some(brand) => {
            let names: Vec<&str> = brands.iter().map(|brand| brand.0.as_str()).collect();
            Err(Failure::usage(format!("there is no brand `{brand}`; there are {}", names.join(", ")), None))
        }
    }
}

fn exit_of(answers: &[Answer]) -> Exit {
    let missing = |answer: &&Answer| !answer.has_rows();
    if answers.iter().filter(missing).any(|answer| !answer.is_refused()) {
        Exit::Failed
    } else if answers.iter().any(|answer| missing(&answer)) {
        Exit::OverThreshold
    } else {
        Exit::Done
    }
}

fn read_questions(from: &str) -> Result<Vec<Question>, Failure> {
    let hint = Some("give a file, or `-` for standard input: one JSON object a line");
    let mut text = String::new();
    let read = if from == "-" {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(from).map(|content| text = content)
    };
    read.map_err(|error| Failure::usage(format!("failed to read the questions from `{from}`: {error}"), hint))?;
    let mut questions = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let question = serde_json::from_str(line)
            .map_err(|error| Failure::usage(format!("line {} of the questions: {error}", at + 1), hint))?;
        questions.push(question);
    }
    Ok(questions)
}
