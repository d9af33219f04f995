//! `restatements`: what changed in days that were over.

use chrono::{Days, NaiveDate, NaiveTime, TimeZone as _};
use clap::Args;
use serde_json::{Value, json};

use super::output::{Output, table};
use super::{Exit, Failure};
use crate::app::App;
use crate::ids::BrandId;
use crate::pipelines::restatements;
use crate::warehouse::restatements::{Restatement, Wanted};

const HELP: &str = "\
A ledger of what sources said of business dates that were over: which value of which row became
what, when, and by which file and load. A business date is over from the next day on, by the
brand's clocks. A row counts as `added` where the same store and day had rows before; `removed`
rows show each value they had. A load that takes another back is shown as such.

  storekeeper restatements                                  the last 31 days, all tables
  storekeeper restatements sales_channel --since 2025-11-01
  storekeeper restatements sales_channel --brand harbor --store 125

Readers of a brand's tables may ask the same in SQL:
  SELECT * FROM mart_harbor.sales_channel_restatements(now() - interval '7 days')

Nothing is noted for this: it is read from the earlier versions of rows that are kept anyway.
Exit codes: 0 done, whether there are any or not; 1 something failed; 2 wrong use.";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Command {
    /// Only of this table.
    table: Option<String>,
    /// Only of this brand.
    #[arg(long)]
    brand: Option<String>,
    /// What became known from this day on. Default: 31 days ago.
    #[arg(long, value_name = "DATE")]
    since: Option<NaiveDate>,
    /// Only of this store.
    #[arg(long, value_name = "NUMBER")]
    store: Option<String>,
    /// Personal columns too.
    #[arg(long)]
    with_personal: bool,
    /// Lines of a table shown at most; the latest come first.
    #[arg(long, default_value_t = 1000)]
    limit: i64,
}

pub(super) async fn run(app: &App, command: &Command, output: &Output) -> Result<Exit, Failure> {
    let brands = super::run::brands(app, command.brand.as_deref())?;
    let pipelines = app.pipelines().await?;
    if let Some(wanted) = &command.table {
        let mut tables: Vec<&str> =
            pipelines.iter().map(|pipeline| pipeline.definition.destination.table.as_str()).collect();
        tables.sort_unstable();
        tables.dedup();
        if !tables.contains(&wanted.as_str()) {
            let message = format!("no pipeline loads a table `{wanted}`; there are {}", tables.join(", "));
            return Err(Failure::usage(message, Some("`explain` also knows views and the forecast")));
        }
    }
    let warehouse = app.warehouse().await?;
    let (mut lines, mut without, mut cut) = (Vec::new(), Vec::new(), false);
    for brand in &brands {
        let zone = app.settings.brands[brand].time_zone;
        let day = command.since.unwrap_or_else(|| {
            let today = app.clock.today(zone);
            today.checked_sub_days(Days::new(31)).unwrap_or(today)
        });
        // Where clocks skip midnight the day begins with the first moment there is.
        let midnight = day.and_time(NaiveTime::MIN);
        let since = zone.from_local_datetime(&midnight).earliest();
        let since = since.map_or_else(|| midnight.and_utc(), |moment| moment.to_utc());
        let wanted = Wanted { since, store: command.store.clone(), limit: command.limit };
        let found =
            restatements(&warehouse, &pipelines, brand, command.table.as_deref(), &wanted, command.with_personal);
        let found = found.await?;
        cut |= found.cut;
        without.extend(found.without_date);
        lines.extend(found.lines.into_iter().map(|line| (brand.clone(), line)));
    }
    warehouse.close().await;
    without.sort();
    without.dedup();
    let objects: Vec<Value> = lines
        .iter()
        .map(|(brand, line)| {
            let mut object = json!({ "brand": brand });
            if let (Some(object), Ok(Value::Object(more))) = (object.as_object_mut(), serde_json::to_value(line)) {
                object.extend(more);
            }
            object
        })
        .collect();
    let json = json!({ "restatements": objects, "without_business_date": without, "cut": cut });
    output.answer(&json, || text(&lines, &without, cut));
    Ok(Exit::Done)
}

fn text(lines: &[(BrandId, Restatement)], without: &[String], cut: bool) -> String {
    let mut text = String::new();
    let header = ["known since", "load", "brand", "table", "row", "column", "old", "new", "from"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for (brand, line) in lines {
        let shown = |value: &Option<String>| match (line.withheld, value) {
            (true, _) => "(personal)".to_owned(),
            (false, None) => "-".to_owned(),
            (false, Some(value)) => value.clone(),
        };
        let key: Vec<&str> = line.key.values().filter_map(Value::as_str).collect();
        let sheet = line.sheet.as_ref().map(|sheet| format!(" [{sheet}]")).unwrap_or_default();
        let row = line.source_row.map(|row| format!(" row {row}")).unwrap_or_default();
        let file = line.file.clone().unwrap_or_default();
        let from = match (line.undoes, line.change.as_str()) {
            (Some(other), _) => format!("undo of load {other}"),
            (None, "changed") => format!("{file}{sheet}{row}"),
            (None, change) => format!("{change} by {file}{sheet}{row}"),
        };
        rows.push(vec![
            line.restated_at.format("%Y-%m-%d %H:%M UTC").to_string(),
            line.load_id.to_string(),
            brand.to_string(),
            line.table.clone(),
            key.join(" "),
            line.column.clone(),
            shown(&line.old),
            shown(&line.new),
            from,
        ]);
    }
    if lines.is_empty() {
        text.push_str("nothing was said differently of days that were over\n");
    } else {
        text.push_str(&table(&rows, &[1, 6, 7]));
    }
    if cut {
        text.push_str("\nand more: --limit shows them, or a later --since\n");
    }
    if !without.is_empty() {
        text.push_str(&format!("\nwithout a key and a business date, so not in the ledger: {}\n", without.join(", ")));
    }
    text
}
