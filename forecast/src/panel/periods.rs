//! Series by the week or the month: a holiday moves within its step and is no effect of it, and a
//! chain's calendar says little of a month. The general models forecast them, series by series.
//!
//! Sources as in [`crate::automatic()`]; the factors of the intervals as for series by the day.

use chrono::NaiveDate;

use super::choose::{FACTOR_RANGE, Z_80, Z_95, quantile};
use super::grain::Grain;
use super::model::Model;
use super::run::{Knowledge, withheld};
use super::score::{DayKind, Judged, Scores, judged};
use super::types::{Because, DayState, Flag, Forecast, Options, Point, Series, Status};
use crate::accuracy::Scales;
use crate::{Step, automatic};

/// Observed steps below which nothing is forecast.
const SHORTEST: usize = 8;
/// Steps without news before there is no forecast.
const SILENT: usize = 3;
/// A longer history is a mistake in a date.
const MOST: usize = 3000;
/// How many errors of its own count as much as the model's word for its width.
const PRIOR_ERRORS: f64 = 20.0;
/// A forecast stays within these shares of the least and of the most that was seen.
const RAILS: (f64, f64) = (0.3, 3.0);

/// A series as it stood on the evening of a cut-off, and what the models made of it.
pub(super) struct Study {
    values: Vec<Option<f64>>,
    grain: Grain,
    /// The season that the history is long enough for; 1 where it is not.
    season: usize,
    /// The first day of the first step ahead.
    next: NaiveDate,
    outcome: Result<Looked, String>,
}

struct Looked {
    model: Model,
    reason: String,
    steps: Vec<Step>,
}

impl Study {
    /// Studies a series; `None` where it begins behind the cut-off, or decades before.
    pub(super) fn of(series: &Series, options: &Options, cutoff: NaiveDate) -> Option<Self> {
        let grain = options.grain;
        let next = grain.start_of(cutoff + chrono::Days::new(1));
        let steps = usize::try_from(grain.steps(series.first, next)).ok().filter(|steps| (1..=MOST).contains(steps))?;
        let counts = |at: usize| series.states.get(at).is_none_or(|state| state.counts());
        let value = |at: usize| series.values.get(at).copied().filter(|value| value.is_finite() && counts(at));
        let values: Vec<Option<f64>> = (0..steps).map(value).collect();
        let season = if steps >= 2 * grain.season() + 4 { grain.season() } else { 1 };
        let outcome = look(&values, grain, season, options.horizon);
        Some(Self { values, grain, season, next, outcome })
    }

    /// The scales of the errors, and the season they are of: a year, where one can be compared with another.
    pub(super) fn scales(&self) -> Scales {
        Scales::of(&self.values, self.season)
    }

    /// What is published with intervals wider or narrower by `factors`.
    fn points(&self, (factor_80, factor_95): (f64, f64)) -> Vec<Point> {
        let Ok(looked) = &self.outcome else { return Vec::new() };
        let seen = || self.values.iter().flatten().copied();
        let positive = seen().all(|value| value >= 0.0);
        let (low, high) = (RAILS.0 * seen().fold(f64::MAX, f64::min), RAILS.1 * seen().fold(0.0, f64::max));
        let one = |(ahead, step): (usize, &Step)| {
            let railed = if positive { step.mean.clamp(low, high) } else { step.mean };
            let floor = |value: f64| if positive { value.max(0.0) } else { value };
            let half_80 = Z_80 * factor_80 * step.standard_error;
            let half_95 = (Z_95 * factor_95 * step.standard_error).max(half_80);
            Point {
                date: self.grain.after(self.next, ahead),
                lead: ahead + 1,
                median: railed,
                mean: railed,
                interval_80: (floor(railed - half_80), railed + half_80),
                interval_95: (floor(railed - half_95), railed + half_95),
                closed: false,
                clipped: railed != step.mean,
                deviation: step.standard_error,
                because: Because { multiplies: false, level: railed, parts: Vec::new() },
            }
        };
        looked.steps.iter().enumerate().map(one).collect()
    }
}

/// Steps without news at the end.
fn silent_steps(values: &[Option<f64>]) -> usize {
    values.iter().rev().take_while(|value| value.is_none()).count()
}

fn look(values: &[Option<f64>], grain: Grain, season: usize, horizon: usize) -> Result<Looked, String> {
    let seen: Vec<f64> = values.iter().flatten().copied().collect();
    let words = grain.plural();
    if seen.len() < SHORTEST {
        return Err(format!("too_short: {} observed {words} of {SHORTEST} needed", seen.len()));
    }
    let silent = silent_steps(values);
    if silent >= SILENT {
        return Err(format!("stale: nothing was observed for {silent} {words}"));
    }
    let last = seen[seen.len() - 1];
    let same = seen.iter().rev().take_while(|value| **value == last).count();
    if same == seen.len() || same >= grain.season() {
        let reason = format!("{}: {last} in the last {same} {words}", if last == 0.0 { "dead" } else { "constant" });
        let steps = vec![Step { mean: last, standard_error: 0.0 }; horizon];
        return Ok(Looked { model: Model::Constant, reason, steps });
    }
    let found = automatic(values, season, horizon).map_err(|error| error.to_string())?;
    let fine = |step: &Step| step.mean.is_finite() && step.standard_error.is_finite() && step.standard_error >= 0.0;
    if found.steps.len() != horizon || !found.steps.iter().all(fine) {
        return Err("its forecast is not finite".to_owned());
    }
    // The mean of two stands first, and its members behind it.
    let reason = match found.trials.iter().position(|trial| trial.chosen) {
        Some(0) => format!("the mean of `{}` and `{}`", found.trials[1].model, found.trials[2].model),
        Some(at) => format!("`{}` was the best of {}", found.trials[at].model, found.trials.len()),
        None => return Err("no model won".to_owned()),
    };
    Ok(Looked { model: Model::General, reason, steps: found.steps })
}

/// The factors that make intervals honest, from the errors on earlier cut-offs.
fn factors(earlier: &[&Study], now: &Study) -> (f64, f64) {
    let mut ratios: Vec<f64> = Vec::new();
    for study in earlier {
        let Ok(looked) = &study.outcome else { continue };
        for (step, actual) in looked.steps.iter().zip(now.values.iter().skip(study.values.len())) {
            if let Some(actual) = actual.filter(|_| step.standard_error > 0.0) {
                ratios.push((actual - step.mean).abs() / step.standard_error);
            }
        }
    }
    ratios.sort_by(f64::total_cmp);
    let weight = ratios.len() as f64 / (ratios.len() as f64 + PRIOR_ERRORS);
    let factor = |share: f64, z: f64| {
        let own = quantile(&ratios, share).map_or(1.0, |ratio| ratio / z);
        (weight * own + 1.0 - weight).clamp(FACTOR_RANGE.0, FACTOR_RANGE.1)
    };
    (factor(0.80, Z_80), factor(0.95, Z_95))
}

/// Studies a series on the cut-offs from `from` on; on earlier ones there is none.
pub(super) fn studies(series: &Series, knowledge: &Knowledge, options: &Options, from: usize) -> Vec<Option<Study>> {
    let study = |(at, cutoff): (usize, &NaiveDate)| (at >= from).then(|| Study::of(series, options, *cutoff)).flatten();
    knowledge.cutoffs.iter().enumerate().map(study).collect()
}

/// Publishes the study of the cut-off `at`, judged by those of the `origins` before.
pub(super) fn decided(series: &Series, studies: &[Option<Study>], at: usize, origins: usize) -> Forecast {
    let Some(now) = &studies[at] else {
        return withheld(series, "it begins behind the cut-off, or decades ago".to_owned());
    };
    let earlier: Vec<&Study> = studies[at.saturating_sub(origins)..at].iter().flatten().collect();
    let mut forecast = withheld(series, String::new());
    forecast.observed = now.values.iter().flatten().count();
    forecast.missing = now.values.len() - forecast.observed;
    let state = |value: &Option<f64>| if value.is_some() { DayState::Observed } else { DayState::Missing };
    forecast.states = now.values.iter().map(state).collect();
    match &now.outcome {
        Err(reason) => {
            forecast.reason.clone_from(reason);
            forecast.fallback_reason = Some(reason.clone());
        }
        Ok(looked) => {
            let factors = factors(&earlier, now);
            forecast.model = Some(looked.model);
            forecast.reason.clone_from(&looked.reason);
            forecast.points = now.points(factors);
            forecast.fallback_reason = (looked.model == Model::Constant).then(|| looked.reason.clone());
            forecast.status = match (looked.model, forecast.points.first()) {
                (Model::Constant, Some(point)) if point.median == 0.0 => Status::Dead,
                (Model::Constant, _) => Status::Fallback,
                _ => Status::Forecast,
            };
            if silent_steps(&now.values) > 0 {
                forecast.flags.push(Flag::Stale);
            }
            if forecast.points.iter().any(|point| point.clipped) {
                forecast.flags.push(Flag::Clipped);
            }
            let known = |study: &Study, lead: usize| now.values.get(study.values.len() + lead - 1).copied().flatten();
            let judged: Vec<Judged> =
                earlier.iter().flat_map(|study| normal(&study.points(factors), |lead| known(study, lead))).collect();
            forecast.backtest = (!judged.is_empty()).then(|| Scores::of(&judged, now.scales()));
        }
    }
    forecast
}

/// Holds points against what a series brought later.
pub(super) fn came(study: &Study, series: &Series, points: &[Point]) -> Vec<Judged> {
    normal(points, |lead| series.values.get(study.values.len() + lead - 1).copied().filter(|value| value.is_finite()))
}

fn normal(points: &[Point], actual: impl Fn(usize) -> Option<f64>) -> Vec<Judged> {
    judged(points, &vec![DayKind::Normal; points.len()], actual)
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;

    use super::super::{Report, backtest, forecast, learn};
    use super::*;
    use crate::random::Generator;

    const WEEK: Grain = Grain::Week(Weekday::Mon);

    /// Steps from 2019 on, growing, with a year and noise of 3 percent.
    fn series(grain: Grain, id: &str, steps: usize) -> Series {
        let mut generator = Generator::new(id.len() as u64 + 7);
        let year = grain.season() as f64;
        let value = |step: usize| {
            let turn = std::f64::consts::TAU * step as f64 / year;
            500.0 * (1.0 + 0.25 * turn.sin() + 0.1 * step as f64 / year) * (0.03 * generator.normal()).exp()
        };
        let first = grain.start_of("2019-01-01".parse().unwrap());
        Series::new(id, "leads", first, (0..steps).map(value).collect())
    }

    fn options(grain: Grain, steps: usize, horizon: usize) -> Options {
        let last = grain.end_of(grain.after("2019-01-01".parse().unwrap(), steps - 1));
        Options { grain, horizon, ..Options::at(last) }
    }

    fn made(one: Series, options: &Options) -> Forecast {
        let knowledge = learn([one.clone()].into_iter(), options, 1);
        let mut made = Vec::new();
        forecast([one].into_iter(), &knowledge, options, |forecast| made.push(forecast));
        made.remove(0)
    }

    fn report(one: Series, options: &Options, windows: usize) -> Report {
        let earlier = Options { cutoff: options.grain.back(options.cutoff, options.horizon), ..options.clone() };
        let knowledge = learn([one.clone()].into_iter(), &earlier, windows);
        backtest([one].into_iter(), &knowledge, &earlier, windows, |_, _| {})
    }

    #[test]
    fn months_carry_their_year_on() {
        let options = options(Grain::Month, 72, 12);
        let forecast = made(series(Grain::Month, "a", 72), &options);
        assert_eq!((forecast.status, forecast.model), (Status::Forecast, Some(Model::General)), "{}", forecast.reason);
        let dates: Vec<String> = forecast.points.iter().map(|point| point.date.to_string()).collect();
        assert_eq!((dates[0].as_str(), dates[11].as_str()), ("2025-01-01", "2025-12-01"));
        for (ahead, point) in forecast.points.iter().enumerate() {
            let turn = std::f64::consts::TAU * ahead as f64 / 12.0;
            let expected = 500.0 * (1.0 + 0.25 * turn.sin() + 0.1 * (72 + ahead) as f64 / 12.0);
            assert!((point.mean / expected - 1.0).abs() < 0.06, "{ahead}: {} {expected}", point.mean);
            assert!(point.interval_95.0 < point.interval_80.0 && point.interval_80.1 < point.interval_95.1);
        }
        assert!(forecast.backtest.unwrap().mase.unwrap() < 0.7, "{:?}", forecast.backtest);
    }

    #[test]
    fn weeks_are_judged_on_earlier_cutoffs() {
        let report = report(series(WEEK, "ab", 180), &options(WEEK, 180, 8), 3);
        let windows: Vec<String> = report.windows.iter().map(ToString::to_string).collect();
        assert_eq!(windows, ["2021-12-26", "2022-02-20", "2022-04-17"]);
        assert_eq!((report.published.forecasts, report.grain.as_str()), (3, "week"));
        let scores = report.published.scores;
        assert!(scores.mase.unwrap() < 0.6 && scores.wape.unwrap() < 0.06, "{scores:?}");
        assert!(scores.coverage_95.unwrap() > 0.8, "{scores:?}");
    }

    #[test]
    fn gaps_are_no_zeros_and_what_says_nothing_is_withheld() {
        let options = options(Grain::Month, 40, 6);
        let with = |change: &dyn Fn(&mut Vec<f64>)| {
            let mut one = series(Grain::Month, "abc", 40);
            change(&mut one.values);
            made(one, &options)
        };
        let gaps = with(&|values| (0..8).for_each(|at| values[4 * at + 1] = f64::NAN));
        assert!((gaps.observed, gaps.missing) == (32, 8) && gaps.points.iter().all(|point| point.mean > 300.0));
        let late = with(&|values| values.truncate(38));
        assert_eq!((late.flags.as_slice(), late.points.len()), ([Flag::Stale].as_slice(), 6));
        let silent = with(&|values| values.truncate(37));
        assert_eq!(silent.status, Status::Withheld);
        assert_eq!(silent.reason, "stale: nothing was observed for 3 months");
        let short = with(&|values| values[..33].fill(f64::NAN));
        assert_eq!(short.reason, "too_short: 7 observed months of 8 needed");
        let same = with(&|values| values.fill(12.0));
        assert_eq!((same.status, same.points[5].median), (Status::Fallback, 12.0));
        let ended = with(&|values| values[20..].fill(0.0));
        assert_eq!((ended.status, ended.points[0].mean), (Status::Dead, 0.0));
    }

    #[test]
    fn a_step_that_has_not_ended_is_not_known() {
        let mut options = options(Grain::Month, 40, 2);
        options.cutoff = options.cutoff.pred_opt().unwrap();
        let forecast = made(series(Grain::Month, "abcd", 40), &options);
        assert_eq!((forecast.observed, forecast.points[0].date.to_string()), (39, "2022-04-01".to_owned()));
    }
}
