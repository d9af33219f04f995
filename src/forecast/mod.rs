//! Time-series models. They know nothing of stores and sales: a series is a row
//! of numbers at even steps, oldest first, `None` where nothing was observed.

pub mod accuracy;
pub mod arima;
pub mod calendar;
pub mod correlation;
mod fit_error;
#[cfg(test)]
mod generator;
mod linear;
mod optimize;
pub mod panel;
#[cfg(test)]
mod random;
pub mod regression;
mod seasonal_naive;
pub mod stationarity;
pub mod stl;

pub use fit_error::FitError;
pub use seasonal_naive::{Error, Point, seasonal_naive};
