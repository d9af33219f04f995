//! Which model is published, and how wide its intervals must be.

use std::collections::BTreeMap;

use chrono::{Datelike as _, Days, NaiveDate};

use super::model::Model;
use super::score::scales;
use super::study::{Candidate, Models, Outcome, Study};
use super::types::{Champion, ModelScore};
use crate::sums::Residuals;

/// A challenger must be better by this share to take the place of the champion.
/// The notes say 2 percent; measured, 3 changes models less often and forecasts no worse.
const HYSTERESIS: f64 = 0.03;
/// How many origins of its own a series' group counts for.
/// Three origins of 28 days tell models of 3 percent apart hardly better than a coin does.
const GROUP_ORIGINS: f64 = 9.0;
/// How many days of its own a group's calibration counts for.
const GROUP_DAYS: f64 = 60.0;
/// Factors stay within these.
pub(super) const FACTOR_RANGE: (f64, f64) = (0.7, 2.0);
pub(super) const Z_80: f64 = 1.281_551_565_544_600_4;
pub(super) const Z_95: f64 = 1.959_963_984_540_054;
/// The models whose mean is a model of its own.
pub(super) const MEMBERS: [Model; 3] = [Model::CalendarSarima, Model::CalendarEts, Model::CalendarTheta];

/// Leads 1-7, 8-14 and later are calibrated and weighed apart.
pub(super) fn bucket(lead: usize) -> usize {
    match lead {
        0..=7 => 0,
        8..=14 => 1,
        _ => 2,
    }
}

/// How the models of a series did from one earlier cut-off.
#[derive(Debug, Clone, Default)]
pub(super) struct Trial {
    /// By model: its weighted MASE and the days scored.
    pub(super) scores: Vec<(Model, f64, usize)>,
    /// By model and bucket of leads: |error| over deviation.
    pub(super) ratios: Vec<(Model, [Vec<f64>; 3])>,
    /// By day: error over deviation of the first model.
    pub(super) residuals: Vec<(NaiveDate, f64)>,
}

/// What a group's series say of models and widths from one earlier cut-off.
#[derive(Debug, Clone, Default)]
pub(super) struct GroupTrial {
    /// Sums of logarithms of scores relative to the first model's, and how many.
    scores: BTreeMap<Model, (f64, usize)>,
    ratios: BTreeMap<Model, [Vec<f64>; 3]>,
    /// How the series were off together.
    pub(super) residuals: Residuals,
}

impl GroupTrial {
    pub(super) fn add(&mut self, trial: &Trial) {
        let first = trial.scores.iter().find(|(model, ..)| *model == Model::CalendarSarima);
        if let Some((_, reference, _)) = first.filter(|(_, score, _)| *score > 0.0) {
            for (model, score, _) in &trial.scores {
                let sum = self.scores.entry(*model).or_default();
                sum.0 += (score / reference).max(1e-3).ln();
                sum.1 += 1;
            }
        }
        for (date, residual) in &trial.residuals {
            self.residuals.add(i64::from(date.num_days_from_ce()), *residual);
        }
        for (model, ratios) in &trial.ratios {
            let all = self.ratios.entry(*model).or_default();
            for (all, own) in all.iter_mut().zip(ratios) {
                all.extend(own);
            }
        }
    }
}

/// The candidate of a model; the mean of the members is made here.
pub(super) fn candidate(models: &Models, model: Model) -> Option<Candidate> {
    if model != Model::CalendarMean {
        return models.candidates.iter().find(|candidate| candidate.model == model).cloned();
    }
    let members: Vec<&Candidate> =
        models.candidates.iter().filter(|candidate| MEMBERS.contains(&candidate.model)).collect();
    if members.len() < 2 {
        return None;
    }
    let mean = |of: &dyn Fn(&Candidate) -> &Vec<f64>| -> Vec<f64> {
        let days = of(members[0]).len();
        (0..days).map(|day| members.iter().map(|member| of(member)[day]).sum::<f64>() / members.len() as f64).collect()
    };
    Some(Candidate {
        model,
        centre: mean(&|candidate| &candidate.centre),
        deviation: mean(&|candidate| &candidate.deviation),
        // Its members begin anew.
        parameters: Vec::new(),
        seconds: members.iter().map(|member| member.seconds).sum(),
    })
}

fn all_candidates(models: &Models) -> Vec<Candidate> {
    let mut all = models.candidates.clone();
    all.extend(candidate(models, Model::CalendarMean));
    all
}

/// Compares what was studied on an earlier cut-off with what `now` has observed since.
/// `first` is the first day of the series.
pub(super) fn trial(study: &Study, now: &Study, first: NaiveDate) -> Trial {
    let mut trial = Trial::default();
    let Outcome::Models(models) = &study.outcome else { return trial };
    let days = study.history.values.len();
    let Some(scale) = scales(&study.history).absolute else { return trial };
    for candidate in all_candidates(models) {
        let mut ratios: [Vec<f64>; 3] = Default::default();
        let mut sums = [(0.0, 0_usize); 3];
        for (at, (centre, deviation)) in candidate.centre.iter().zip(&candidate.deviation).enumerate() {
            let day = days + at;
            if day >= now.history.values.len() || study.design.is_closed(day) {
                continue;
            }
            let Some(actual) = now.history.value(day) else { continue };
            let bucket = bucket(at + 1);
            sums[bucket].0 += (actual - models.scale.back(*centre)).abs() / scale;
            sums[bucket].1 += 1;
            let on_scale = models.scale.to(actual);
            if on_scale.is_finite() && *deviation > 0.0 {
                let residual = (on_scale - centre) / deviation;
                ratios[bucket].push(residual.abs());
                if candidate.model == Model::CalendarSarima {
                    trial.residuals.push((first + Days::new(day as u64), residual));
                }
            }
        }
        let weights = [0.5, 0.3, 0.2];
        let (mut score, mut weight) = (0.0, 0.0);
        for ((sum, count), share) in sums.iter().zip(weights).filter(|((_, count), _)| *count > 0) {
            score += share * sum / *count as f64;
            weight += share;
        }
        if weight > 0.0 && score.is_finite() {
            trial.scores.push((candidate.model, score / weight, sums.iter().map(|(_, count)| count).sum()));
            trial.ratios.push((candidate.model, ratios));
        }
    }
    trial
}

/// A model, why, and its factors.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) model: Model,
    pub(super) reason: String,
    pub(super) scores: Vec<ModelScore>,
    pub(super) factors: [(f64, f64); 3],
}

/// Decides by a series' own trials, its group's, and who was champion.
pub(super) fn choose(
    models: &Models,
    trials: &[&Trial],
    groups: &[&GroupTrial],
    previous: Option<&Champion>,
) -> Choice {
    let available: Vec<Model> = all_candidates(models).iter().map(|candidate| candidate.model).collect();
    let mut scores: Vec<ModelScore> = Vec::new();
    let mut relative: Vec<(f64, Model)> = Vec::new();
    for model in &available {
        let own: Vec<(f64, f64, usize)> = trials.iter().filter_map(|trial| against_first(trial, *model)).collect();
        let days = own.iter().map(|(.., days)| days).sum();
        let logs: f64 = own.iter().map(|(ratio, ..)| ratio.ln()).sum();
        let (mut group_logs, mut group_count) = (0.0, 0_usize);
        for (sum, count) in groups.iter().filter_map(|group| group.scores.get(model)) {
            group_logs += sum;
            group_count += count;
        }
        let group_weight = if group_count >= 6 { GROUP_ORIGINS } else { 0.0 };
        let weight = own.len() as f64 + group_weight;
        if weight > 0.0 {
            let group = if group_count > 0 { group_logs / group_count as f64 } else { 0.0 };
            relative.push(((logs + group_weight * group) / weight, *model));
        }
        if !own.is_empty() {
            let mase = own.iter().map(|(_, score, _)| score).sum::<f64>() / own.len() as f64;
            scores.push(ModelScore { model: *model, mase, days });
        }
    }
    relative.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let fallback = [Model::CalendarSarima, Model::CalendarEts, Model::CalendarTheta, Model::Young, Model::SameWeekdays];
    let default = fallback.into_iter().find(|model| available.contains(model)).unwrap_or(Model::SameWeekdays);
    let champion = previous.map(|champion| champion.model).filter(|model| available.contains(model));
    let (model, reason) = match (relative.first(), champion) {
        _ if models.young => (default, "young: the group's knowledge carries it".to_owned()),
        (None, Some(champion)) => (champion, format!("kept: `{champion}` was not challenged")),
        (None, None) => (default, format!("no competition: `{default}` by default")),
        (Some((best, challenger)), champion) => {
            // Without a champion, the first model is the one to beat.
            let holder = champion.unwrap_or(default);
            let held = relative.iter().find(|(_, model)| *model == holder).map(|(log, _)| *log);
            let kept = held.is_some_and(|held| *best > held + (1.0 - HYSTERESIS).ln());
            let gain = held.map(|held| 100.0 * (1.0 - (best - held).exp()));
            match (kept, gain) {
                (true, _) if *challenger == holder => (holder, format!("`{holder}` won")),
                (true, Some(gain)) => (holder, format!("kept: `{challenger}` is better by {gain:.1} % only")),
                (_, Some(gain)) => (*challenger, format!("`{challenger}` beat `{holder}` by {gain:.1} %")),
                (_, None) => (*challenger, format!("`{challenger}` won; `{holder}` could not compete")),
            }
        }
    };
    Choice { model, reason, scores, factors: factors(model, trials, groups) }
}

/// A model's score over the first model's, its score, and its days.
fn against_first(trial: &Trial, model: Model) -> Option<(f64, f64, usize)> {
    let of = |wanted: Model| trial.scores.iter().find(|(model, ..)| *model == wanted);
    let (_, score, days) = of(model)?;
    // Where the first model was not tried, the series was too young then to say anything.
    let (_, reference, _) = *of(Model::CalendarSarima)?;
    (reference > 0.0).then(|| ((score / reference).max(1e-3), *score, *days))
}

fn factors(model: Model, trials: &[&Trial], groups: &[&GroupTrial]) -> [(f64, f64); 3] {
    std::array::from_fn(|bucket| {
        let mut own: Vec<f64> = Vec::new();
        for trial in trials {
            let ratios = trial.ratios.iter().filter(|(known, _)| *known == model);
            ratios.for_each(|(_, ratios)| own.extend(&ratios[bucket]));
        }
        let mut all: Vec<f64> = Vec::new();
        for group in groups {
            if let Some(ratios) = group.ratios.get(&model) {
                all.extend(&ratios[bucket]);
            }
        }
        own.sort_by(f64::total_cmp);
        all.sort_by(f64::total_cmp);
        let factor = |share: f64, z: f64| {
            let of = |ratios: &[f64]| quantile(ratios, share).map(|value| value / z);
            let shared = if all.len() >= 100 { of(&all).unwrap_or(1.0) } else { 1.0 };
            let weight = own.len() as f64 / (own.len() as f64 + GROUP_DAYS);
            let factor = of(&own).map_or(shared, |own| weight * own + (1.0 - weight) * shared);
            factor.clamp(FACTOR_RANGE.0, FACTOR_RANGE.1)
        };
        (factor(0.80, Z_80), factor(0.95, Z_95))
    })
}

/// The smallest value that at least `share` of a sorted sample, and one more, is not above: the
/// finite-sample quantile of conformal prediction.
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = ((sorted.len() as f64 + 1.0) * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1).min(sorted.len().checked_sub(1)?)).copied()
}
