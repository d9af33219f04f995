//! Guests per hour of labor, by how many guests there are.

use super::Error;

/// A daypart as it was: open, observed, with guests and hours above zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// Guests served, or transactions; an hour of opening.
    pub guests: f64,
    /// Hours worked, without fixed blocks such as opening and cleaning; an hour of opening.
    pub hours: f64,
}

/// How a curve is learned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Learning {
    /// Points of the curve.
    pub knots: usize,
    /// Which of the shifts with as many guests sets the standard: 0.65 is better than 65 percent.
    pub quantile: f64,
    /// Fewest shifts to learn from.
    pub least: usize,
}

impl Default for Learning {
    fn default() -> Self {
        Self { knots: 5, quantile: 0.65, least: 28 }
    }
}

/// A line through points that never falls; level before the first and behind the last.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// (guests, guests per hour), guests rising.
    knots: Vec<(f64, f64)>,
}

impl Curve {
    /// A curve by hand, such as a company's standard.
    ///
    /// # Errors
    /// When there is no point, guests do not rise, or something is not above zero.
    pub fn new(knots: Vec<(f64, f64)>) -> Result<Self, Error> {
        if knots.is_empty() {
            return Err(Error::TooFew { found: 0, needed: 1 });
        }
        let refused = |option, value, expected| Err(Error::Option { option, value, expected });
        for (index, (guests, rate)) in knots.iter().enumerate() {
            if !guests.is_finite() || *guests <= 0.0 || (index > 0 && *guests <= knots[index - 1].0) {
                return refused("guests", *guests, "above zero and above the knot before");
            }
            if !rate.is_finite() || *rate <= 0.0 {
                return refused("guests per hour", *rate, "above zero");
            }
        }
        Ok(Self { knots: monotone(knots) })
    }

    /// The points.
    pub fn knots(&self) -> &[(f64, f64)] {
        &self.knots
    }

    /// Guests that an hour of labor serves when there are this many.
    pub fn productivity(&self, guests: f64) -> f64 {
        let above = self.knots.partition_point(|knot| knot.0 <= guests);
        match (above.checked_sub(1).map(|below| self.knots[below]), self.knots.get(above)) {
            (Some((from, low)), Some((to, high))) => low + (guests - from) / (to - from) * (high - low),
            (Some((_, rate)), None) => rate,
            (None, knot) => knot.map_or(1.0, |knot| knot.1),
        }
    }

    /// Hours that this many guests ask for; never fewer for more guests.
    pub fn hours(&self, guests: f64) -> f64 {
        if guests > 0.0 { guests / self.productivity(guests) } else { 0.0 }
    }
}

/// Neither productivity nor hours fall with more guests.
fn monotone(mut knots: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    for index in 1..knots.len() {
        let (before, low) = knots[index - 1];
        let (guests, rate) = knots[index];
        knots[index].1 = rate.clamp(low, low * guests / before);
    }
    knots
}

/// The quantile of sorted numbers, between neighbours in a straight line.
pub(super) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let below = at.floor() as usize;
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + (at - below as f64) * (sorted[above] - sorted[below])
}

/// A stretch of shifts with like numbers of guests.
struct Block {
    guests: Vec<f64>,
    rates: Vec<f64>,
    /// Groups of guests that were pooled into it.
    groups: usize,
}

impl Block {
    fn rate(&self, share: f64) -> f64 {
        let mut sorted = self.rates.clone();
        sorted.sort_by(f64::total_cmp);
        quantile(&sorted, share)
    }
}

/// Learns a curve: groups of equal size by guests, the quantile of each, and neighbours that would fall
/// pooled until none does.
///
/// # Errors
/// With too few shifts, or options that cannot be.
pub fn learn(shifts: &[Shift], learning: Learning) -> Result<Curve, Error> {
    if !(0.0..=1.0).contains(&learning.quantile) {
        return Err(Error::Option { option: "quantile", value: learning.quantile, expected: "within 0 to 1" });
    }
    if learning.knots == 0 {
        return Err(Error::Option { option: "knots", value: 0.0, expected: "one or more" });
    }
    let usable =
        |shift: &&Shift| shift.guests.is_finite() && shift.hours.is_finite() && shift.guests > 0.0 && shift.hours > 0.0;
    let mut sorted: Vec<Shift> = shifts.iter().filter(usable).copied().collect();
    let needed = learning.least.max(learning.knots).max(1);
    if sorted.len() < needed {
        return Err(Error::TooFew { found: sorted.len(), needed });
    }
    sorted.sort_by(|left, right| left.guests.total_cmp(&right.guests).then(left.hours.total_cmp(&right.hours)));
    let mut blocks: Vec<Block> = Vec::new();
    for group in 0..learning.knots {
        let (from, to) = (group * sorted.len() / learning.knots, (group + 1) * sorted.len() / learning.knots);
        let own = &sorted[from..to];
        let mut block = Block {
            guests: own.iter().map(|shift| shift.guests).collect(),
            rates: own.iter().map(|shift| shift.guests / shift.hours).collect(),
            groups: 1,
        };
        while let Some(before) = blocks.pop() {
            if before.rate(learning.quantile) <= block.rate(learning.quantile) {
                blocks.push(before);
                break;
            }
            block = Block {
                guests: [before.guests, block.guests].concat(),
                rates: [before.rates, block.rates].concat(),
                groups: before.groups + block.groups,
            };
        }
        blocks.push(block);
    }
    let mut knots: Vec<(f64, f64)> = Vec::new();
    for block in &blocks {
        let guests = quantile(&block.guests, 0.5);
        if knots.last().is_none_or(|last| last.0 < guests) {
            knots.push((guests, block.rate(learning.quantile)));
        }
    }
    Curve::new(knots)
}

/// Draws a store's curve towards that of its type: `own_shifts` count against `prior_shifts` of the pool.
pub fn shrunk(own: &Curve, own_shifts: usize, pool: &Curve, prior_shifts: f64) -> Curve {
    let weight = own_shifts as f64 / (own_shifts as f64 + prior_shifts.max(0.0)).max(1e-9);
    let mut guests: Vec<f64> = own.knots.iter().chain(&pool.knots).map(|knot| knot.0).collect();
    guests.sort_by(f64::total_cmp);
    guests.dedup();
    // In logarithms: productivities are ratios.
    let rate =
        |guests: f64| (weight * own.productivity(guests).ln() + (1.0 - weight) * pool.productivity(guests).ln()).exp();
    Curve { knots: monotone(guests.into_iter().map(|guests| (guests, rate(guests))).collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Generator;

    /// Productivity 10 + guests / 20, and shifts that fall short of it by chance.
    fn shifts(seed: u64, count: usize) -> Vec<Shift> {
        let mut generator = Generator::new(seed);
        (0..count)
            .map(|_| {
                let guests = 40.0 + 260.0 * generator.uniform();
                let rate = (10.0 + guests / 20.0) * (0.8 + 0.4 * generator.uniform());
                Shift { guests, hours: guests / rate }
            })
            .collect()
    }

    #[test]
    fn a_curve_is_learned_as_a_quantile_and_never_falls() {
        let learned = learn(&shifts(1, 2000), Learning::default()).unwrap();
        // 65 percent of the way from 0.8 to 1.2.
        for guests in [80.0, 150.0, 260.0] {
            let expected = (10.0 + guests / 20.0) * 1.06;
            assert!((learned.productivity(guests) / expected - 1.0).abs() < 0.05, "{guests}: {learned:?}");
        }
        let mut before = (0.0, 0.0);
        for guests in 1..500 {
            let now = (learned.productivity(f64::from(guests)), learned.hours(f64::from(guests)));
            assert!(now.0 >= before.0 && now.1 >= before.1, "{guests}");
            before = now;
        }
    }

    #[test]
    fn falling_groups_are_pooled_and_hours_never_fall() {
        // The busiest shifts were the least productive.
        let falling: Vec<Shift> =
            (1..=60).map(|step| Shift { guests: f64::from(step), hours: f64::from(step).powf(1.3) }).collect();
        let level = learn(&falling, Learning::default()).unwrap();
        assert_eq!(level.knots().len(), 1);
        // Ten times the productivity for twice the guests would be fewer hours for more guests.
        let steep = Curve::new(vec![(50.0, 5.0), (100.0, 50.0)]).unwrap();
        assert_eq!(steep.knots()[1], (100.0, 10.0));
        assert!(Curve::new(vec![(50.0, 5.0), (50.0, 6.0)]).is_err());
    }

    #[test]
    fn a_young_store_follows_its_type_and_an_old_one_itself() {
        let (own, pool) = (Curve::new(vec![(100.0, 30.0)]).unwrap(), Curve::new(vec![(100.0, 10.0)]).unwrap());
        let rate = |shifts| shrunk(&own, shifts, &pool, 60.0).productivity(100.0);
        assert!((rate(0) - 10.0).abs() < 1e-9 && rate(6) < 12.0 && rate(6000) > 29.0);
        assert!(matches!(learn(&shifts(2, 5), Learning::default()), Err(Error::TooFew { found: 5, needed: 28 })));
    }
}
