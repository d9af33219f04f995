//! What goes in, and what comes out.

use std::sync::Arc;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use super::grain::Grain;
use super::model::Model;
use crate::calendar::Event;
use crate::regression::Part;

/// What a day of the history is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DayState {
    /// The store was open and its number is known.
    Observed,
    /// No file told.
    Missing,
    /// The calendar knew it closed, or it never opens on that weekday.
    Closed,
    /// Nothing, or next to nothing, on a day on which it usually opens.
    ClosedUnplanned,
    /// The number is of a part of the day only.
    Partial,
    /// Observed, and so far from what was to be expected that it counts only in part.
    Outlier,
}

impl DayState {
    /// Whether the day's number may teach and judge a model.
    pub fn counts(self) -> bool {
        matches!(self, Self::Observed | Self::Outlier)
    }
}

/// One series by the day (or by the options' grain: then a day below is a step): what a store sold, say.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name, unique in the panel.
    pub id: String,
    /// Series of one group share their effects: a kind of number in a type of store.
    pub group: String,
    /// The day of the first value; where steps are longer, any day of the first step.
    pub first: NaiveDate,
    /// One value a day, `NaN` where nothing is known. May end before the cut-off.
    pub values: Vec<f64>,
    /// One state a day, or none at all: then they are found out. A state other than
    /// `Observed` is believed.
    pub states: Vec<DayState>,
    /// Events of many series: holidays of a country and state.
    pub calendar: Arc<[Event]>,
    /// Events of this series. Both may reach past the horizon.
    pub events: Vec<Event>,
    /// What an earlier run settled on. Without it, all models compete.
    pub previous: Option<Champion>,
    /// An amount a day that somebody planned, for a store too young to be forecast.
    pub planned: Option<f64>,
    /// Whether effects multiply (`true`) or add; `None`: what the values say.
    pub multiplies: Option<bool>,
}

impl Series {
    /// A series with values and nothing known beside them.
    pub fn new(id: &str, group: &str, first: NaiveDate, values: Vec<f64>) -> Self {
        Self {
            id: id.to_owned(),
            group: group.to_owned(),
            first,
            values,
            states: Vec::new(),
            calendar: Arc::from([]),
            events: Vec::new(),
            previous: None,
            planned: None,
            multiplies: None,
        }
    }
}

/// How a panel is forecast.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a step is: a day by default. Longer steps know no calendar and no group: no events, no champions.
    pub grain: Grain,
    /// The last day that may be known. Later values and later knowledge are ignored. Of longer steps,
    /// those count that have ended by then.
    pub cutoff: NaiveDate,
    /// Steps ahead, 28 by default.
    pub horizon: usize,
    /// Earlier cut-offs, `horizon` steps apart, on which models compete: 3 by default. 0 is the
    /// quickest where all champions are kept.
    pub origins: usize,
    /// Whether all models compete again, or the previous champion is only fitted anew.
    /// A series without a previous champion always has a competition, as far as there are origins.
    pub reselect: bool,
    /// Worker threads. The answer is the same to the byte for any number.
    pub threads: usize,
    /// Seconds this thread has worked; only a backtest's report shows what it tells. Nothing is
    /// decided by it: a forecast does not depend on time.
    pub stopwatch: fn() -> f64,
}

impl Options {
    /// The defaults for a cut-off.
    pub fn at(cutoff: NaiveDate) -> Self {
        Self { grain: Grain::Day, cutoff, horizon: 28, origins: 3, reselect: true, threads: 1, stopwatch: || 0.0 }
    }
}

/// One step ahead, in the unit of the series.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// The day, or the first day of a longer step.
    pub date: NaiveDate,
    /// Steps behind the cut-off, from 1.
    pub lead: usize,
    /// As likely to be over as under. Never negative, like all here.
    pub median: f64,
    /// Expected value: the one to add up over days and stores.
    pub mean: f64,
    /// Bounds of the central 80 percent.
    pub interval_80: (f64, f64),
    /// Bounds of the central 95 percent.
    pub interval_95: (f64, f64),
    /// The store will be closed: all is 0.
    pub closed: bool,
    /// A guard rail pulled the number back.
    pub clipped: bool,
    /// Standard deviation on the scale of the model (log for most), before calibration.
    pub deviation: f64,
    /// Why the median is what it is.
    pub because: Because,
}

/// How a number came about: on the log scale the median is `exp(level + Σ parts)`, on
/// the plain scale `level + Σ parts`, before guard rails.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Because {
    /// Whether the parts multiply (log scale) or add.
    pub multiplies: bool,
    /// Where the series stands, without anything below.
    pub level: f64,
    /// What each reason adds; reasons that are not at work are left out.
    pub parts: Vec<(Part, f64)>,
}

/// An effect in a series, beside what its group knows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EffectEstimate {
    /// Its name, e.g. `holiday:thanksgiving`, `promotion on friday`.
    pub effect: String,
    /// On the log scale: 0.1 is 10.5 percent more.
    pub estimate: f64,
    /// Its standard deviation.
    pub deviation: f64,
    /// What the others of the group make of it, if any have seen it.
    pub pooled: Option<f64>,
    /// Days of this series that have seen it.
    pub seen: usize,
}

/// Scores over the origins, of one model of a series.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelScore {
    /// Which model.
    pub model: Model,
    /// Absolute error over that of the season before, leads weighted 0.5, 0.3, 0.2 for
    /// days 1-7, 8-14 and later.
    pub mase: f64,
    /// Days scored.
    pub days: usize,
}

/// What a run settled on for a series: keep it and hand it in again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Champion {
    /// The model.
    pub model: Model,
    /// Its parameters, for a warm start.
    pub parameters: Vec<f64>,
    /// What makes its intervals honest: factors at 80 and 95 percent for leads 1-7,
    /// 8-14 and later.
    pub factors: [(f64, f64); 3],
    /// How the models did when they last competed.
    pub scores: Vec<ModelScore>,
    /// The cut-off of that competition.
    pub chosen_on: NaiveDate,
}

/// What became of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Forecast as wished.
    Forecast,
    /// Forecast by a simpler model; the reason says why.
    Fallback,
    /// Nothing sold for long: forecast as it last was.
    Dead,
    /// Not forecast; the reason says why.
    Withheld,
}

/// Something a reader of the forecast should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flag {
    /// The last days before the cut-off are missing.
    Stale,
    /// The level shifted within the last eight weeks.
    LevelShift,
    /// Days were pulled back by a guard rail.
    Clipped,
    /// The horizon's sum is far from the latest weeks', and the calendar does not say why.
    UnusualSum,
}

/// The forecast of a series, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Forecast {
    /// The series.
    pub id: String,
    /// Its group.
    pub group: String,
    /// What became of it.
    pub status: Status,
    /// The model, unless nothing was forecast.
    pub model: Option<Model>,
    /// Why this model: the competition in a sentence, or what failed.
    pub reason: String,
    /// Why a simpler model had to do, or nothing was forecast.
    pub fallback_reason: Option<String>,
    /// One point a day; empty when withheld.
    pub points: Vec<Point>,
    /// What the calendar does to it.
    pub effects: Vec<EffectEstimate>,
    /// To be handed in next time.
    pub champion: Option<Champion>,
    /// Errors of this model, with today's factors, on the earlier cut-offs; only where there was a
    /// competition.
    pub backtest: Option<super::score::Scores>,
    /// What a reader should know.
    pub flags: Vec<Flag>,
    /// Observed days.
    pub observed: usize,
    /// Missing days.
    pub missing: usize,
    /// States by day of the history, from the series' first day to the cut-off.
    pub states: Vec<DayState>,
}
