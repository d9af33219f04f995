//! Prometheus' text format. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::tables::RunFigures;
use crate::backup::What;

/// A status that passes: no counter may go down.
const RUNNING: &str = "running";

/// Writes figures as Prometheus reads them.
pub(super) fn text(
    figures: &[RunFigures],
    mails: &[(String, i64)],
    last_tick: Option<DateTime<Utc>>,
    backups: &BTreeMap<What, DateTime<Utc>>,
) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: Vec<(String, i64)>| {
        let _infallible = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in samples {
            let _infallible = writeln!(text, "{name}{labels} {value}");
        }
    };
    let by_status = |of: fn(&RunFigures) -> i64| {
        let sample = |figure: &RunFigures| (labels(figure, true), of(figure));
        figures.iter().filter(|figure| figure.status != RUNNING).map(sample).collect::<Vec<_>>()
    };
    let going = figures.iter().filter(|figure| figure.status == RUNNING);
    let going = going.map(|figure| (labels(figure, false), figure.runs)).collect();
    family("storekeeper_runs_going", "gauge", "Runs that are going.", going);
    family("storekeeper_runs_total", "counter", "Runs by how they ended.", by_status(|figure| figure.runs));
    family(
        "storekeeper_rows_loaded_total",
        "counter",
        "Rows that reached their tables.",
        by_status(|figure| figure.rows_loaded),
    );
    family(
        "storekeeper_rows_quarantined_total",
        "counter",
        "Rows that were refused.",
        by_status(|figure| figure.rows_quarantined),
    );
    let mut successes: Vec<(String, i64)> = Vec::new();
    for figure in figures.iter().filter(|figure| matches!(figure.status.as_str(), "succeeded" | "nothing_new")) {
        let Some(finished_at) = figure.last_finished_at else {
            continue;
        };
        let (labels, at) = (labels(figure, false), finished_at.timestamp());
        match successes.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, newest)) => *newest = at.max(*newest),
            None => successes.push((labels, at)),
        }
    }
    family("storekeeper_last_success_timestamp_seconds", "gauge", "When a pipeline last ended well.", successes);
    let mails = mails.iter().map(|(state, count)| (format!("{{state=\"{state}\"}}"), *count)).collect();
    family("storekeeper_mails", "gauge", "Mails by how far they came.", mails);
    let tick = last_tick.map(|at| (String::new(), at.timestamp())).into_iter().collect();
    family("storekeeper_scheduler_last_tick_timestamp_seconds", "gauge", "When the scheduler last looked.", tick);
    let backups = backups.iter().map(|(what, at)| (format!("{{what=\"{what}\"}}"), at.timestamp())).collect();
    let help = "When the newest complete backup was begun.";
    family("storekeeper_backup_last_success_timestamp_seconds", "gauge", help, backups);
    text
}

fn labels(figure: &RunFigures, with_status: bool) -> String {
    let pair = |name: &str, value: &str| {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        format!("{name}=\"{value}\"")
    };
    let mut pairs = vec![pair("pipeline", &figure.pipeline), pair("brand", &figure.brand)];
    if with_status {
        pairs.push(pair("status", &figure.status));
    }
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn a_scrape_has_runs_rows_and_the_last_success() {
        let figure = |status: &str, second: i64| RunFigures {
            pipeline: "sales\"x".into(),
            brand: "harbor".into(),
            status: status.into(),
            runs: 2,
            rows_loaded: 10,
            rows_quarantined: 1,
            last_finished_at: DateTime::from_timestamp(second, 0),
        };
        let figures =
            [figure("running", 350), figure("failed", 300), figure("nothing_new", 200), figure("succeeded", 100)];
        let backups = [(What::Warehouse, DateTime::UNIX_EPOCH + chrono::TimeDelta::seconds(500))].into();
        assert_snapshot!(text(&figures, &[("sent".into(), 4)], DateTime::from_timestamp(400, 0), &backups), @r#"
        # HELP storekeeper_runs_going Runs that are going.
        # TYPE storekeeper_runs_going gauge
        storekeeper_runs_going{pipeline="sales\"x",brand="harbor"} 2
        # HELP storekeeper_runs_total Runs by how they ended.
        # TYPE storekeeper_runs_total counter
        storekeeper_runs_total{pipeline="sales\"x",brand="harbor",status="failed"} 2
        storekeeper_runs_total{pipeline="sales\"x",brand="harbor",status="nothing_new"} 2
        storekeeper_runs_total{pipeline="sales\"x",brand="harbor",status="succeeded"} 2
        # HELP storekeeper_rows_loaded_total Rows that reached their tables.
        # TYPE storekeeper_rows_loaded_total counter
        storekeeper_rows_loaded_total{pipeline="sales\"x",brand="harbor",status="failed"} 10
        storekeeper_rows_loaded_total{pipeline="sales\"x",brand="harbor",status="nothing_new"} 10
        storekeeper_rows_loaded_total{pipeline="sales\"x",brand="harbor",status="succeeded"} 10
        # HELP storekeeper_rows_quarantined_total Rows that were refused.
        # TYPE storekeeper_rows_quarantined_total counter
        storekeeper_rows_quarantined_total{pipeline="sales\"x",brand="harbor",status="failed"} 1
        storekeeper_rows_quarantined_total{pipeline="sales\"x",brand="harbor",status="nothing_new"} 1
        storekeeper_rows_quarantined_total{pipeline="sales\"x",brand="harbor",status="succeeded"} 1
        # HELP storekeeper_last_success_timestamp_seconds When a pipeline last ended well.
        # TYPE storekeeper_last_success_timestamp_seconds gauge
        storekeeper_last_success_timestamp_seconds{pipeline="sales\"x",brand="harbor"} 200
        # HELP storekeeper_mails Mails by how far they came.
        # TYPE storekeeper_mails gauge
        storekeeper_mails{state="sent"} 4
        # HELP storekeeper_scheduler_last_tick_timestamp_seconds When the scheduler last looked.
        # TYPE storekeeper_scheduler_last_tick_timestamp_seconds gauge
        storekeeper_scheduler_last_tick_timestamp_seconds 400
        # HELP storekeeper_backup_last_success_timestamp_seconds When the newest complete backup was begun.
        # TYPE storekeeper_backup_last_success_timestamp_seconds gauge
        storekeeper_backup_last_success_timestamp_seconds{what="warehouse"} 500
        "#);
    }
}
