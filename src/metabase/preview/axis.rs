//! Where an axis begins and ends, and what stands on it. Pure.

/// A scale from values to pixels, with its marks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub(super) least: f64,
    pub(super) greatest: f64,
    pub(super) ticks: Vec<f64>,
}

impl Axis {
    /// Spans values, and zero, so that lengths can be compared.
    pub(super) fn spanning(values: impl Iterator<Item = f64>, wanted_ticks: usize) -> Self {
        Self::around(values.chain([0.0]), wanted_ticks)
    }

    /// Spans values only, for lines of which the changes matter.
    pub(super) fn around(values: impl Iterator<Item = f64>, wanted_ticks: usize) -> Self {
        let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            least = least.min(value);
            greatest = greatest.max(value);
        }
        if least > greatest {
            least = 0.0;
        }
        if greatest - least <= 0.0 {
            greatest = least + 1.0;
        }
        let step = nice((greatest - least) / wanted_ticks.max(1) as f64);
        let (first, last) = ((least / step).floor() as i64, (greatest / step).ceil() as i64);
        let ticks: Vec<f64> = (first..=last).map(|at| at as f64 * step).collect();
        Self { least: first as f64 * step, greatest: last as f64 * step, ticks }
    }

    /// How far along a value is, from 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        ((value - self.least) / (self.greatest - self.least)).clamp(0.0, 1.0)
    }
}

/// The next step of 1, 2, 2.5 or 5 times a power of ten.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let fits = steps.into_iter().find(|nice| nice * power >= step * 0.999).unwrap_or(10.0);
    fits * power
}

/// Every how many labels one is written, so that none runs into the next.
pub(super) fn every(labels: &[String], place: f64, width_of: impl Fn(&str) -> f64) -> usize {
    let widest = labels.iter().map(|label| width_of(label)).fold(0.0_f64, f64::max) + 10.0;
    if place <= 0.0 { labels.len().max(1) } else { ((widest / place).ceil() as usize).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_begins_at_zero_and_ends_at_a_round_number() {
        let axis = Axis::spanning([4210.0, 8730.0].into_iter(), 4);
        assert_eq!(axis.ticks, [0.0, 2500.0, 5000.0, 7500.0, 10000.0]);
        assert_eq!((axis.least, axis.greatest), (0.0, 10000.0));
        let below = Axis::spanning([-0.12, 0.31].into_iter(), 4);
        assert!(below.least <= -0.12 && below.greatest >= 0.31 && below.ticks.contains(&0.0), "{below:?}");
        let narrow = Axis::around([24.1, 26.4].into_iter(), 4);
        assert!(narrow.least > 20.0 && narrow.least <= 24.1 && narrow.greatest >= 26.4, "{narrow:?}");
        assert_eq!(Axis::spanning([0.0].into_iter(), 4).greatest, 1.0);
        assert_eq!(Axis::spanning(std::iter::empty(), 4).ticks.len(), 5);
    }

    #[test]
    fn labels_that_would_touch_are_left_out() {
        let labels = vec!["Fri, Nov 28".to_owned(); 14];
        assert_eq!(every(&labels, 100.0, |_| 66.0), 1);
        assert_eq!(every(&labels, 40.0, |_| 66.0), 2);
    }
}
