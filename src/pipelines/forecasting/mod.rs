//! Forecasts what a pipeline's table holds, and loads it like anything else.
//!
//! A series is a store's total by the day, the week or the month; a day's dayparts are shares of it, so that they
//! add up to it. What a run made goes to five tables of the brand: the forecast itself,
//! the model of each series with its backtest, the effects of holidays and the like,
//! the reasons of each number, and how far earlier forecasts were off.
//!
//! Invariants: the same history makes the same forecast, and then there is nothing new;
//! the forecast itself is loaded last, so that a run that died is made again.

mod definition;
mod events;
mod history;
mod rows;
mod run;
mod shares;
mod shown_tables;
mod tables;
mod watch;

pub use definition::{ForecastOf, Grain, Scale};
pub(in crate::pipelines) use definition::{forecaster, one_or_more};
pub use history::DAY;
pub(in crate::pipelines) use history::{WEEK, first_of};
pub(in crate::pipelines) use rows::is_of_forecasts;
pub use rows::{TABLE, forecast_tables};
pub use run::Forecast;
pub use shown_tables::{Ahead, EffectShown, Past, Reason, Shown, standing};
