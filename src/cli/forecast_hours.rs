//! `forecast hours`: what the expected demand of a store asks for.

use chrono::NaiveDate;
use clap::Args;
use serde_json::json;

use super::output::{Output, table};
use super::run::brands;
use super::{Exit, Failure};
use crate::app::App;
use crate::ids::BrandId;
use crate::pipelines::{self, FORECAST_DAY, StaffedPart};

const HELP: &str = "\
Required hours are what the standard asks for: fixed hours, and the expected demand over what an hour of
work serves, or the smallest crew. Crew hours are those of whole people who stay for a shift. In 80 of 100
days the demand asks for between low and high.

  storekeeper forecast hours 000125
  storekeeper forecast hours 000125 --date 2025-12-24     each daypart of a day
";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Hours {
    /// The store's number.
    store: String,
    /// The brand, where several have such a store.
    #[arg(long)]
    brand: Option<String>,
    /// A day, as 2025-12-24: shows its dayparts.
    #[arg(long)]
    date: Option<NaiveDate>,
}

/// Hours of a store in a series.
struct Found {
    brand: BrandId,
    series: String,
    parts: Vec<StaffedPart>,
}

pub(super) async fn hours(app: &App, command: &Hours, output: &Output) -> Result<Exit, Failure> {
    let warehouse = app.warehouse().await?;
    let mut found = Vec::new();
    for pipeline in app.pipelines().await? {
        let Some(of) = &pipeline.definition.staffing else { continue };
        for brand in brands(app, command.brand.as_deref())?.iter().filter(|brand| pipeline.serves(brand)) {
            let mut parts = pipelines::staffed(&warehouse, of, brand, &command.store).await?;
            if let Some(date) = command.date {
                parts.retain(|part| part.date == date);
            }
            if !parts.is_empty() {
                found.push(Found { brand: brand.clone(), series: of.series.clone(), parts });
            }
        }
    }
    warehouse.close().await;
    if found.is_empty() {
        let day = command.date.map_or(String::new(), |date| format!(" on {date}"));
        return Err(Failure {
            code: 1,
            message: format!("no hours of work of a store `{}`{day} are there", command.store),
            hint: Some("store numbers keep their zeros, as in 000125; `forecast run` makes hours".to_owned()),
        });
    }
    let json: Vec<_> = found
        .iter()
        .map(|one| json!({ "brand": one.brand, "store_id": command.store, "series": one.series, "hours": one.parts }))
        .collect();
    output.answer(&json!({ "hours": json }), || found.iter().map(|one| text(command, one)).collect());
    Ok(Exit::Done)
}

fn text(command: &Hours, found: &Found) -> String {
    let header = ["day", "daypart", "demand", "open", "fixed", "required", "low", "high", "crew", "heads"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let shown = |part: &&StaffedPart| command.date.is_some() || part.daypart == FORECAST_DAY;
    for part in found.parts.iter().filter(shown) {
        let hours = |value: f64| format!("{value:.2}");
        rows.push(vec![
            part.date.format("%a %Y-%m-%d").to_string(),
            part.daypart.clone(),
            format!("{:.0}", part.demand),
            hours(part.open_hours),
            hours(part.fixed_hours),
            hours(part.required_hours),
            hours(part.lower_hours),
            hours(part.upper_hours),
            hours(part.crew_hours),
            part.heads.to_string(),
        ]);
    }
    let made_on = found.parts.first().map_or(String::new(), |part| part.made_on.to_string());
    format!(
        "{} of store {} ({}), as of {made_on}\n{}",
        found.series,
        command.store,
        found.brand,
        table(&rows, &[2, 3, 4, 5, 6, 7, 8, 9])
    )
}
