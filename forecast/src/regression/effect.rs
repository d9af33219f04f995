//! What an effect is of, and how large it may be before anything was seen.

use std::fmt;
use std::sync::Arc;

/// What a column of the regression stands for. Its name is the same in every series
/// of a group, so that series can learn from each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// A weekday, 0 being Monday.
    Weekday(u8),
    /// A wave of the year: its number of turns, and whether it is the sine.
    Yearly(u8, bool),
    /// A holiday, or the day so far from it.
    Holiday(Arc<str>, i8),
    /// Any promotion.
    Promotion,
    /// One promotion by name, beyond what any does.
    Offer(Arc<str>),
    /// A promotion on a weekday, beyond what it does on others.
    PromotionOn(u8),
    /// The first day of a promotion.
    PromotionFirst,
    /// The day after a promotion.
    PromotionAfter,
    /// School holidays.
    School,
    /// The last open day before a closure.
    BeforeClosure,
    /// The first open day after one.
    AfterClosure,
    /// A regressor that the chain gave, by name.
    Regressor(Arc<str>),
}

/// What a person calls the reasons of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The day of the week.
    Weekday,
    /// The time of the year.
    Season,
    /// Holidays and the days around them.
    Holiday,
    /// Promotions.
    Promotion,
    /// School holidays.
    School,
    /// A closure before or after.
    Closure,
    /// Regressors that the chain gave.
    Regressor,
}

impl Effect {
    /// Which reason it belongs to.
    pub fn part(&self) -> Part {
        match self {
            Self::Weekday(_) => Part::Weekday,
            Self::Yearly(..) => Part::Season,
            Self::Holiday(..) => Part::Holiday,
            Self::Promotion | Self::Offer(_) | Self::PromotionOn(_) | Self::PromotionFirst | Self::PromotionAfter => {
                Part::Promotion
            }
            Self::School => Part::School,
            Self::BeforeClosure | Self::AfterClosure => Part::Closure,
            Self::Regressor(_) => Part::Regressor,
        }
    }

    /// The standard deviation of the effect on the log scale before anything was seen
    /// (the notes' table, §6.3; waves shrink with their number of turns).
    pub fn prior_sd(&self) -> f64 {
        match self {
            Self::Weekday(_) => 0.7,
            Self::Yearly(turns, _) => 0.15 / f64::from(*turns),
            Self::Holiday(_, 0) | Self::Promotion => 0.30,
            Self::Holiday(_, 1 | -1) => 0.07,
            Self::Holiday(..) | Self::PromotionAfter => 0.05,
            Self::Offer(_) | Self::School | Self::BeforeClosure | Self::AfterClosure => 0.10,
            Self::PromotionOn(_) | Self::PromotionFirst => 0.08,
            Self::Regressor(_) => 0.30,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAYS: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
        let day = |at: u8| DAYS[usize::from(at % 7)];
        match self {
            Self::Weekday(at) => write!(f, "weekday:{}", day(*at)),
            Self::Yearly(turns, sine) => write!(f, "year:{}{turns}", if *sine { "sin" } else { "cos" }),
            Self::Holiday(name, 0) => write!(f, "holiday:{name}"),
            Self::Holiday(name, days) => write!(f, "holiday:{name}{days:+}"),
            Self::Promotion => write!(f, "promotion"),
            Self::Offer(name) => write!(f, "promotion:{name}"),
            Self::PromotionOn(at) => write!(f, "promotion on {}", day(*at)),
            Self::PromotionFirst => write!(f, "promotion first day"),
            Self::PromotionAfter => write!(f, "day after promotion"),
            Self::School => write!(f, "school holidays"),
            Self::BeforeClosure => write!(f, "before closure"),
            Self::AfterClosure => write!(f, "after closure"),
            Self::Regressor(name) => write!(f, "regressor:{name}"),
        }
    }
}
