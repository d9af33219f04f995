//! The models that compete.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A model by its name, as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// The value of the same weekday a week ago.
    SeasonalNaive,
    /// The mean of the last four same weekdays.
    SameWeekdays,
    /// Calendar regression, then seasonal ARIMA (1,0,1)(0,1,1) by the week.
    CalendarSarima,
    /// Calendar regression, then the seasonal ARIMA that fits best of a short list.
    CalendarSarimaSearched,
    /// Calendar regression, then exponential smoothing.
    CalendarEts,
    /// Calendar regression, then theta.
    CalendarTheta,
    /// The mean of the best of those, on the log scale.
    CalendarMean,
    /// Weekday shares of zero and sizes of the rest.
    Intermittent,
    /// Own level, the group's weekdays and effects: for young stores.
    Young,
    /// A planned amount, the group's weekdays and effects.
    Planned,
    /// The last value again.
    Constant,
    /// The mean of ARIMA and exponential smoothing, or the one that did clearly better: series by the
    /// week or the month.
    General,
}

impl Model {
    /// Its name, as it is stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::SeasonalNaive => "seasonal_naive",
            Self::SameWeekdays => "same_weekdays",
            Self::CalendarSarima => "calendar_sarima",
            Self::CalendarSarimaSearched => "calendar_sarima_searched",
            Self::CalendarEts => "calendar_ets",
            Self::CalendarTheta => "calendar_theta",
            Self::CalendarMean => "calendar_mean",
            Self::Intermittent => "intermittent",
            Self::Young => "young",
            Self::Planned => "planned",
            Self::Constant => "constant",
            Self::General => "general",
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
