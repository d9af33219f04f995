//! Calendar regression: what holidays, promotions, school, closures and the time of
//! year do to a series, around a level that moves.
//!
//! `y_t = level_t + Σ effect_j x_tj + noise`, on the log scale for what multiplies.
//! Every effect has a prior, so that one holiday seen once is not believed blindly
//! ("ridge"; Hoerl and Kennard 1970, in its Bayesian reading), and the priors are
//! learned from all series of a group ([`Pool`]), so that a new series starts with
//! what its group knows (empirical Bayes; Efron and Morris 1975, with DerSimonian and
//! Laird's moment estimator of the spread, 1986). The level is linear between knots
//! that walk randomly. Noise is autocorrelated: rows are differenced with its lag-one
//! correlation (Cochrane and Orcutt 1949), over gaps with their length.
//!
//! Invariant: nothing here looks at a day after the cut-off, nor at an event that was
//! not known on its evening.

mod cholesky;
mod design;
mod effect;
mod fit;
mod pool;

pub use design::Design;
pub use effect::{Effect, Part};
pub(crate) use fit::median;
pub use fit::{Fit, Prior, fit};
pub(crate) use pool::hash;
pub use pool::{Contribution, Pool, Pooled, Pooling};
