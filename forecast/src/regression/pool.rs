//! What the series of a group know together.

use std::collections::BTreeMap;

use super::design::Design;
use super::effect::Effect;
use super::fit::{Fit, Prior};

/// Series of a group that are listened to; more would change nothing.
const MOST_SERIES: usize = 512;
/// The spread over series that is expected before any was seen, as a share of the prior's. Stores of a
/// group share their year more than their holidays and promotions, and one store's level is easily
/// taken for a season.
const EXPECTED_SPREAD: f64 = 0.35;
const EXPECTED_SPREAD_OF_YEAR: f64 = 0.15;
/// How many series that expectation counts for.
const EXPECTED_COUNT: f64 = 4.0;

/// What one series says of its effects: estimates as if nothing was believed before,
/// with their variances.
#[derive(Debug, Clone, Default)]
pub struct Contribution {
    estimates: Vec<(Effect, f64, f64)>,
}

impl Contribution {
    /// Takes the prior out of a fit again, effect by effect.
    pub fn of(fit: &Fit, design: &Design, prior: &[Prior]) -> Self {
        let mut estimates = Vec::new();
        let weekdays =
            design.effects().iter().zip(&fit.values).filter(|(effect, _)| matches!(effect, Effect::Weekday(_)));
        let shared = weekdays.map(|(_, value)| value).sum::<f64>() / 7.0;
        for (at, effect) in design.effects().iter().enumerate() {
            let (value, variance, prior) = (fit.values[at], fit.variances[at], prior[at]);
            let before = prior.sd.powi(-2);
            let precision = 1.0 / variance - before;
            // What was hardly seen says nothing.
            if precision < 0.1 * before || !precision.is_finite() {
                continue;
            }
            let estimate = (value / variance - prior.mean * before) / precision;
            // The level takes what weekdays have in common.
            let estimate = if matches!(effect, Effect::Weekday(_)) { estimate - shared } else { estimate };
            estimates.push((effect.clone(), estimate, 1.0 / precision));
        }
        Self { estimates }
    }
}

/// An effect as a group knows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pooled {
    /// Weight of all series, and their weighted sum.
    weight: f64,
    sum: f64,
    /// Variance of the effect from series to series.
    pub spread: f64,
    /// Series that have seen it.
    pub seen: usize,
    before: f64,
}

impl Pooled {
    /// Expected value in the group.
    pub fn mean(&self) -> f64 {
        self.sum / (self.weight + self.before)
    }

    fn prior_without(&self, own: Option<(f64, f64)>) -> Prior {
        let (mut weight, mut sum) = (self.weight + self.before, self.sum);
        if let Some((estimate, variance)) = own {
            // A series is not told its own opinion.
            let own = 1.0 / (variance + self.spread);
            weight = (weight - own).max(self.before);
            sum -= own * estimate;
        }
        Prior { mean: sum / weight, sd: (self.spread + 1.0 / weight).sqrt() }
    }
}

/// Gathers the contributions of a group's series.
#[derive(Debug, Clone, Default)]
pub struct Pooling {
    groups: BTreeMap<String, BTreeMap<u64, Contribution>>,
}

impl Pooling {
    /// Adds what a series says. Of many, those with the lowest hashes count, whatever
    /// the order they come in.
    pub fn add(&mut self, group: &str, id: &str, contribution: Contribution) {
        let members = self.groups.entry(group.to_owned()).or_default();
        members.insert(hash(id), contribution);
        if members.len() > MOST_SERIES {
            members.pop_last();
        }
    }

    /// Sums up.
    pub fn finish(self) -> Pool {
        let groups = self.groups.into_iter().map(|(name, members)| {
            let mut by_effect: BTreeMap<Effect, Vec<(f64, f64)>> = BTreeMap::new();
            for contribution in members.values() {
                for (effect, estimate, variance) in &contribution.estimates {
                    by_effect.entry(effect.clone()).or_default().push((*estimate, *variance));
                }
            }
            let effects = by_effect.into_iter().map(|(effect, seen)| {
                let share =
                    if matches!(effect, Effect::Yearly(..)) { EXPECTED_SPREAD_OF_YEAR } else { EXPECTED_SPREAD };
                let pooled = pooled(&seen, effect.prior_sd(), share);
                (effect, pooled)
            });
            (name, Group { effects: effects.collect(), members: members.into_keys().collect() })
        });
        Pool { groups: groups.collect() }
    }
}

fn pooled(seen: &[(f64, f64)], prior_sd: f64, expected_share: f64) -> Pooled {
    let expected = (expected_share * prior_sd).powi(2);
    let (mut weight, mut sum, mut square) = (0.0, 0.0, 0.0);
    for (estimate, variance) in seen {
        weight += 1.0 / variance;
        sum += estimate / variance;
        square += variance.powi(-2);
    }
    let mean = sum / weight;
    let scatter: f64 = seen.iter().map(|(estimate, variance)| (estimate - mean).powi(2) / variance).sum();
    let freedom = seen.len() as f64 - 1.0;
    let room = weight - square / weight;
    let found = if room > 0.0 { ((scatter - freedom) / room).clamp(0.0, prior_sd.powi(2)) } else { 0.0 };
    let spread = (found * freedom + expected * EXPECTED_COUNT) / (freedom + EXPECTED_COUNT);
    let (mut weight, mut sum) = (0.0, 0.0);
    for (estimate, variance) in seen {
        weight += 1.0 / (variance + spread);
        sum += estimate / (variance + spread);
    }
    Pooled { weight, sum, spread, seen: seen.len(), before: prior_sd.powi(-2) }
}

#[derive(Debug, Clone, Default)]
struct Group {
    effects: BTreeMap<Effect, Pooled>,
    members: Vec<u64>,
}

/// What groups of series know together, on the evening of one day.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    groups: BTreeMap<String, Group>,
}

impl Pool {
    /// What a group knows of an effect.
    pub fn effect(&self, group: &str, effect: &Effect) -> Option<&Pooled> {
        self.groups.get(group)?.effects.get(effect)
    }

    /// Priors for the columns of `design` from the chain's general expectations.
    pub fn general(design: &Design) -> Vec<Prior> {
        design.effects().iter().map(|effect| Prior { mean: 0.0, sd: effect.prior_sd() }).collect()
    }

    /// Priors for the columns of `design` from what the others of the group know;
    /// `own` is what the series itself said when they were asked.
    pub fn priors(&self, group: &str, id: &str, design: &Design, own: Option<&Contribution>) -> Vec<Prior> {
        let mut priors = Self::general(design);
        let Some(group) = self.groups.get(group) else { return priors };
        let own = own.filter(|_| group.members.binary_search(&hash(id)).is_ok());
        for (prior, effect) in priors.iter_mut().zip(design.effects()) {
            let Some(pooled) = group.effects.get(effect) else { continue };
            let said = own.and_then(|own| own.estimates.iter().find(|(known, ..)| known == effect));
            if said.is_some() && pooled.seen == 1 {
                continue;
            }
            *prior = pooled.prior_without(said.map(|(_, estimate, variance)| (*estimate, *variance)));
        }
        priors
    }

    /// Whether a group knows the time of the year.
    pub fn knows_season(&self, group: &str) -> bool {
        self.effect(group, &Effect::Yearly(1, true)).is_some_and(|pooled| pooled.seen >= 3)
    }
}

/// FNV-1a, mixed: the same on every machine and in every version.
pub(crate) fn hash(text: &str) -> u64 {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^ (hash >> 31)
}
