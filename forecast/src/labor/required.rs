//! Hours that a day asks for.

use super::{Curve, Error};

/// A part of a day as it is planned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Daypart {
    /// Guests to staff for, at the chosen quantile of their forecast.
    pub guests: f64,
    /// Hours the store is open in it; zero is closed, and asks for its fixed hours only.
    pub open_hours: f64,
    /// Hours that are worked whatever comes: opening, preparing, cleaning.
    pub fixed_hours: f64,
    /// Fewest people present while it is open.
    pub minimum_heads: f64,
}

/// Required hours of each daypart: the larger of the minimum crew and of fixed hours and guests.
/// The curve goes by guests an hour of opening, so that a long daypart is not a busy one.
pub fn required_hours(curve: &Curve, dayparts: &[Daypart]) -> Vec<f64> {
    dayparts
        .iter()
        .map(|part| {
            if part.open_hours <= 0.0 {
                return part.fixed_hours.max(0.0);
            }
            let working = curve.hours(part.guests / part.open_hours) * part.open_hours;
            (part.minimum_heads * part.open_hours).max(part.fixed_hours + working)
        })
        .collect()
}

/// The share of days on which hands should suffice, from what an hour too few and one too many cost.
///
/// # Errors
/// When a cost is below zero, or both are zero.
pub fn critical_share(hour_too_few: f64, hour_too_many: f64) -> Result<f64, Error> {
    for (option, value) in [("hour_too_few", hour_too_few), ("hour_too_many", hour_too_many)] {
        if !value.is_finite() || value < 0.0 {
            return Err(Error::Option { option, value, expected: "zero or more" });
        }
    }
    let both = hour_too_few + hour_too_many;
    if both == 0.0 {
        return Err(Error::Option {
            option: "hour_too_few",
            value: 0.0,
            expected: "above zero where the other is zero",
        });
    }
    Ok(hour_too_few / both)
}

/// The value that a standard normal number does not exceed with probability `share`.
fn normal_quantile(share: f64) -> f64 {
    // Halving between bounds on the distribution function by its series: slow and exact enough.
    let below = |at: f64| {
        let (mut term, mut sum, mut odd) = (at, at, 1.0);
        while term.abs() > 1e-17 {
            odd += 2.0;
            term *= at * at / odd;
            sum += term;
        }
        0.5 + sum * (-0.5 * at * at).exp() / (2.0 * std::f64::consts::PI).sqrt()
    };
    let (mut low, mut high) = (-6.0, 6.0);
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if below(middle) < share {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// Demand at a share of its forecast: `median` and the spread of its logarithm.
///
/// # Errors
/// When the share does not lie between 0 and 1.
pub fn demand_at(median: f64, log_spread: f64, share: f64) -> Result<f64, Error> {
    if !(share > 0.0 && share < 1.0) {
        return Err(Error::Option { option: "share", value: share, expected: "between 0 and 1" });
    }
    Ok(median.max(0.0) * (normal_quantile(share) * log_spread.max(0.0)).exp())
}

/// Rounds to whole `unit` hours (a quarter: 0.25) so that the sum is the rounded sum: what was cut most
/// is given back first, the earlier of two alike. Nothing falls below its floor in `at_least`.
///
/// # Errors
/// When the unit is not above zero.
pub fn rounded(hours: &[f64], unit: f64, at_least: &[f64]) -> Result<Vec<f64>, Error> {
    if !unit.is_finite() || unit <= 0.0 {
        return Err(Error::Option { option: "unit", value: unit, expected: "above zero" });
    }
    let exact: Vec<f64> = hours.iter().map(|hours| hours.max(0.0) / unit).collect();
    let floor = |index: usize| at_least.get(index).map_or(0.0, |least| (least.max(0.0) / unit - 1e-9).ceil().max(0.0));
    let mut units: Vec<f64> =
        exact.iter().enumerate().map(|(index, exact)| (exact + 1e-9).floor().max(floor(index))).collect();
    let mut missing = exact.iter().sum::<f64>().round() - units.iter().sum::<f64>();
    let mut order: Vec<usize> = (0..units.len()).collect();
    order.sort_by(|left, right| {
        let cut = |index: usize| exact[index] - units[index];
        cut(*right).total_cmp(&cut(*left)).then(left.cmp(right))
    });
    for index in order {
        if missing >= 0.5 && exact[index] > units[index] {
            units[index] += 1.0;
            missing -= 1.0;
        }
    }
    Ok(units.into_iter().map(|units| units * unit).collect())
}

/// What came of a day's hours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Productivity {
    /// Sales per hour of labor; `None` without hours.
    pub sales_per_hour: Option<f64>,
    /// Cost of labor as a share of sales; `None` without sales.
    pub labor_share: Option<f64>,
    /// Hours beyond those required; zero where there were too few.
    pub hours_over: f64,
    /// Hours short of those required; zero where there were too many.
    pub hours_under: f64,
}

/// Holds hours (scheduled or worked) against sales, cost and the hours required.
pub fn productivity(sales: f64, hours: f64, cost: f64, required: f64) -> Productivity {
    Productivity {
        sales_per_hour: (hours > 0.0).then(|| sales / hours),
        labor_share: (sales > 0.0).then(|| cost / sales),
        hours_over: (hours - required).max(0.0),
        hours_under: (required - hours).max(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_of_crew_and_guests_is_required() {
        let curve = Curve::new(vec![(50.0, 10.0), (200.0, 20.0)]).unwrap();
        let part = Daypart { guests: 200.0, open_hours: 4.0, fixed_hours: 1.0, minimum_heads: 2.0 };
        let quiet = Daypart { guests: 5.0, ..part };
        let closed = Daypart { open_hours: 0.0, ..part };
        // As many guests in one hour need fewer hands than in four: the curve rises.
        let rush = Daypart { open_hours: 1.0, ..part };
        assert_eq!(required_hours(&curve, &[part, quiet, closed, rush]), [21.0, 8.0, 1.0, 11.0]);
    }

    #[test]
    fn an_hour_too_few_costs_more_than_one_too_many() {
        assert!((critical_share(30.0, 20.0).unwrap() - 0.6).abs() < 1e-12);
        assert!(critical_share(0.0, 0.0).is_err() && critical_share(-1.0, 2.0).is_err());
        assert!((demand_at(100.0, 0.2, 0.5).unwrap() - 100.0).abs() < 1e-6);
        let expected = 100.0 * (0.2 * 1.281_551_565_544_6_f64).exp();
        assert!((demand_at(100.0, 0.2, 0.9).unwrap() - expected).abs() < 1e-6);
        assert!(demand_at(100.0, 0.2, 1.0).is_err());
    }

    #[test]
    fn rounding_keeps_the_sum_and_the_floor() {
        let hours = [3.1, 4.4, 2.2, 5.37];
        let whole = rounded(&hours, 0.25, &[]).unwrap();
        assert!(whole.iter().all(|hours| (hours / 0.25).fract() == 0.0));
        assert!((whole.iter().sum::<f64>() - hours.iter().sum::<f64>()).abs() <= 0.125 + 1e-9, "{whole:?}");
        assert!(rounded(&[1.1, 1.1], 0.25, &[1.2, 0.0]).unwrap()[0] >= 1.2);
        assert!(rounded(&hours, 0.0, &[]).is_err());
    }

    #[test]
    fn what_cannot_be_divided_is_nothing() {
        let none = productivity(0.0, 0.0, 0.0, 4.0);
        assert_eq!((none.sales_per_hour, none.labor_share, none.hours_under), (None, None, 4.0));
        let day = productivity(1000.0, 25.0, 300.0, 20.0);
        assert_eq!((day.sales_per_hour, day.labor_share, day.hours_over), (Some(40.0), Some(0.3), 5.0));
    }
}
