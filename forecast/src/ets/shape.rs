//! Which parts a model has.

/// How an error enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// Of one size.
    Additive,
    /// A fraction of the forecast; for series above zero.
    Multiplicative,
}

/// What the level does by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trend {
    /// It stays.
    None,
    /// It rises or falls by the same each step.
    Additive,
    /// It rises or falls by less each step.
    Damped,
}

/// What the place in the season does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Season {
    /// Nothing.
    None,
    /// It adds to the level.
    Additive,
    /// It multiplies the level; for series above zero.
    Multiplicative,
}

/// One model of the family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shape {
    /// How an error enters.
    pub error: ErrorKind,
    /// What the level does.
    pub trend: Trend,
    /// What the season does.
    pub season: Season,
    /// Steps of a season; at least 2 where there is one.
    pub period: usize,
}

impl Shape {
    /// Smoothing coefficients: alpha, then beta, gamma, phi where there are.
    pub(super) fn smoothing(&self) -> usize {
        1 + self.has_trend() + self.has_season() + usize::from(self.trend == Trend::Damped)
    }

    /// Initial states that are free: the season's add up to zero, or to the period.
    pub(super) fn states(&self) -> usize {
        1 + self.has_trend() + self.has_season() * (self.period.saturating_sub(1))
    }

    pub(super) fn has_trend(&self) -> usize {
        usize::from(self.trend != Trend::None)
    }

    pub(super) fn has_season(&self) -> usize {
        usize::from(self.season != Season::None)
    }

    /// Whether the model divides by the level, the season or the forecast.
    pub(super) fn needs_positive(&self) -> bool {
        self.error == ErrorKind::Multiplicative || self.season == Season::Multiplicative
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let error = if self.error == ErrorKind::Additive { "A" } else { "M" };
        let trend = match self.trend {
            Trend::None => "N",
            Trend::Additive => "A",
            Trend::Damped => "Ad",
        };
        let season = match self.season {
            Season::None => "N",
            Season::Additive => "A",
            Season::Multiplicative => "M",
        };
        write!(out, "ETS({error},{trend},{season})")?;
        if self.season == Season::None { Ok(()) } else { write!(out, "[{}]", self.period) }
    }
}
