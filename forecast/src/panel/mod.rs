//! A panel: many series by the day, forecast together; or by the week or the month ([`Grain`]), one by one.
//!
//! [`learn`] goes over all series once and gathers what groups know together;
//! [`forecast`] goes over them again, one at a time, and hands out one [`Forecast`] a
//! series, in the order they came in. [`backtest`] does the same on earlier cut-offs
//! and measures. Series come from iterators and are dropped when they are done, so
//! that a chain of any size fits into memory.
//!
//! ```
//! use forecast::panel::{self, Options, Series};
//!
//! let first = "2025-01-06".parse().unwrap();
//! let values: Vec<f64> = (0..70).map(|day| 100.0 + f64::from(day % 7 * 10) + f64::from(day * 37 % 11)).collect();
//! let series = || [Series::new("S1_sales", "sales", first, values.clone())].into_iter();
//! let options = Options { horizon: 7, origins: 0, ..Options::at("2025-03-16".parse().unwrap()) };
//! let knowledge = panel::learn(series(), &options, 1);
//! let mut points = Vec::new();
//! panel::forecast(series(), &knowledge, &options, |forecast| points = forecast.points);
//! assert_eq!(points.len(), 7);
//! assert!(points.iter().all(|point| point.interval_95.0 <= point.median && point.median <= point.interval_95.1));
//! ```
//!
//! What always holds:
//! - A missing day is no zero; a closed day is forecast as 0 and judges no model.
//! - A competition on an earlier cut-off sees what was known on its evening: values,
//!   events by [`Event::known_on`](super::calendar::Event), and what groups knew by then.
//! - Same input, same bytes, for any number of threads. No clock, no hash order.
//! - A series that fails is named in its own [`Forecast`]; the others never notice.
//! - Medians and means are both there: means add up, medians do not.

mod ahead;
mod backtest;
mod choose;
mod earlier;
mod grain;
mod model;
mod order;
mod periods;
mod prepare;
mod publish;
mod run;
mod score;
mod short;
mod study;
mod table;
#[cfg(test)]
mod tests;
mod types;

pub use backtest::{ByModel, Report, backtest};
pub use grain::Grain;
pub use model::Model;
pub use run::{Knowledge, forecast, learn};
pub use score::Scores;
pub use table::{Table, TableError, read_table};
pub use types::{
    Because, Champion, DayState, EffectEstimate, Flag, Forecast, ModelScore, Options, Point, Series, Status,
};
