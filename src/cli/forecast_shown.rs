//! `forecast show` and `forecast explain`: what is to come, and why.

use chrono::NaiveDate;
use clap::Args;
use serde_json::json;

use super::forecast_picture::{Drawing, picture};
use super::output::{Output, grouped, table};
use super::run::brands;
use super::{Exit, Failure};
use crate::app::App;
use crate::pipelines::{self, Ahead, EffectShown, Grain, Shown};

const SHOW_HELP: &str = "\
A day's forecast is its mean: the number to add up over days and stores. In 80 of 100 days sales
fall between the bounds. `--svg` draws history, forecast, bands and holidays as a picture:

  storekeeper forecast show 000125 --svg > 000125.svg
";

const EXPLAIN_HELP: &str = "\
The forecast is its level times one factor for each reason: the day of the week, the time of the
year, holidays, promotions. Levels and factors are those of the median; the mean, which is what
adds up, lies somewhat above it.
";

#[derive(Debug, Args)]
#[command(after_help = SHOW_HELP)]
pub(super) struct Show {
    /// The store's number.
    store: String,
    /// The brand, where several have such a store.
    #[arg(long)]
    brand: Option<String>,
    /// The series, where the store has several.
    #[arg(long)]
    series: Option<String>,
    /// Days (or weeks, or months) of the history that are shown.
    #[arg(long, default_value_t = 91)]
    days: u32,
    /// Print a picture instead.
    #[arg(long)]
    svg: bool,
}

#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_HELP)]
pub(super) struct Explain {
    /// The store's number.
    store: String,
    /// The day, as 2025-12-24.
    date: NaiveDate,
    /// The brand, where several have such a store.
    #[arg(long)]
    brand: Option<String>,
    /// The series, where the store has several.
    #[arg(long)]
    series: Option<String>,
}

pub(super) async fn show(app: &App, command: &Show, output: &Output) -> Result<Exit, Failure> {
    let found = find(app, &command.store, command.brand.as_deref(), command.series.as_deref(), command.days).await?;
    if command.svg {
        let [(standing, effects)] = found.as_slice() else { return Err(several(&found)) };
        output.print(&picture(&Drawing::of(standing, effects)));
        return Ok(Exit::Done);
    }
    let json: Vec<_> =
        found.iter().map(|(standing, effects)| json!({ "forecast": standing, "effects": effects })).collect();
    output.answer(&json!({ "forecasts": json }), || found.iter().map(|(standing, _)| show_text(standing)).collect());
    Ok(Exit::Done)
}

pub(super) async fn explain(app: &App, command: &Explain, output: &Output) -> Result<Exit, Failure> {
    let found = find(app, &command.store, command.brand.as_deref(), command.series.as_deref(), 1).await?;
    let mut days = Vec::new();
    for (standing, effects) in &found {
        if let Some(day) = standing.on(command.date) {
            days.push((standing, effects, day));
        }
    }
    if days.is_empty() {
        let last = found.iter().filter_map(|(standing, _)| standing.ahead.last()).map(|day| day.date).max();
        let message = match last {
            Some(last) => {
                format!("store {} is forecast up to {last}, {} is not among its days", command.store, command.date)
            }
            None => format!("store {} has no forecast: {}", command.store, found[0].0.reason),
        };
        return Err(Failure {
            code: 1,
            message,
            hint: Some("`forecast show STORE` lists the days there are".to_owned()),
        });
    }
    let json: Vec<_> = days
        .iter()
        .map(|(standing, effects, day)| {
            json!({ "brand": standing.brand, "store_id": standing.store_id, "series": standing.series,
                    "model": standing.model, "made_on": standing.made_on, "day": day, "effects": effects })
        })
        .collect();
    output.answer(&json!({ "explained": json }), || {
        days.iter().map(|(standing, effects, day)| explain_text(standing, effects, day)).collect()
    });
    Ok(Exit::Done)
}

async fn find(
    app: &App,
    store: &str,
    brand: Option<&str>,
    series: Option<&str>,
    days: u32,
) -> Result<Vec<(Shown, Vec<EffectShown>)>, Failure> {
    let warehouse = app.warehouse().await?;
    let mut found = Vec::new();
    for pipeline in app.pipelines().await? {
        let forecasts = &pipeline.definition.forecasts;
        for of in forecasts.iter().filter(|of| series.is_none_or(|series| series == of.series)) {
            for brand in brands(app, brand)?.iter().filter(|brand| pipeline.serves(brand)) {
                found.extend(pipelines::standing(&warehouse, (&pipeline, of), brand, store, days).await?);
            }
        }
    }
    warehouse.close().await;
    if found.is_empty() {
        return Err(Failure {
            code: 1,
            message: format!("no forecast of a store `{store}` is there"),
            hint: Some("store numbers keep their zeros, as in 000125; `forecast run` makes forecasts".to_owned()),
        });
    }
    Ok(found)
}

fn several(found: &[(Shown, Vec<EffectShown>)]) -> Failure {
    let names: Vec<String> = found.iter().map(|(one, _)| format!("{} of {}", one.series, one.brand)).collect();
    Failure::usage(format!("a picture shows one series, not {}", names.join(" and ")), Some("name --brand or --series"))
}

fn amount(value: f64) -> String {
    grouped(value.round().max(0.0) as u64)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// What made the number, in words: a head over both texts.
fn head(standing: &Shown) -> String {
    let mut text = format!(
        "{} of store {} ({}), made on {}: {}\n",
        standing.series,
        standing.store_id,
        standing.brand,
        standing.made_on,
        standing.model.as_deref().unwrap_or("withheld"),
    );
    text.push_str(&format!("why: {}\n", standing.fallback_reason.as_deref().unwrap_or(&standing.reason)));
    if let (Some(wape), Some(bias)) = (standing.wape, standing.bias) {
        let inside =
            standing.coverage_80.map_or(String::new(), |share| format!(", {} of days within 80 %", percent(share)));
        text.push_str(&format!(
            "tested on {} earlier days: off by {} of what came, on balance {:+.1} %{inside}\n",
            standing.tested_days,
            percent(wape),
            bias * 100.0
        ));
    }
    if !standing.flags.is_empty() {
        text.push_str(&format!("note: {}\n", standing.flags.join(", ").replace('_', " ")));
    }
    text
}

fn show_text(standing: &Shown) -> String {
    let (step, weekday) = match standing.grain {
        Grain::Day => ("day", "%a"),
        Grain::Week => ("week from", ""),
        Grain::Month => ("month from", ""),
    };
    let mut rows =
        vec![[step, "", "forecast", "80 % from", "to", "95 % from", "to", "because"].map(str::to_owned).to_vec()];
    for day in &standing.ahead {
        let because: Vec<String> = reasons(day)
            .into_iter()
            .filter(|(part, _)| part != "level" && part != "weekday")
            .map(|(part, by)| format!("{part} {by}"))
            .collect();
        rows.push(vec![
            day.date.to_string(),
            day.date.format(weekday).to_string(),
            amount(day.mean),
            amount(day.lower_80),
            amount(day.upper_80),
            amount(day.lower_95),
            amount(day.upper_95),
            because.join(", "),
        ]);
    }
    format!("{}\n{}\n", head(standing), table(&rows, &[2, 3, 4, 5, 6]))
}

/// Each reason, and by how much: a factor as percent, or an amount.
fn reasons(day: &Ahead) -> Vec<(String, String)> {
    let one = |reason: &pipelines::Reason| {
        let by = match (reason.part.as_str(), reason.multiplies) {
            ("level", true) => amount(reason.amount.exp()),
            ("level", false) => amount(reason.amount),
            (_, true) => format!("{:+.0} %", (reason.amount.exp() - 1.0) * 100.0),
            (_, false) => format!("{:+.0}", reason.amount),
        };
        (reason.part.clone(), by)
    };
    // What rounds to nothing is no reason.
    day.because.iter().map(one).filter(|(_, by)| !matches!(by.as_str(), "+0 %" | "-0 %" | "+0" | "-0")).collect()
}

fn explain_text(standing: &Shown, effects: &[EffectShown], day: &Ahead) -> String {
    let mut text = head(standing);
    let step = match standing.grain {
        Grain::Day => "%A",
        Grain::Week => "week from",
        Grain::Month => "month from",
    };
    text.push_str(&format!("\n{} {}\n", day.date.format(step), day.date));
    let mut rows: Vec<Vec<String>> = reasons(day).into_iter().map(|(part, by)| vec![part, by]).collect();
    rows.push(vec!["median".to_owned(), amount(day.median)]);
    rows.push(vec!["mean: the forecast".to_owned(), amount(day.mean)]);
    rows.push(vec!["80 of 100 such days".to_owned(), format!("{} to {}", amount(day.lower_80), amount(day.upper_80))]);
    rows.push(vec!["95 of 100 such days".to_owned(), format!("{} to {}", amount(day.lower_95), amount(day.upper_95))]);
    rows.extend(day.dayparts.iter().map(|(part, mean)| vec![format!("  {part}"), amount(*mean)]));
    let header = vec![String::new(), String::new()];
    text.push_str(&table(&[vec![header], rows].concat(), &[1]));
    if day.because.iter().any(|reason| reason.closed) {
        text.push_str("the store is closed on that day\n");
    } else if day.because.iter().any(|reason| reason.clipped) {
        text.push_str("a guard rail pulled the number back: the reasons alone would say more, or less\n");
    }
    let parts: Vec<&str> = day.because.iter().map(|reason| reason.part.as_str()).collect();
    let of_day = |effect: &&EffectShown| parts.iter().any(|part| effect.effect.starts_with(part));
    let mut rows = vec![["effect", "here", "±", "in other stores", "seen on days"].map(str::to_owned).to_vec()];
    for effect in effects.iter().filter(of_day).take(12) {
        let as_percent = |log: f64| format!("{:+.0} %", (log.exp() - 1.0) * 100.0);
        rows.push(vec![
            effect.effect.clone(),
            as_percent(effect.estimate),
            format!("{:.0}", effect.deviation * 100.0),
            effect.pooled.map(as_percent).unwrap_or_default(),
            effect.seen_days.to_string(),
        ]);
    }
    if rows.len() > 1 {
        text.push_str(&format!("\nwhat this store knows of such days\n{}", table(&rows, &[1, 2, 3, 4])));
    }
    text.push('\n');
    text
}
