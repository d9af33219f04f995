//! `contract`: a pipeline from a file nobody described, and pipelines tried on their examples.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::{Output, counted, table};
use super::{Exit, Failure};
use crate::app::App;
use crate::formats::{Format, Hidden, Kind};
use crate::pipelines::{self, DraftOrder, Drafted, ExampleOutcome, ExampleReport};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Reads a file nobody described and writes a pipeline for it.
    Draft(DraftCommand),
    /// Runs every pipeline's example/ through format, contract and transform, and compares.
    Test(TestCommand),
}

const DRAFT_HELP: &str = "\
The file may be CSV of any dialect, XLSX, XLS or one JSON object a line: its bytes tell, not its
name. Written are DIR/NAME/pipeline.toml, with every decision explained in a comment (format, header
row, types, key, columns that may be personal, columns to look at), and DIR/NAME/example/, cut from
the first rows, with personal values replaced. What is written was tried on every row of the file.

  storekeeper contract draft orders.csv --name orders
  storekeeper contract draft book.xlsx --sheet Product --name products --out pipelines/catalogue
  storekeeper contract draft book.xlsx --sheets '*' --sheet-as store_id --name sales
  storekeeper check && storekeeper contract test orders
  storekeeper run orders --brand harbor --file orders.csv

Exit codes: 0 written; 1 the file cannot be read, or the folder is there already; 2 wrong use.";

#[derive(Debug, Args)]
#[command(after_help = DRAFT_HELP)]
pub(super) struct DraftCommand {
    /// The file.
    file: PathBuf,
    /// The sheet of a workbook. Default: the first visible one.
    #[arg(long)]
    sheet: Option<String>,
    /// Several sheets of a workbook, by names or patterns such as `*`; `!About` takes one out. Repeat it.
    #[arg(long, value_name = "PATTERN", conflicts_with = "sheet")]
    sheets: Vec<String>,
    /// The column that takes the sheet's name as its value.
    #[arg(long, value_name = "COLUMN")]
    sheet_as: Option<String>,
    /// Where the table stands in the sheet: `C2:G14`, `A:F`, or the name of a range.
    #[arg(long)]
    range: Option<String>,
    /// Leave out hidden rows of an XLSX sheet. Default: they are rows like others.
    #[arg(long)]
    skip_hidden: bool,
    /// What the pipeline and its table are called: lower-case letters, digits and `_`.
    #[arg(long)]
    name: String,
    /// Folder in which the pipeline's folder is made. Default: pipelines/drafts of the definitions.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

const TEST_HELP: &str = "\
An example is a folder `example` beside pipeline.toml: in.csv (or in.jsonl, in.xlsx, in.xls) comes in,
out.csv and rejected.csv are what must come of it. No database is needed. Rules that look values up
know the stores 000101 and 000102.

Exit codes: 0 every example comes out as its folder says; 1 one does not, or cannot be run, or a
pipeline that was named has none; 2 wrong use or definitions.";

#[derive(Debug, Args)]
#[command(after_help = TEST_HELP)]
pub(super) struct TestCommand {
    /// Pipelines to test: the names of their folders. Default: all.
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    match command {
        Command::Draft(command) => draft(app, command, output).await,
        Command::Test(command) => test(app, command, output).await,
    }
}

async fn draft(app: &App, command: &DraftCommand, output: &Output) -> Result<Exit, Failure> {
    let order = DraftOrder {
        file: command.file.clone(),
        format: Format {
            sheet: command.sheet.clone(),
            sheets: command.sheets.clone(),
            sheet_as: command.sheet_as.clone(),
            range: command.range.clone(),
            hidden: if command.skip_hidden { Hidden::Skip } else { Hidden::Read },
            ..Format::new(Kind::Xlsx)
        },
        name: command.name.clone(),
        out: command.out.clone().unwrap_or_else(|| app.definitions.join("pipelines/drafts")),
        worksheet_limit_bytes: app.settings.sources.worksheet_limit_bytes,
    };
    let told = std::io::stderr().is_terminal();
    let progress = move |rows: u64| {
        if told {
            let _closed = write!(std::io::stderr(), "\r{} read\u{1b}[K", counted(rows, "row", "rows"));
        }
    };
    let outcome = pipelines::draft(&order, progress).await;
    if told {
        let _closed = write!(std::io::stderr(), "\r\u{1b}[K");
    }
    let drafted = outcome?;
    output.answer(&drafted, || drafted_text(app, &order, &drafted));
    Ok(Exit::Done)
}

fn drafted_text(app: &App, order: &DraftOrder, drafted: &Drafted) -> String {
    let mut rows = vec![["column", "in the file", "type", "why"].map(str::to_owned).to_vec()];
    rows.extend(drafted.columns.iter().map(|column| {
        let from = column.from.replace(char::is_control, " ");
        let personal = if column.personal.is_some() { ", personal" } else { "" };
        vec![column.name.clone(), from, format!("{}{personal}", column.r#type), column.why.clone()]
    }));
    let mut text = table(&rows, &[]);
    let key = if drafted.key.is_empty() { "none found".to_owned() } else { drafted.key.join(", ") };
    text.push_str(&format!("\n{}; key: {key}\n", counted(drafted.rows, "row", "rows")));
    for (reason, count) in &drafted.left_out {
        text.push_str(&format!("{} left out as {reason}\n", counted(*count, "row", "rows")));
    }
    if drafted.rows_refused > 0 {
        text.push_str(&format!("{} will go to quarantine\n", counted(drafted.rows_refused, "row", "rows")));
    }
    for column in &drafted.unreachable {
        text.push_str(&format!("NOT LOADED: {column}\n"));
    }
    for column in &drafted.columns {
        for remark in &column.remarks {
            text.push_str(&format!("{}: {remark}\n", column.name));
        }
    }
    let mut brands = app.settings.brands.keys();
    let brand = match (brands.next(), brands.next()) {
        (Some(only), None) => only.0.as_str(),
        _ => "BRAND",
    };
    text.push_str(&format!(
        "\nwritten: {}\nnext: storekeeper check; storekeeper run {} --brand {brand} --file {}\n",
        drafted.folder.display(),
        order.name,
        order.file.display()
    ));
    text
}

async fn test(app: &App, command: &TestCommand, output: &Output) -> Result<Exit, Failure> {
    let all = app.pipelines().await?;
    super::run::named(&all, &command.names)?;
    let mut reports = Vec::new();
    for pipeline in &all {
        if command.names.is_empty() || command.names.contains(&pipeline.name.0) {
            reports.push(pipelines::test_example(pipeline).await);
        }
    }
    let wrong = |report: &&ExampleReport| match report.outcome {
        ExampleOutcome::Passed => false,
        ExampleOutcome::Missing => !command.names.is_empty(),
        ExampleOutcome::Differs | ExampleOutcome::Failed => true,
    };
    let failures = reports.iter().filter(wrong).count();
    output.answer(&json!({ "examples": reports, "failures": failures }), || test_text(&reports));
    Ok(if failures == 0 { Exit::Done } else { Exit::Failed })
}

fn test_text(reports: &[ExampleReport]) -> String {
    let mut rows = vec![["pipeline", "example", "loaded", "rejected"].map(str::to_owned).to_vec()];
    rows.extend(reports.iter().map(|report| {
        let outcome = match report.outcome {
            ExampleOutcome::Passed => "passed",
            ExampleOutcome::Differs => "DIFFERS",
            ExampleOutcome::Failed => "FAILED",
            ExampleOutcome::Missing => "none",
        };
        let counts = [report.rows_loaded, report.rows_rejected].map(|rows| rows.to_string());
        let [loaded, rejected] = counts;
        vec![report.pipeline.to_string(), outcome.to_owned(), loaded, rejected]
    }));
    let mut text = table(&rows, &[2, 3]);
    for report in reports {
        if let Some(error) = &report.error {
            text.push_str(&format!("\n{}: {error}\n", report.pipeline));
        }
        let mut file = "";
        for difference in &report.differences {
            if difference.file != file {
                file = difference.file;
                text.push_str(&format!("\n{} {file} (- the file, + what came)\n", report.pipeline));
            }
            for (sign, line) in [('-', &difference.wanted), ('+', &difference.found)] {
                if let Some(line) = line {
                    text.push_str(&format!("  {:>4} {sign} {line}\n", difference.line));
                }
            }
        }
    }
    text
}
