//! `schedules`: when which pipeline is due.

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::output::{Output, table};
use super::{Exit, Failure};
use crate::app::App;
use crate::pipelines::Pipeline;
use crate::scheduler::Scheduled;
use crate::scheduler::policy::Schedule;
use crate::telemetry::chain;

/// Occurrences that are told of each schedule.
const TOLD: usize = 3;

#[derive(Debug, Args)]
pub(super) struct Command {}

/// A schedule and its next occurrences.
#[derive(Debug, Serialize)]
struct Coming {
    #[serde(flatten)]
    scheduled: Scheduled,
    next: Vec<DateTime<Utc>>,
}

pub(super) async fn run(app: &App, _command: &Command, output: &Output) -> Result<Exit, Failure> {
    let pipelines = app.pipelines().await?;
    let coming = coming(schedules(app, &pipelines), app.clock.now())?;
    let by_hand: Vec<&str> = pipelines
        .iter()
        .filter(|pipeline| pipeline.definition.schedule.is_none())
        .map(|pipeline| pipeline.name.0.as_str())
        .collect();
    let enabled = app.settings.scheduler.enabled;
    let json = json!({ "schedules": coming, "by_hand": by_hand, "enabled": enabled });
    output.answer(&json, || text(&coming, &by_hand, enabled));
    Ok(Exit::Done)
}

/// The schedule of each pipeline for each brand that it serves.
pub(super) fn schedules(app: &App, pipelines: &[Pipeline]) -> Vec<Scheduled> {
    let mut schedules = Vec::new();
    for pipeline in pipelines {
        let Some(schedule) = &pipeline.definition.schedule else { continue };
        for (brand, settings) in app.settings.brands.iter().filter(|(brand, _)| pipeline.serves(brand)) {
            schedules.push(Scheduled {
                pipeline: pipeline.name.clone(),
                brand: brand.clone(),
                cron: schedule.cron.clone(),
                time_zone: schedule.time_zone.unwrap_or(settings.time_zone),
                overlap: schedule.overlap,
                catch_up: schedule.catch_up,
            });
        }
    }
    schedules
}

fn coming(schedules: Vec<Scheduled>, now: DateTime<Utc>) -> Result<Vec<Coming>, Failure> {
    let one = |scheduled: Scheduled| {
        let schedule = Schedule::parse(&scheduled).map_err(|error| {
            let message = format!("{}: {}", scheduled.pipeline, chain(&error));
            Failure::usage(message, Some("`storekeeper check` names the file"))
        })?;
        let next = std::iter::successors(schedule.next_after(now), |last| schedule.next_after(*last));
        Ok(Coming { next: next.take(TOLD).collect(), scheduled })
    };
    schedules.into_iter().map(one).collect()
}

fn text(coming: &[Coming], by_hand: &[&str], enabled: bool) -> String {
    let mut rows = vec![["pipeline", "brand", "cron", "zone", "next", "and then"].map(str::to_owned).to_vec()];
    rows.extend(coming.iter().map(|Coming { scheduled, next }| {
        let local =
            |moment: &DateTime<Utc>| moment.with_timezone(&scheduled.time_zone).format("%a %Y-%m-%d %H:%M").to_string();
        vec![
            scheduled.pipeline.to_string(),
            scheduled.brand.to_string(),
            scheduled.cron.clone(),
            scheduled.time_zone.to_string(),
            next.first().map(local).unwrap_or_default(),
            next.iter().skip(1).map(local).collect::<Vec<_>>().join(", "),
        ]
    }));
    let mut text = if coming.is_empty() { "nothing is scheduled\n".to_owned() } else { table(&rows, &[]) };
    if !by_hand.is_empty() {
        text.push_str(&format!("\nonly by hand: {}\n", by_hand.join(", ")));
    }
    if !enabled {
        text.push_str("\n`scheduler.enabled` is false: `serve` starts none of them\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheduler::{CatchUp, Overlap};

    fn daily(cron: &str) -> Vec<Scheduled> {
        vec![Scheduled {
            pipeline: "sales".into(),
            brand: "harbor".into(),
            cron: cron.to_owned(),
            time_zone: chrono_tz::America::New_York,
            overlap: Overlap::Skip,
            catch_up: CatchUp::Latest,
        }]
    }

    #[test]
    fn occurrences_are_told_in_the_schedules_own_zone() {
        let now = "2025-11-01T12:00:00Z".parse().unwrap();
        let coming = coming(daily("30 6 * * *"), now).unwrap();
        let told: Vec<String> = coming[0].next.iter().map(|moment| moment.to_rfc3339()).collect();
        // Clocks go back on the second.
        assert_eq!(told, ["2025-11-02T11:30:00+00:00", "2025-11-03T11:30:00+00:00", "2025-11-04T11:30:00+00:00"]);
        insta::assert_snapshot!(text(&coming, &["stores"], false), @r"
        pipeline  brand   cron        zone              next                  and then
        sales     harbor  30 6 * * *  America/New_York  Sun 2025-11-02 06:30  Mon 2025-11-03 06:30, Tue 2025-11-04 06:30

        only by hand: stores

        `scheduler.enabled` is false: `serve` starts none of them
        ");
    }

    #[test]
    fn a_schedule_that_never_comes_is_a_mistake() {
        let failure = coming(daily("0 0 30 2 *"), DateTime::UNIX_EPOCH).unwrap_err();
        assert_eq!(
            (failure.code, failure.message.as_str()),
            (2, "sales: cron expression `0 0 30 2 *` never comes due")
        );
    }
}
