//! Goes over all series: once to learn, once to forecast.

use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use chrono::NaiveDate;

use super::choose::{self, Choice, GroupTrial, MEMBERS, Trial, candidate};
use super::earlier;
use super::grain::Grain;
use super::model::Model;
use super::order::in_order;
use super::periods;
use super::publish::{self, Published};
use super::study::{self, Models, Outcome, SHORTEST, Study};
use super::types::{Champion, EffectEstimate, Forecast, Options, Series, Status};
use crate::regression::{Contribution, Pool, Pooling, hash};
use crate::sums::Residuals;

/// Series of a group that are tried on earlier cut-offs to calibrate all of it.
const SAMPLE: usize = 40;
/// Models in a competition; the mean of those and the same weekdays join in.
pub(super) const COMPETITORS: &[Model] =
    &[Model::CalendarSarima, Model::CalendarSarimaSearched, Model::CalendarEts, Model::CalendarTheta];

/// What groups know together, by cut-off. Made by [`learn`].
#[derive(Debug, Clone, Default)]
pub struct Knowledge {
    /// Oldest first; the last one is the options'.
    pub(super) cutoffs: Vec<NaiveDate>,
    pub(super) pools: Vec<Pool>,
    /// By cut-off and group, from a sample of series.
    pub(super) trials: Vec<BTreeMap<String, GroupTrial>>,
}

impl Knowledge {
    /// What is known of a group's effects on the last cut-off.
    pub fn pool(&self) -> Option<&Pool> {
        self.pools.last()
    }

    /// The mean correlation of two series' errors on one day, 0 to 1: what a sum of forecasts of a group must know
    /// ([`Sum::of`](crate::sums::Sum::of)). `None` where too few were tried together.
    pub fn correlation(&self, group: &str) -> Option<f64> {
        let mut all = Residuals::default();
        self.trials.iter().filter_map(|trials| trials.get(group)).for_each(|trial| all.merge(&trial.residuals));
        all.correlation()
    }

    /// How many series were named twice or could not be learned from is seen in their forecasts.
    pub fn cutoffs(&self) -> &[NaiveDate] {
        &self.cutoffs
    }
}

/// Learns from all series what their groups know together: on the cut-off, and on
/// `options.origins + windows - 1` earlier ones, `options.horizon` steps apart. `windows` is 1
/// for a forecast, and the number of windows for a backtest.
pub fn learn(series: impl Iterator<Item = Series> + Send, options: &Options, windows: usize) -> Knowledge {
    let earlier = options.origins + windows.max(1) - 1;
    let back = |steps: usize| options.grain.back(options.cutoff, steps * options.horizon);
    let cutoffs: Vec<NaiveDate> = (0..=earlier).rev().map(back).collect();
    if options.grain != Grain::Day {
        let pools = vec![Pool::default(); cutoffs.len()];
        return Knowledge { trials: vec![BTreeMap::new(); cutoffs.len()], cutoffs, pools };
    }
    let mut poolings = vec![Pooling::default(); cutoffs.len()];
    // Those of lowest hash, whatever the order; held for the trials.
    let mut sample: BTreeMap<String, BTreeMap<u64, Series>> = BTreeMap::new();
    let work = |series: Series| {
        let said: Vec<Option<Contribution>> = cutoffs
            .iter()
            .map(|cutoff| catch_unwind(AssertUnwindSafe(|| study::contribution(&series, *cutoff))).ok().flatten())
            .collect();
        (series, said)
    };
    in_order(options.threads, series, work, |(series, said)| {
        for (pooling, contribution) in poolings.iter_mut().zip(said) {
            if let Some(contribution) = contribution {
                pooling.add(&series.group, &series.id, contribution);
            }
        }
        let members = sample.entry(series.group.clone()).or_default();
        members.insert(hash(&series.id), series);
        if members.len() > SAMPLE {
            members.pop_last();
        }
    });
    let pools: Vec<Pool> = poolings.into_iter().map(Pooling::finish).collect();
    let mut knowledge = Knowledge { trials: vec![BTreeMap::new(); cutoffs.len()], cutoffs, pools };
    let sampled = sample.into_values().flat_map(BTreeMap::into_values);
    let mut trials = vec![BTreeMap::<String, GroupTrial>::new(); knowledge.cutoffs.len()];
    let work = |series: Series| {
        let tried = catch_unwind(AssertUnwindSafe(|| all_trials(&series, &knowledge, options)));
        (series.group, tried.unwrap_or_default())
    };
    in_order(options.threads, sampled, work, |(group, tried)| {
        for (at, trial) in tried.iter().enumerate() {
            trials[at].entry(group.clone()).or_default().add(trial);
        }
    });
    knowledge.trials = trials;
    knowledge
}

fn all_trials(series: &Series, knowledge: &Knowledge, options: &Options) -> Vec<Trial> {
    let last = knowledge.cutoffs.len() - 1;
    let mut studied = studies(series, knowledge, options, COMPETITORS, 0..last);
    // The last cut-off's study is asked only for what came about.
    studied.truncate(last);
    studied.extend(studies(series, knowledge, options, &[], last..last + 1).pop());
    trials(&studied, series.first)
}

/// Studies a series on the cut-offs asked for; on others, and where it did not exist yet, there is none.
pub(super) fn studies(
    series: &Series,
    knowledge: &Knowledge,
    options: &Options,
    models: &[Model],
    asked: Range<usize>,
) -> Vec<Option<Study>> {
    let mut starts: Vec<(Model, Vec<f64>)> = Vec::new();
    if let Some(champion) = series.previous.as_ref().filter(|champion| !champion.parameters.is_empty()) {
        starts.push((champion.model, champion.parameters.clone()));
    }
    let mut studies = Vec::new();
    for (at, (cutoff, pool)) in knowledge.cutoffs.iter().zip(&knowledge.pools).enumerate() {
        if !asked.contains(&at) {
            studies.push(None);
            continue;
        }
        let study = study::study(series, pool, *cutoff, options.horizon, models, &starts, options.stopwatch);
        if let Some(Study { outcome: Outcome::Models(models), .. }) = &study {
            // The next cut-off's search begins where this one's ended.
            let ended = models.candidates.iter().filter(|candidate| !candidate.parameters.is_empty());
            starts = ended.map(|candidate| (candidate.model, candidate.parameters.clone())).collect();
        }
        studies.push(study);
    }
    studies
}

/// How each cut-off's study did, by what is known on the last one.
pub(super) fn trials(studies: &[Option<Study>], first: NaiveDate) -> Vec<Trial> {
    let Some(now) = studies.last().and_then(Option::as_ref) else { return vec![Trial::default(); studies.len()] };
    let one = |study: &Option<Study>| study.as_ref().map(|study| choose::trial(study, now, first)).unwrap_or_default();
    studies.iter().map(one).collect()
}

/// Forecasts each series behind the options' cut-off and hands it to `sink`, in the
/// order they came in. `knowledge` is [`learn`]'s from the same options; yesterday's does, too.
pub fn forecast(
    series: impl Iterator<Item = Series> + Send,
    knowledge: &Knowledge,
    options: &Options,
    sink: impl FnMut(Forecast) + Send,
) {
    let work = |series: Series| {
        let made = catch_unwind(AssertUnwindSafe(|| one(&series, knowledge, options)));
        made.unwrap_or_else(|_| withheld(&series, "the forecast broke off; this is a fault of the program".to_owned()))
    };
    in_order(options.threads, series, work, sink);
}

pub(super) fn withheld(series: &Series, reason: String) -> Forecast {
    Forecast {
        id: series.id.clone(),
        group: series.group.clone(),
        status: Status::Withheld,
        model: None,
        reason: reason.clone(),
        fallback_reason: Some(reason),
        points: Vec::new(),
        effects: Vec::new(),
        champion: None,
        backtest: None,
        flags: Vec::new(),
        observed: 0,
        missing: 0,
        states: Vec::new(),
    }
}

fn one(series: &Series, knowledge: &Knowledge, options: &Options) -> Forecast {
    let last = knowledge.cutoffs.len() - 1;
    if options.grain != Grain::Day {
        let from = last.saturating_sub(options.origins);
        return periods::decided(series, &periods::studies(series, knowledge, options, from), last, options.origins);
    }
    let settled = series.previous.as_ref().filter(|_| !options.reselect);
    let (from, models) = match settled {
        None => (last.saturating_sub(options.origins), COMPETITORS.to_vec()),
        Some(champion) if COMPETITORS.contains(&champion.model) => (last, vec![champion.model]),
        Some(Champion { model: Model::CalendarMean, .. }) => (last, MEMBERS.to_vec()),
        Some(_) => (last, vec![Model::CalendarSarima]),
    };
    let studies = studies(series, knowledge, options, &models, from..last + 1);
    decided(series, knowledge, options, &studies, last, series.previous.as_ref())
}

/// Publishes from the study of the cut-off `at`, with competitions on those before.
pub(super) fn decided(
    series: &Series,
    knowledge: &Knowledge,
    options: &Options,
    studies: &[Option<Study>],
    at: usize,
    previous: Option<&Champion>,
) -> Forecast {
    let Some(study) = &studies[at] else {
        let reason =
            if series.first > knowledge.cutoffs[at] { "it begins behind the cut-off" } else { "it begins decades ago" };
        return withheld(series, reason.to_owned());
    };
    let mut forecast = withheld(series, String::new());
    forecast.observed = study.history.observed;
    forecast.missing = study.history.missing;
    forecast.states.clone_from(&study.history.states);
    match &study.outcome {
        Outcome::Nothing(reason) => {
            forecast.reason.clone_from(reason);
            forecast.fallback_reason = Some(reason.clone());
            if let Some(amount) = series.planned.filter(|_| study.history.observed < SHORTEST) {
                let pool = &knowledge.pools[at];
                let published = publish::planned(study, pool, &series.group, options.horizon, amount);
                accept(
                    &mut forecast,
                    published,
                    Model::Planned,
                    "planned: the group's weekdays and effects on it".to_owned(),
                );
                forecast.status = Status::Fallback;
                forecast.fallback_reason = Some(reason.clone());
            }
        }
        Outcome::Constant(value, reason) => {
            let published = publish::constant(study, options.horizon, *value);
            accept(&mut forecast, published, Model::Constant, reason.clone());
            forecast.status = if *value == 0.0 { Status::Dead } else { Status::Fallback };
            forecast.fallback_reason = Some(reason.clone());
        }
        Outcome::Samples(samples) => {
            let reason = "intermittent: zeros are common on open days".to_owned();
            accept(&mut forecast, publish::samples(study, samples), Model::Intermittent, reason);
            let first = at.saturating_sub(options.origins);
            forecast.backtest = earlier::scores(&studies[first..at], study, None);
        }
        Outcome::Models(models) => {
            let first = at.saturating_sub(options.origins);
            let own: Vec<Trial> = studies[first..at]
                .iter()
                .map(|earlier| match earlier {
                    Some(earlier) => choose::trial(earlier, study, series.first),
                    None => Trial::default(),
                })
                .collect();
            let own: Vec<&Trial> = own.iter().collect();
            let group = |trials: &'_ BTreeMap<String, GroupTrial>| trials.get(&series.group).cloned();
            let groups: Vec<GroupTrial> = knowledge.trials[first..at].iter().filter_map(group).collect();
            let mut choice = choose::choose(models, &own, &groups.iter().collect::<Vec<_>>(), previous);
            let mut kept_since = None;
            if let Some(champion) = previous.filter(|_| !options.reselect) {
                kept_since = keep(&mut choice, models, champion);
            }
            let chosen = Some(choice.model);
            let backtest = earlier::scores(&studies[first..at], study, Some(&choice));
            publish_models(&mut forecast, series, knowledge, study, models, choice, at);
            forecast.backtest = backtest.filter(|_| forecast.model == chosen);
            if let (Some(since), Some(champion)) = (kept_since, &mut forecast.champion) {
                champion.chosen_on = since;
            }
        }
    }
    forecast
}

/// Keeps what an earlier run settled on, where that model could be fitted; answers since when.
fn keep(choice: &mut Choice, models: &Models, champion: &Champion) -> Option<NaiveDate> {
    candidate(models, champion.model).map(|_| {
        choice.model = champion.model;
        choice.reason = format!("kept: `{}` was chosen on {}", champion.model, champion.chosen_on);
        choice.factors = champion.factors;
        choice.scores.clone_from(&champion.scores);
        champion.chosen_on
    })
}

fn accept(forecast: &mut Forecast, published: Published, model: Model, reason: String) {
    forecast.status = Status::Forecast;
    forecast.model = Some(model);
    forecast.reason = reason;
    forecast.fallback_reason = None;
    forecast.points = published.points;
    forecast.flags = published.flags;
}

fn publish_models(
    forecast: &mut Forecast,
    series: &Series,
    knowledge: &Knowledge,
    study: &Study,
    models: &Models,
    choice: Choice,
    at: usize,
) {
    forecast.effects = effects(series, knowledge, study, models, at);
    let mut fallback = models.failures.first().map(|(model, reason)| format!("`{model}` failed: {reason}"));
    let chosen = candidate(models, choice.model);
    let first = chosen.ok_or_else(|| format!("`{}` could not be fitted", choice.model));
    let result = first.and_then(|chosen| publish::models(study, models, &chosen, &choice).map(|made| (made, chosen)));
    let result = result.or_else(|reason| {
        let simpler = publish::simpler(models, choice.model).ok_or_else(|| reason.clone())?;
        let made = publish::models(study, models, &simpler, &choice)?;
        fallback = Some(reason);
        Ok::<_, String>((made, simpler))
    });
    match result {
        Ok((published, used)) => {
            accept(forecast, published, used.model, choice.reason.clone());
            let simple = matches!(used.model, Model::Young | Model::SameWeekdays | Model::SeasonalNaive);
            if used.model == Model::Young {
                fallback = Some(format!("young: {} observed days", study.history.observed));
            }
            if simple && fallback.is_some() {
                forecast.status = Status::Fallback;
            }
            forecast.fallback_reason = fallback;
            forecast.champion = Some(Champion {
                model: used.model,
                parameters: used.parameters,
                factors: choice.factors,
                scores: choice.scores,
                chosen_on: study.cutoff,
            });
        }
        Err(reason) => {
            forecast.reason.clone_from(&reason);
            forecast.fallback_reason = Some(reason);
        }
    }
}

fn effects(series: &Series, knowledge: &Knowledge, study: &Study, models: &Models, at: usize) -> Vec<EffectEstimate> {
    let mut seen = vec![0_usize; study.design.effects().len()];
    for day in (0..study.history.values.len()).filter(|day| study.history.states[*day].counts()) {
        study.design.row(day).iter().for_each(|(column, _)| seen[*column as usize] += 1);
    }
    let one = |(column, effect): (usize, &crate::regression::Effect)| EffectEstimate {
        effect: effect.to_string(),
        estimate: models.fit.values[column],
        deviation: models.fit.variances[column].sqrt(),
        pooled: knowledge.pools[at].effect(&series.group, effect).map(|pooled| pooled.mean()),
        seen: seen[column],
    };
    study.design.effects().iter().enumerate().map(one).collect()
}
