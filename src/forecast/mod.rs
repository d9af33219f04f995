//! Time-series models. They know nothing of stores and sales: a series is a row
//! of numbers at even steps, oldest first, `None` where nothing was observed.

mod seasonal_naive;

pub use seasonal_naive::{Error, Point, seasonal_naive};
