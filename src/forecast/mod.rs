//! Time-series models. They know nothing of stores and sales: a series is a row
//! of numbers at even steps, oldest first, `None` where nothing was observed.

pub mod accuracy;
pub mod arima;
pub mod correlation;
pub mod ets;
mod fit_error;
mod linear;
mod optimize;
#[cfg(test)]
mod random;
mod seasonal_naive;
pub mod stationarity;
pub mod stl;

pub use fit_error::FitError;
pub use seasonal_naive::{Error, Point, seasonal_naive};
