//! Seasonal ARIMA with regressors, drift and missing values, by exact Gaussian likelihood.
//!
//! The model of y, with B the step back, m the season and x the regressors:
//!
//! ```text
//! y_t = constant + x_t' b + n_t
//! phi(B) Phi(B^m) (1-B)^d (1-B^m)^D n_t = theta(B) Theta(B^m) e_t,   e_t ~ N(0, sigma2)
//! phi(B) = 1 - phi_1 B - ...,  theta(B) = 1 + theta_1 B + ...
//! ```
//!
//! - Variance, constant and regression coefficients are solved for (generalised least
//!   squares); only the AR and MA coefficients are searched for, each factor in the space of its
//!   partial autocorrelations, so that every point of the search is stationary.
//! - Without gaps the likelihood of the differenced series is computed by the recursions of
//!   Chandrasekhar type, in time O(n r) for r coefficients.
//! - The likelihood that is *reported*, and with gaps the one that is maximised, is that of a
//!   Kalman filter on the undifferenced series: unknown starting values have the variance
//!   1e6 times sigma2, and steps with a variance of 1e4 or more are not counted.
//! - Nothing depends on time, threads or the order of a hash map: same input, same bytes.
//!
//! Sources: Gardner, Harvey and Phillips, Applied Statistics 29 (1980), AS 154; Harvey and
//! Pierse, JASA 79 (1984); Durbin and Koopman, "Time Series Analysis by State Space Methods"
//! (2012); Morf, Sidhu and Kailath, IEEE Trans. Automatic Control 19 (1974); Herbst,
//! Computational Economics 45 (2015); Monahan, Biometrika 71 (1984); Jones, Technometrics 22
//! (1980); Hyndman and Khandakar, Journal of Statistical Software 27 (2008).

mod chandrasekhar;
mod covariance;
mod descent;
mod estimate;
mod fitted;
mod kalman;
mod order;
mod polynomial;
mod problem;
mod search;
#[cfg(test)]
mod tests;

pub use estimate::{Precision, fit, fit_with, likelihood_at};
pub use fitted::{Fitted, Likelihood, Step};
pub use order::{Order, Regressors};
pub use search::{Candidate, Search, Space, log_jacobian, search};

pub use super::fit_error::FitError as Error;
