//! A series as it stood on the evening of one cut-off, and what each model made of it.

use chrono::NaiveDate;

use super::ahead::{self, Ahead};
use super::model::Model;
use super::prepare::History;
use super::short::{self, Sample};
use super::types::{DayState, Series};
use crate::calendar::Kind;
use crate::regression::{Contribution, Design, Fit, Pool, fit, median};

/// A day of a holiday has an error of its own, beyond what its effect's estimate has:
/// no Christmas is like the last.
const OCCASION_SD: f64 = 0.05;
/// Yearly waves of the regression. The notes have three or four; measured on panels whose year has
/// bumps of two weeks, eight take 2 to 4 percent off the MASE, for a single store too. Where nobody told the
/// holidays, narrow waves would take them for the time of year, a weekday off each year: there four are best.
const WAVES: u8 = 8;
const WAVES_WITHOUT_HOLIDAYS: u8 = 4;
/// Open days below which nothing is forecast, and below which only the group's knowledge carries.
pub(super) const SHORTEST: usize = 14;
pub(super) const YOUNG: usize = 56;
/// A history longer than this is a mistake in a date.
const MOST_DAYS: usize = 30 * 366;
/// Days without news before a forecast is flagged, and before there is none.
pub(super) const STALE_DAYS: usize = 3;
pub(super) const SILENT_DAYS: usize = 14;

/// The scale on which a series is modelled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// Effects multiply.
    Log,
    /// Effects add; values are counted in this unit.
    Plain(f64),
}

impl Scale {
    pub(super) fn to(self, value: f64) -> f64 {
        match self {
            Self::Log => value.ln(),
            Self::Plain(unit) => value / unit,
        }
    }

    pub(super) fn back(self, value: f64) -> f64 {
        match self {
            Self::Log => value.exp(),
            Self::Plain(unit) => value * unit,
        }
    }
}

/// One model's look ahead on the scale of the model, calendar included.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) model: Model,
    pub(super) centre: Vec<f64>,
    pub(super) deviation: Vec<f64>,
    pub(super) parameters: Vec<f64>,
    /// What it took, regression included.
    pub(super) seconds: f64,
}

/// What could be done with a series at a cut-off.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing: the reason.
    Nothing(String),
    /// An amount again and again.
    Constant(f64, String),
    /// A sample of what the day may bring, by day ahead.
    Samples(Vec<Sample>),
    /// Models that compete.
    Models(Box<Models>),
}

#[derive(Debug)]
pub(super) struct Models {
    pub(super) scale: Scale,
    pub(super) fit: Fit,
    pub(super) candidates: Vec<Candidate>,
    /// Why a model is not among them.
    pub(super) failures: Vec<(Model, String)>,
    /// What is usual on each day ahead, calendar included: the guard rails' middle.
    pub(super) usual: Vec<f64>,
    /// The group knew nothing, or the history is short.
    pub(super) young: bool,
}

/// A series at a cut-off.
#[derive(Debug)]
pub(super) struct Study {
    pub(super) cutoff: NaiveDate,
    pub(super) history: History,
    pub(super) design: Design,
    pub(super) outcome: Outcome,
    /// Open days without news before the cut-off.
    pub(super) silent: usize,
}

/// What the regression made of a history.
pub(super) struct Regressed {
    pub(super) history: History,
    pub(super) design: Design,
    pub(super) scale: Scale,
    pub(super) fit: Option<Fit>,
}

fn waves(series: &Series, days: usize, group_knows: bool) -> u8 {
    let mut events = series.calendar.iter().chain(&series.events);
    let all = if events.any(|event| event.kind == Kind::Holiday) { WAVES } else { WAVES_WITHOUT_HOLIDAYS };
    match days {
        _ if group_knows => all,
        500.. => all,
        300..500 => 1,
        _ => 0,
    }
}

fn design(series: &Series, days: usize, horizon: usize, cutoff: NaiveDate, waves: u8) -> Design {
    let events = series.calendar.iter().chain(&series.events);
    Design::new(series.first, days + horizon, events, cutoff, waves)
}

/// The scale of a history, and its values on it; days that do not count are `NaN`. Where `multiplies` is not
/// given, effects multiply unless more than 2 % of the values are not above zero.
fn scaled(history: &mut History, multiplies: Option<bool>) -> (Scale, Vec<f64>) {
    let negative =
        (0..history.values.len()).filter(|day| history.value(*day).is_some_and(|value| value <= 0.0)).count();
    let scale = if multiplies.unwrap_or(negative * 50 <= history.observed) {
        // A few days on which more came back than went out teach nothing about the others.
        for day in 0..history.values.len() {
            if history.states[day].counts() && history.values[day] <= 0.0 {
                history.states[day] = DayState::Partial;
            }
        }
        Scale::Log
    } else {
        let mut sizes: Vec<f64> =
            (0..history.values.len()).filter_map(|day| history.value(day)).map(f64::abs).collect();
        Scale::Plain(Some(median(&mut sizes)).filter(|unit| *unit > 0.0).unwrap_or(1.0))
    };
    let values = (0..history.values.len()).map(|day| history.value(day).map_or(f64::NAN, |value| scale.to(value)));
    (scale, values.collect())
}

/// Says what a series has to tell its group on the evening of `cutoff`.
pub(super) fn contribution(series: &Series, cutoff: NaiveDate) -> Option<Contribution> {
    let days = days_until(series, cutoff)?;
    let mut design = design(series, days, 0, cutoff, waves(series, days, false));
    let mut history = History::of(series, &design, days);
    history.close_holidays(&mut design);
    if history.intermittent || history.observed < YOUNG {
        return None;
    }
    let (_, values) = scaled(&mut history, series.multiplies);
    let general = Pool::general(&design);
    let fit = fit(&values, &design, &general)?;
    Some(Contribution::of(&fit, &design, &general))
}

fn days_until(series: &Series, cutoff: NaiveDate) -> Option<usize> {
    usize::try_from((cutoff - series.first).num_days() + 1).ok().filter(|days| (1..=MOST_DAYS).contains(days))
}

/// Fits the regression on the evening of `cutoff`, with what the group knew by then.
pub(super) fn regressed(series: &Series, pool: &Pool, cutoff: NaiveDate, horizon: usize) -> Option<Regressed> {
    let days = days_until(series, cutoff)?;
    let known = pool.knows_season(&series.group);
    let mut design = design(series, days, horizon, cutoff, waves(series, days, known));
    let mut history = History::of(series, &design, days);
    history.close_holidays(&mut design);
    if history.intermittent {
        return Some(Regressed { history, design, scale: Scale::Log, fit: None });
    }
    let (scale, values) = scaled(&mut history, series.multiplies);
    let own = contribution(series, cutoff);
    let priors = pool.priors(&series.group, &series.id, &design, own.as_ref());
    let fit = fit(&values, &design, &priors);
    Some(Regressed { history, design, scale, fit })
}

/// Studies a series on the evening of `cutoff` by `models`; `starts` is where the
/// search for a model's parameters begins.
pub(super) fn study(
    series: &Series,
    pool: &Pool,
    cutoff: NaiveDate,
    horizon: usize,
    models: &[Model],
    starts: &[(Model, Vec<f64>)],
    stopwatch: fn() -> f64,
) -> Option<Study> {
    let began = stopwatch();
    let Regressed { mut history, design, scale, fit } = regressed(series, pool, cutoff, horizon)?;
    let silent = short::silent_days(&history);
    let clock = Clock { stopwatch, before: stopwatch() - began };
    let outcome = if let Some(reason) = short::nothing(&history, silent) {
        Outcome::Nothing(reason)
    } else if let Some((value, reason)) = short::constant(&history) {
        Outcome::Constant(value, reason)
    } else if history.intermittent {
        Outcome::Samples(short::samples(&history, horizon))
    } else if let Some(fit) = fit {
        Outcome::Models(Box::new(compete(
            &mut history,
            &design,
            scale,
            fit,
            horizon,
            Entrants { models, starts, clock },
        )))
    } else {
        Outcome::Nothing("the calendar regression found no solution".to_owned())
    };
    Some(Study { cutoff, history, design, outcome, silent })
}

/// The series as it were without its calendar and as if its shifts had always been;
/// gaps from the fit, outliers pulled back.
fn adjusted(history: &mut History, design: &Design, scale: Scale, fit: &Fit) -> Vec<f64> {
    let limit = 4.0 * fit.sigma;
    let last_days = history.values.len().saturating_sub(7);
    (0..history.values.len())
        .map(|day| {
            let expected = fit.level[day] + fit.weekday(design, day);
            let Some(value) = history.value(day) else { return expected };
            let residual = scale.to(value) - expected - fit.effect(design, day) - fit.shifted[day];
            if residual.abs() > limit {
                history.states[day] = DayState::Outlier;
            }
            // The latest days may be news; the filter will not be carried away by a week.
            let limit = if day >= last_days { 1.5 * limit } else { limit };
            expected + residual.clamp(-limit, limit)
        })
        .collect()
}

/// Measures models, the regression before them included.
#[derive(Clone, Copy)]
struct Clock {
    stopwatch: fn() -> f64,
    before: f64,
}

/// Who competes, from which parameters, and by which clock.
struct Entrants<'a> {
    models: &'a [Model],
    starts: &'a [(Model, Vec<f64>)],
    clock: Clock,
}

fn compete(
    history: &mut History,
    design: &Design,
    scale: Scale,
    fit: Fit,
    horizon: usize,
    Entrants { models, starts, clock }: Entrants<'_>,
) -> Models {
    let days = history.values.len();
    let adjusted = adjusted(history, design, scale, &fit);
    let young = history.observed < YOUNG;
    let calendar: Vec<f64> = (days..days + horizon).map(|day| fit.effect(design, day)).collect();
    let variance: Vec<f64> = (days..days + horizon)
        .map(|day| {
            let holiday = design.row(day).iter().any(|(column, _)| {
                matches!(design.effects()[*column as usize], crate::regression::Effect::Holiday(_, 0))
            });
            fit.variance(design, day) + if holiday { OCCASION_SD * OCCASION_SD } else { 0.0 }
        })
        .collect();
    let mut candidates = Vec::new();
    let mut failures = Vec::new();
    let mut add = |model: Model, make: &dyn Fn() -> Result<Ahead, String>| {
        let began = (clock.stopwatch)();
        let result = make();
        let seconds = clock.before + (clock.stopwatch)() - began;
        match result {
            Ok(ahead) => candidates.push(Candidate {
                model,
                centre: ahead.mean.iter().zip(&calendar).map(|(mean, effect)| mean + effect).collect(),
                deviation: ahead.deviation.iter().zip(&variance).map(|(own, more)| (own * own + more).sqrt()).collect(),
                parameters: ahead.parameters,
                seconds,
            }),
            Err(reason) => failures.push((model, reason)),
        }
    };
    if young {
        add(Model::Young, &|| Ok(from_regression(&fit, design, days, horizon)));
    } else {
        for model in models {
            let start = starts.iter().find(|(known, _)| known == model).map(|(_, row)| row.as_slice());
            add(*model, &|| ahead::ahead(*model, &adjusted, horizon, start));
        }
    }
    add(Model::SameWeekdays, &|| ahead::ahead(Model::SameWeekdays, &adjusted, horizon, None));
    let usual = (0..horizon)
        .map(|ahead| {
            let day = days + ahead;
            let same = (0..days).rev().filter(|past| history.weekday(*past) == history.weekday(day));
            let mut same: Vec<f64> =
                same.filter(|past| history.states[*past].counts()).take(8).map(|past| adjusted[past]).collect();
            let middle = if same.is_empty() { fit.level[day] + fit.weekday(design, day) } else { median(&mut same) };
            middle + calendar[ahead]
        })
        .collect();
    Models { scale, fit, candidates, failures, usual, young }
}

/// A young store's level, with weekdays that its group lends it.
fn from_regression(fit: &Fit, design: &Design, days: usize, horizon: usize) -> Ahead {
    let mean = (days..days + horizon).map(|day| fit.level[day] + fit.weekday(design, day)).collect();
    // A level known from few days, walking on as knots do.
    let known = fit.sigma.powi(2) / (days.min(28) as f64 / 3.0).max(1.0);
    let deviation = (0..horizon)
        .map(|ahead| (fit.sigma.powi(2) + known + 0.06_f64.powi(2) * (ahead + 14) as f64 / 28.0).sqrt())
        .collect();
    Ahead { mean, deviation, parameters: Vec::new() }
}
