//! Time-series models. They know nothing of stores and sales: a series is a row
//! of numbers at even steps, oldest first, `None` where nothing was observed.

pub mod accuracy;
pub mod arima;
mod automatic;
pub mod box_cox;
pub mod calendar;
pub mod correlation;
pub mod dayparts;
pub mod ets;
mod fit_error;
#[cfg(test)]
mod generator;
pub mod intermittent;
pub mod labor;
mod linear;
mod optimize;
pub mod panel;
#[cfg(test)]
mod random;
pub mod regression;
mod seasonal_index;
mod seasonal_mean;
mod seasonal_naive;
pub mod stationarity;
mod step;
pub mod stl;
pub mod sums;
pub mod theta;

pub use automatic::{Automatic, Trial, automatic};
pub use fit_error::FitError;
pub use seasonal_mean::{floor, seasonal_mean};
pub use seasonal_naive::{Error, Point, seasonal_naive};
pub use step::Step;
