//! From a study and a choice to what is published, behind guard rails.

use chrono::Days;

use super::choose::{Choice, Z_80, Z_95, bucket, candidate};
use super::model::Model;
use super::short::Sample;
use super::study::{Candidate, Models, STALE_DAYS, Scale, Study};
use super::types::{Because, Flag, Point};
use crate::regression::{Part, Pool};

/// A day stays within these shares of what is usual on it.
const DAY_RAILS: (f64, f64) = (0.3, 3.0);
/// A horizon's sum outside these shares of what is usual is flagged.
const SUM_RAILS: (f64, f64) = (0.5, 2.0);
/// A forecast of which more than this share was pulled back is not trusted.
const MOST_CLIPPED: f64 = 0.5;
/// The mean of a log-normal grows without bound; a deviation above this says nothing any more.
const MOST_DEVIATION: f64 = 0.8;

/// Points with what was noticed of them.
#[derive(Debug, Default)]
pub(super) struct Published {
    pub(super) points: Vec<Point>,
    pub(super) flags: Vec<Flag>,
}

fn closed_on(study: &Study, day: usize) -> bool {
    study.design.is_closed(day) || study.history.never[study.history.weekday(day)]
}

fn point(study: &Study, ahead: usize) -> Point {
    let date = study.cutoff + Days::new(ahead as u64 + 1);
    Point {
        date,
        lead: ahead + 1,
        median: 0.0,
        mean: 0.0,
        interval_80: (0.0, 0.0),
        interval_95: (0.0, 0.0),
        closed: closed_on(study, study.history.values.len() + ahead),
        clipped: false,
        deviation: 0.0,
        because: Because::default(),
    }
}

fn general_flags(study: &Study) -> Vec<Flag> {
    if study.silent > STALE_DAYS { vec![Flag::Stale] } else { Vec::new() }
}

/// Publishes a candidate; `Err` says which guard it failed.
pub(super) fn models(study: &Study, models: &Models, chosen: &Candidate, choice: &Choice) -> Result<Published, String> {
    let days = study.history.values.len();
    let scale = models.scale;
    let negative = scale != Scale::Log;
    let mut published = Published { flags: general_flags(study), ..Published::default() };
    let (mut clipped, mut open) = (0_usize, 0_usize);
    let (mut sum, mut usual_sum) = (0.0, 0.0);
    for (ahead, (centre, deviation)) in chosen.centre.iter().zip(&chosen.deviation).enumerate() {
        let mut point = point(study, ahead);
        if !centre.is_finite() || !deviation.is_finite() {
            return Err(format!("`{}` forecast something that is no number", chosen.model));
        }
        if !point.closed {
            open += 1;
            let usual = models.usual[ahead];
            let railed = match scale {
                Scale::Log => centre.clamp(usual + DAY_RAILS.0.ln(), usual + DAY_RAILS.1.ln()),
                Scale::Plain(_) => *centre,
            };
            point.clipped = railed != *centre;
            clipped += usize::from(point.clipped);
            let (factor_80, factor_95) = choice.factors[bucket(ahead + 1)];
            let half_80 = Z_80 * factor_80 * deviation;
            let half_95 = (Z_95 * factor_95 * deviation).max(half_80);
            let floor = |value: f64| if negative { value } else { value.max(0.0) };
            let back = |value: f64| floor(scale.back(value));
            point.median = back(railed);
            point.interval_80 = (back(railed - half_80), back(railed + half_80));
            point.interval_95 = (back(railed - half_95), back(railed + half_95));
            let spread = (factor_80 * deviation).min(MOST_DEVIATION);
            point.mean = match scale {
                Scale::Log => point.median * (spread * spread / 2.0).exp(),
                Scale::Plain(_) => point.median,
            };
            point.deviation = *deviation;
            point.because = because(models, study, days + ahead, railed);
            sum += point.median;
            usual_sum += back(usual);
        }
        published.points.push(point);
    }
    if open > 0 && clipped as f64 > MOST_CLIPPED * open as f64 {
        return Err(format!("`{}` left the guard rails on {clipped} of {open} days", chosen.model));
    }
    if clipped > 0 {
        published.flags.push(Flag::Clipped);
    }
    if usual_sum > 0.0 && !(SUM_RAILS.0..=SUM_RAILS.1).contains(&(sum / usual_sum)) {
        published.flags.push(Flag::UnusualSum);
    }
    if models.fit.shifts.iter().any(|(day, _)| day + 56 >= days) {
        published.flags.push(Flag::LevelShift);
    }
    Ok(published)
}

fn because(models: &Models, study: &Study, day: usize, centre: f64) -> Because {
    let unit = match models.scale {
        Scale::Log => 1.0,
        Scale::Plain(unit) => unit,
    };
    let parts: Vec<(Part, f64)> =
        models.fit.parts(&study.design, day).into_iter().map(|(part, amount)| (part, amount * unit)).collect();
    let explained: f64 = parts.iter().map(|(_, amount)| amount).sum();
    Because { multiplies: models.scale == Scale::Log, level: centre * unit - explained, parts }
}

/// Publishes one amount for every open day.
pub(super) fn constant(study: &Study, horizon: usize, value: f64) -> Published {
    let points = (0..horizon).map(|ahead| {
        let mut point = point(study, ahead);
        if !point.closed {
            (point.median, point.mean) = (value, value);
            (point.interval_80, point.interval_95) = ((value, value), (value, value));
            point.because.level = value;
        }
        point
    });
    Published { points: points.collect(), flags: general_flags(study) }
}

/// How far a plan is usually off, on the log scale.
const PLAN_DEVIATION: f64 = 0.35;

/// Publishes a planned amount with the group's weekdays and effects.
pub(super) fn planned(study: &Study, pool: &Pool, group: &str, horizon: usize, amount: f64) -> Published {
    let days = study.history.values.len();
    let points = (0..horizon).map(|ahead| {
        let mut point = point(study, ahead);
        if point.closed {
            return point;
        }
        let mut parts: Vec<(Part, f64)> = Vec::new();
        for (column, value) in study.design.row(days + ahead) {
            let effect = &study.design.effects()[*column as usize];
            let Some(known) = pool.effect(group, effect) else { continue };
            match parts.iter_mut().find(|(part, _)| *part == effect.part()) {
                Some((_, sum)) => *sum += known.mean() * value,
                None => parts.push((effect.part(), known.mean() * value)),
            }
        }
        let centre = amount.ln() + parts.iter().map(|(_, size)| size).sum::<f64>();
        let bounds = |z: f64| ((centre - z * PLAN_DEVIATION).exp(), (centre + z * PLAN_DEVIATION).exp());
        (point.median, point.mean) = (centre.exp(), (centre + PLAN_DEVIATION.powi(2) / 2.0).exp());
        (point.interval_80, point.interval_95) = (bounds(Z_80), bounds(Z_95));
        point.deviation = PLAN_DEVIATION;
        point.because = Because { multiplies: true, level: amount.ln(), parts };
        point
    });
    Published { points: points.collect(), flags: Vec::new() }
}

/// Publishes the quantiles of what days may bring.
pub(super) fn samples(study: &Study, samples: &[Sample]) -> Published {
    let points = samples.iter().enumerate().map(|(ahead, sample)| {
        let mut point = point(study, ahead);
        if !point.closed {
            point.median = sample.quantile(0.5);
            point.mean = sample.mean();
            point.interval_80 = (sample.quantile(0.1), sample.quantile(0.9));
            point.interval_95 = (sample.quantile(0.025), sample.quantile(0.975));
            point.deviation = sample.deviation();
            point.because.level = point.median;
        }
        point
    });
    Published { points: points.collect(), flags: general_flags(study) }
}

/// The candidate to publish when the chosen one failed its guards: the mean of the same
/// weekdays with the calendar.
pub(super) fn simpler(models: &Models, failed: Model) -> Option<Candidate> {
    [Model::SameWeekdays].into_iter().filter(|model| *model != failed).find_map(|model| candidate(models, model))
}
