//! From a day's forecast to its parts: dayparts, hours or quarter hours.
//!
//! The day is forecast, its parts are shares of it: coherent by construction. A share
//! is the exponentially weighted mean over the latest days of the same class (weekday,
//! holiday, promotion: the caller says), drawn towards the profile of the store's type where
//! few days were seen. Parts may be whole numbers that add up to the whole day.
//!
//! Invariant: the parts add up to the day.

/// Latest days of a class that a profile rests on.
const DAYS: usize = 26;
/// What a day counts against the next younger one of its class.
const FADE: f64 = 0.85;
/// How many days of its own a type's profile counts for.
const TYPE_DAYS: f64 = 8.0;
const Z_80: f64 = 1.281_551_565_544_600_4;
const Z_95: f64 = 1.959_963_984_540_054;

/// The shares of a class of days.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// One share a part; they add up to 1.
    pub shares: Vec<f64>,
    /// How steady they are: the concentration of a Dirichlet distribution.
    pub concentration: f64,
    /// Days it rests on.
    pub days: usize,
}

/// One part of a day ahead.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PartPoint {
    /// Expected value.
    pub mean: f64,
    /// As likely to be over as under.
    pub median: f64,
    /// Bounds of the central 80 percent.
    pub interval_80: (f64, f64),
    /// Bounds of the central 95 percent.
    pub interval_95: (f64, f64),
}

impl Profile {
    /// Learns from days of one class, oldest first, one amount a part. Days without
    /// anything, or of another number of parts than the last one, are left out; `None` when
    /// none is left and no `of_type` is given.
    pub fn learn(days: &[Vec<f64>], of_type: Option<&Profile>) -> Option<Self> {
        let parts = of_type.map(|profile| profile.shares.len()).or_else(|| days.last().map(Vec::len))?;
        let usable = |day: &&Vec<f64>| {
            day.len() == parts && day.iter().all(|amount| *amount >= 0.0) && day.iter().sum::<f64>() > 0.0
        };
        let latest: Vec<Vec<f64>> = days.iter().rev().filter(usable).take(DAYS).map(|day| shares(day)).collect();
        let weights: Vec<f64> = (0..latest.len()).map(|age| FADE.powi(age as i32)).collect();
        let all: f64 = weights.iter().sum();
        let mean_of =
            |part: usize| latest.iter().zip(&weights).map(|(day, weight)| day[part] * weight / all).sum::<f64>();
        let trust = latest.len() as f64 / (latest.len() as f64 + TYPE_DAYS);
        let shares: Vec<f64> = match of_type {
            Some(of_type) if latest.is_empty() => of_type.shares.clone(),
            Some(of_type) => {
                (0..parts).map(|part| trust * mean_of(part) + (1.0 - trust) * of_type.shares[part]).collect()
            }
            None if latest.is_empty() => return None,
            None => (0..parts).map(mean_of).collect(),
        };
        // A Dirichlet share has the variance s (1 - s) / (k + 1): k from all parts together.
        let spread: f64 = latest
            .iter()
            .zip(&weights)
            .map(|(day, weight)| weight / all * day.iter().zip(&shares).map(|(a, b)| (a - b).powi(2)).sum::<f64>())
            .sum();
        let room: f64 = shares.iter().map(|share| share * (1.0 - share)).sum();
        let own = if spread > 0.0 { (room / spread - 1.0).clamp(2.0, 2000.0) } else { 2000.0 };
        let concentration = match of_type {
            Some(of_type) => (trust * own.ln() + (1.0 - trust) * of_type.concentration.ln()).exp(),
            None if latest.len() < 4 => own.min(50.0),
            None => own,
        };
        Some(Self { shares, concentration, days: latest.len() })
    }

    /// Splits a day. `deviation` is the day's standard deviation on the log scale,
    /// calibrated; `counts` whether people are counted, which come one by one (Poisson).
    pub fn split(&self, mean: f64, median: f64, deviation: f64, counts: bool) -> Vec<PartPoint> {
        let part = |share: &f64| {
            let expected = mean * share;
            let own = if *share > 0.0 { (1.0 - share) / (share * (self.concentration + 1.0)) } else { 0.0 };
            let arrivals = if counts && expected > 0.0 { 1.0 / expected } else { 0.0 };
            let spread = (deviation.powi(2) + own + arrivals).sqrt();
            // Medians are the day's share, so that they add up to the day's as means do.
            let middle = median * share;
            let bounds = |z: f64| (middle * (-z * spread).exp(), middle * (z * spread).exp());
            PartPoint { mean: expected, median: middle, interval_80: bounds(Z_80), interval_95: bounds(Z_95) }
        };
        self.shares.iter().map(part).collect()
    }
}

fn shares(day: &[f64]) -> Vec<f64> {
    let all: f64 = day.iter().sum();
    day.iter().map(|amount| amount / all).collect()
}

/// Rounds amounts to multiples of `unit` that add up to their sum, rounded: those with the
/// largest remainders are rounded up, earlier ones first where remainders are equal.
pub fn whole(amounts: &[f64], unit: f64) -> Vec<f64> {
    let scaled: Vec<f64> = amounts.iter().map(|amount| amount.max(0.0) / unit).collect();
    let total = scaled.iter().sum::<f64>().round();
    let mut floors: Vec<f64> = scaled.iter().map(|amount| amount.floor()).collect();
    let missing = (total - floors.iter().sum::<f64>()).max(0.0) as usize;
    let mut order: Vec<usize> = (0..amounts.len()).collect();
    order.sort_by(|a, b| (scaled[*b] - floors[*b]).total_cmp(&(scaled[*a] - floors[*a])).then(a.cmp(b)));
    order.into_iter().take(missing).for_each(|at| floors[at] += 1.0);
    floors.iter().map(|amount| amount * unit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_day() {
        let days: Vec<Vec<f64>> = (0..30).map(|at| vec![20.0 + f64::from(at % 3), 50.0, 30.0, 0.0]).collect();
        let profile = Profile::learn(&days, None).unwrap();
        let points = profile.split(210.0, 205.0, 0.1, true);
        assert!((points.iter().map(|point| point.mean).sum::<f64>() - 210.0).abs() < 1e-9);
        assert!((points.iter().map(|point| point.median).sum::<f64>() - 205.0).abs() < 1e-9);
        let means: Vec<f64> = points.iter().map(|point| point.mean).collect();
        assert_eq!(whole(&means, 1.0).iter().sum::<f64>(), 210.0);
        assert_eq!(points[3].interval_95, (0.0, 0.0));
        // A part is less certain than the day.
        assert!((points[0].interval_95.1 / points[0].median).ln() > 0.1 * Z_95);
    }

    #[test]
    fn a_habit_that_changed_is_followed_and_a_thin_store_leans_on_its_type() {
        let mut days = vec![vec![50.0, 50.0]; 20];
        days.extend(vec![vec![80.0, 20.0]; 8]);
        let own = Profile::learn(&days, None).unwrap();
        assert!(own.shares[0] > 0.7, "{own:?}");
        let thin =
            Profile::learn(&days[26..], Some(&Profile { shares: vec![0.4, 0.6], concentration: 100.0, days: 500 }));
        let thin = thin.unwrap();
        assert!((thin.shares[0] - (0.2 * 0.8 + 0.8 * 0.4)).abs() < 1e-9, "{thin:?}");
        let none = Profile::learn(&[vec![0.0, 0.0]], Some(&own)).unwrap();
        assert_eq!(none.shares, own.shares);
        assert_eq!(Profile::learn(&[], None), None);
    }

    #[test]
    fn remainders_go_to_the_largest() {
        assert_eq!(whole(&[1.4, 1.4, 1.2], 1.0), [2.0, 1.0, 1.0]);
        assert_eq!(whole(&[0.3, 0.3, 0.4], 0.25), [0.25, 0.25, 0.5]);
        assert_eq!(whole(&[2.0, 3.0], 1.0), [2.0, 3.0]);
        assert!(whole(&[], 1.0).is_empty());
    }
}
