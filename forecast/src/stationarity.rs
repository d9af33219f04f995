//! How often a series must be differenced.
//!
//! Sources: Kwiatkowski, Phillips, Schmidt and Shin, J. Econometrics 54 (1992); Wang, Smith and
//! Hyndman (2006) for the strength of a season.

use super::stl::{Options, decompose};

/// The critical value at 5 percent of the test around a level (their table 1).
const CRITICAL: f64 = 0.463;
/// A season stronger than this is differenced.
const STRONG: f64 = 0.64;

/// The statistic of the KPSS test around a level, Bartlett weights up to lag 3 sqrt(n) / 13.
/// Zero for a constant series.
pub fn kpss(values: &[f64]) -> f64 {
    let count = values.len();
    let mean = values.iter().sum::<f64>() / count as f64;
    let rest: Vec<f64> = values.iter().map(|value| value - mean).collect();
    let lags = (3.0 * (count as f64).sqrt() / 13.0) as usize;
    let mut long_run: f64 = rest.iter().map(|value| value * value).sum();
    for lag in 1..=lags {
        let weight = 1.0 - lag as f64 / (lags + 1) as f64;
        long_run += 2.0 * weight * rest[lag..].iter().zip(&rest).map(|(now, then)| now * then).sum::<f64>();
    }
    let mut sum = 0.0;
    let mut squares = 0.0;
    for value in &rest {
        sum += value;
        squares += sum * sum;
    }
    if long_run > 0.0 { squares / (count as f64 * long_run) } else { 0.0 }
}

/// Differences of neighbours until the series stays around a level, two at most.
///
/// The longest stretch without a gap is judged.
pub fn differences(values: &[Option<f64>]) -> usize {
    let mut longest: &[Option<f64>] = &[];
    for stretch in values.split(Option::is_none) {
        if stretch.len() > longest.len() {
            longest = stretch;
        }
    }
    let mut rest: Vec<f64> = longest.iter().flatten().copied().collect();
    for count in 0..2 {
        let constant = rest.windows(2).all(|pair| pair[0] == pair[1]);
        if rest.len() < 8 || constant || kpss(&rest) <= CRITICAL {
            return count;
        }
        rest = rest.windows(2).map(|pair| pair[1] - pair[0]).collect();
    }
    2
}

/// Whether the season is strong enough to be differenced: 0 or 1. Gaps are filled in a straight line.
pub fn seasonal_differences(values: &[Option<f64>], season: usize) -> usize {
    let filled = interpolated(values);
    let constant = filled.windows(2).all(|pair| pair[0] == pair[1]);
    let options = Options { season, seasonal_window: Some(11), robust_rounds: 0 };
    if season < 2 || constant {
        return 0;
    }
    decompose(&filled, options).map_or(0, |parts| usize::from(parts.seasonal_strength() > STRONG))
}

/// Gaps filled in a straight line in time, at the ends with the nearest value. For
/// methods that cannot work with gaps; a series without any observation, which the caller refuses,
/// becomes zeros.
pub fn interpolated(values: &[Option<f64>]) -> Vec<f64> {
    let mut filled: Vec<f64> = Vec::with_capacity(values.len());
    let mut last: Option<(usize, f64)> = None;
    for (step, value) in values.iter().enumerate() {
        let Some(value) = *value else { continue };
        let (from, start) = last.unwrap_or((step, value));
        while filled.len() < step {
            let share = if last.is_some() { (filled.len() - from) as f64 / (step - from) as f64 } else { 1.0 };
            filled.push(start + share * (value - start));
        }
        filled.push(value);
        last = Some((step, value));
    }
    filled.resize(values.len(), last.map_or(0.0, |(_, value)| value));
    filled
}

#[cfg(test)]
mod tests {
    use super::super::random::Generator;
    use super::*;

    #[test]
    fn noise_a_walk_and_a_season_are_told_apart() {
        let mut generator = Generator::new(5);
        let noise: Vec<f64> = (0..400).map(|_| generator.normal()).collect();
        let mut level = 0.0;
        let walk: Vec<Option<f64>> = noise
            .iter()
            .map(|value| {
                level += value;
                Some(level)
            })
            .collect();
        let noise: Vec<Option<f64>> = noise.into_iter().map(Some).collect();
        assert_eq!((differences(&noise), differences(&walk)), (0, 1));
        let week: Vec<Option<f64>> = noise
            .iter()
            .enumerate()
            .map(|(step, value)| value.map(|value| value + 4.0 * f64::from(step as u32 % 7)))
            .collect();
        assert_eq!((seasonal_differences(&noise, 7), seasonal_differences(&week, 7)), (0, 1));
        assert_eq!(seasonal_differences(&[Some(1.0); 100], 7), 0);
    }

    #[test]
    fn gaps_are_filled_in_a_straight_line() {
        let filled = interpolated(&[None, Some(1.0), None, None, Some(4.0), None]);
        assert_eq!(filled, [1.0, 1.0, 2.0, 3.0, 4.0, 4.0]);
        assert_eq!(interpolated(&[None, None]), [0.0, 0.0]);
    }
}
