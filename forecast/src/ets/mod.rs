//! Exponential smoothing as a family of models with a likelihood (ETS).
//!
//! A level, a trend (none, additive, damped) and a season (none, additive, multiplicative) that
//! each observation corrects, with an error that is additive or a fraction of the forecast.
//! With q the level and trend expected for a step, and d the observation freed of its season:
//!
//! ```text
//! level  = q + alpha (d - q)
//! trend  = phi trend + beta / alpha (level - level before - phi trend)
//! season = season + gamma (y - q - season)      or   gamma (y / q - season)
//! ```
//!
//! - Smoothing coefficients and initial states are found together by least squares with exact
//!   slopes (Levenberg and Marquardt). Additive models are linear in their initial states, so that
//!   one step solves those; with multiplicative errors the squares are those of the error times the
//!   geometric mean of the forecasts, whose minimum is that of the likelihood.
//! - Coefficients stay in the usual region (0 < alpha < 1, beta < alpha, gamma < 1 - alpha,
//!   0.8 <= phi <= 0.98), which lies within the region where a model forgets its beginning.
//! - A step that was not observed moves the states on and corrects nothing.
//! - The likelihood leaves its constants out, as is usual for this family; it says nothing in
//!   comparison with another family's.
//!
//! Sources: Hyndman, Koehler, Snyder and Grose, Int. J. Forecasting 18 (2002); Hyndman, Koehler, Ord
//! and Snyder, "Forecasting with Exponential Smoothing" (2008), ch. 2, 5, 6 and 10; Marquardt,
//! J. SIAM 11 (1963).

mod estimate;
mod fitted;
mod recursion;
mod search;
mod shape;
#[cfg(test)]
mod tests;

pub use estimate::fit;
pub use fitted::{Fitted, States};
pub use search::search;
pub use shape::{ErrorKind, Season, Shape, Trend};

pub use super::fit_error::FitError as Error;
pub use super::step::Step;
