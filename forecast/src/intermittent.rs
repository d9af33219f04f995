//! Series that are zero on many days, such as catering.
//!
//! Sources: Teunter, Syntetos and Babai, European J. Operational Research 214 (2011) (TSB).

use super::{FitError, Point};

/// The TSB method behind the last step: how likely demand is, and how large it is when it comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    /// Chance that a step has any demand.
    pub probability: f64,
    /// Size of a demand.
    pub size: f64,
}

impl Demand {
    /// Expected demand of a step; the same for every step ahead.
    pub fn mean(&self) -> f64 {
        self.probability * self.size
    }
}

/// Smooths chance and size of demand: the chance at every observed step by `for_probability`, the
/// size at steps with demand by `for_size`. Unlike Croston's method it fades when demand stops.
///
/// # Errors
/// When a smoothing is not within 0 to 1, or nothing was observed.
pub fn tsb(values: &[Option<f64>], for_probability: f64, for_size: f64) -> Result<Demand, FitError> {
    let model = || "TSB".to_owned();
    if !(0.0..=1.0).contains(&for_probability) || !(0.0..=1.0).contains(&for_size) {
        return Err(FitError::Refused { model: model(), reason: "smoothing lies within 0 to 1".to_owned() });
    }
    let observed: Vec<f64> = values.iter().flatten().copied().collect();
    if observed.is_empty() {
        return Err(FitError::TooShort { model: model(), observed: 0, needed: 1 });
    }
    // Both begin with the mean of the first stretch.
    let head = &observed[..observed.len().min(28)];
    let sizes: Vec<f64> = head.iter().copied().filter(|value| *value != 0.0).collect();
    let mut demand = Demand {
        probability: sizes.len() as f64 / head.len() as f64,
        size: if sizes.is_empty() { 0.0 } else { sizes.iter().sum::<f64>() / sizes.len() as f64 },
    };
    for value in observed {
        let any = value != 0.0;
        demand.probability += for_probability * (f64::from(u8::from(any)) - demand.probability);
        if any {
            let weight = if demand.size == 0.0 { 1.0 } else { for_size };
            demand.size += weight * (value - demand.size);
        }
    }
    Ok(demand)
}

/// The quantile of sorted values, between neighbours in a straight line.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}

/// Forecasts by what was seen at the same place of the season (weekday) in the last `seasons`:
/// the mean is that of its values, zeros included, drawn towards the mean of all places
/// as if `prior` values of that had been seen; the intervals are its quantiles.
///
/// A place with fewer than eight values takes the quantiles of all places.
///
/// # Errors
/// When nothing was observed in that time, or the season has no steps.
pub fn by_place(
    values: &[Option<f64>],
    season: usize,
    seasons: usize,
    prior: f64,
    horizon: usize,
) -> Result<Vec<Point>, FitError> {
    let model = || format!("quantiles of {seasons} seasons of {season}");
    if season == 0 || !prior.is_finite() || prior < 0.0 {
        return Err(FitError::Refused { model: model(), reason: "needs a season and a prior of 0 or more".to_owned() });
    }
    let from = values.len().saturating_sub(season * seasons);
    let mut places: Vec<Vec<f64>> = vec![Vec::new(); season];
    for (step, value) in values.iter().enumerate().skip(from) {
        places[step % season].extend(value.filter(|value| value.is_finite()));
    }
    let mut all: Vec<f64> = places.concat();
    if all.is_empty() {
        return Err(FitError::TooShort { model: model(), observed: 0, needed: 1 });
    }
    let whole = all.iter().sum::<f64>() / all.len() as f64;
    all.sort_by(f64::total_cmp);
    let points: Vec<Point> = places
        .iter_mut()
        .map(|own| {
            let count = own.len() as f64;
            let sum: f64 = own.iter().sum();
            let mean = if count + prior > 0.0 { (sum + prior * whole) / (count + prior) } else { whole };
            own.sort_by(f64::total_cmp);
            let from: &[f64] = if own.len() < 8 { &all } else { own };
            let at = |share| quantile(from, share);
            Point { mean, median: at(0.5), interval_80: (at(0.1), at(0.9)), interval_95: (at(0.025), at(0.975)) }
        })
        .collect();
    Ok((0..horizon).map(|ahead| points[(values.len() + ahead) % season]).collect())
}

/// The share of zeros among what was observed; zero where nothing was.
pub fn zero_share(values: &[Option<f64>]) -> f64 {
    let observed = values.iter().flatten().count();
    let zeros = values.iter().flatten().filter(|value| **value == 0.0).count();
    if observed > 0 { zeros as f64 / observed as f64 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::super::random::Generator;
    use super::*;

    fn catering(steps: usize) -> Vec<Option<f64>> {
        let mut generator = Generator::new(31);
        (0..steps)
            .map(|step| {
                let chance = if step % 7 == 4 { 0.8 } else { 0.2 };
                let size = 200.0 + 50.0 * generator.uniform();
                Some(if generator.uniform() < chance { size } else { 0.0 })
            })
            .collect()
    }

    #[test]
    fn chance_and_size_are_found_and_fade_when_demand_stops() {
        let mut values = catering(700);
        let demand = tsb(&values, 0.02, 0.05).unwrap();
        assert!((demand.probability - 2.0 / 7.0).abs() < 0.12, "{demand:?}");
        assert!((demand.size - 225.0).abs() < 10.0, "{demand:?}");
        values.extend([Some(0.0); 100]);
        assert!(tsb(&values, 0.02, 0.05).unwrap().mean() < 0.2 * demand.mean());
        assert!(tsb(&values, 1.2, 0.05).is_err() && tsb(&[None], 0.1, 0.1).is_err());
    }

    #[test]
    fn a_busy_weekday_is_told_from_the_others() {
        let values = catering(700);
        let points = by_place(&values, 7, 26, 2.0, 7).unwrap();
        assert!(points[4].mean > 130.0 && points[0].mean < 90.0, "{points:?}");
        assert!(points[4].median > 200.0 && points[0].median == 0.0);
        assert_eq!(points[0].interval_80.0, 0.0);
        assert!((zero_share(&values) - 5.0 / 7.0).abs() < 0.05);
        assert!(by_place(&[None, None], 7, 13, 2.0, 7).is_err());
    }
}
