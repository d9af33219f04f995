//! Hours of labor from expected guests. Pure: what is configured comes in, nothing is read.
//!
//! - A **curve** says how many guests an hour of labor serves, depending on how many there are: it
//!   never falls, and neither do the hours it asks for. It is learned from open, observed dayparts as
//!   a quantile (what good shifts achieve, not the mean of over- and under-staffing), and drawn
//!   towards the curve of all stores of its type while a store has little history.
//! - **Required hours** of a daypart: the larger of the minimum crew and of fixed hours plus guests
//!   over productivity. The guests are a quantile of their forecast, chosen by what too few and too
//!   many hands cost.
//! - **Rounding** keeps the day's sum: largest remainders. Heads by quarter hour change neither for one quarter
//!   only nor by more than is allowed, and no shift is shorter than the shortest.
//!
//! Legal rules (breaks, minors, notice) are not here.
//!
//! Sources: Barlow, Bartholomew, Bremner and Brunk, "Statistical Inference under Order Restrictions"
//! (1972) (pooling adjacent violators; with quantiles Robertson and Wright, Annals of Statistics 8
//! (1980)); Arrow, Harris and Marschak, Econometrica 19 (1951) (the quantile of the newsvendor).

mod curve;
mod heads;
mod required;

pub use curve::{Curve, Learning, Shift, learn, shrunk};
pub use heads::{Crew, heads};
pub use required::{Daypart, Productivity, critical_share, demand_at, productivity, required_hours, rounded};

/// Why there is no curve, or no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Too few dayparts to learn from.
    #[error("{found} dayparts with guests and hours, {needed} needed for a curve")]
    TooFew {
        /// Dayparts that can be learned from.
        found: usize,
        /// Dayparts needed.
        needed: usize,
    },
    /// An option is not what it can be.
    #[error("`{option}` is {value}, which is not {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// What it is.
        value: f64,
        /// What it can be.
        expected: &'static str,
    },
}

impl Error {
    /// Says what the operator can do about it, if anything.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::TooFew { .. } => Some("use the curve of the store's type, or set a standard by hand"),
            Self::Option { .. } => Some("correct the option"),
        }
    }
}
