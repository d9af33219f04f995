//! What a definition says of forecasts.

use std::fmt;

use chrono::Weekday;
use forecast::panel;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::contracts::is_plain;
use crate::ids::PipelineName;
use crate::pipelines::definition::Pipeline;

/// `[forecast]`, or one of several `[[forecast]]`: a series for each store, one value a day.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForecastOf {
    /// Its name in the table of forecasts.
    pub series: String,
    /// The column that is summed up.
    pub value: String,
    /// The date column.
    pub date: String,
    /// The column of the day's parts, where a day is told apart into them: dayparts, or quarter hours.
    pub daypart: Option<String>,
    /// The brand's table or view with the parts, where the pipeline's own table has whole days
    /// only: `store_id`, and columns of the names above.
    pub dayparts_from: Option<String>,
    /// The country whose holidays count: `us`, `ca`, `de`, `gb`.
    pub holidays: Option<String>,
    /// The brand's table of events: promotions, closures, school holidays, days of its own.
    pub events: Option<String>,
    /// How long a step is: what a store has in it is added up, and the sum is forecast.
    #[serde(default)]
    pub grain: Grain,
    /// Days ahead, rounded up to whole steps; default: `forecast.horizon_days` of the settings.
    pub horizon_days: Option<u32>,
    /// Whether effects multiply or add. Default: what the values say.
    #[serde(default)]
    pub scale: Scale,
}

/// How long a step of a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grain {
    /// A day: holidays, events and dayparts are for these.
    #[default]
    Day,
    /// From Monday to Sunday.
    Week,
    /// A month of the calendar.
    Month,
}

impl Grain {
    pub(super) fn of_panel(self) -> panel::Grain {
        match self {
            Self::Day => panel::Grain::Day,
            Self::Week => panel::Grain::Week(Weekday::Mon),
            Self::Month => panel::Grain::Month,
        }
    }

    /// SQL for the first day of the step that a date is in.
    pub(super) fn start_of(self, date: &str) -> String {
        match self {
            Self::Day => date.to_owned(),
            Self::Week => format!("date_trunc('week', {date}::timestamp)::date"),
            Self::Month => format!("date_trunc('month', {date}::timestamp)::date"),
        }
    }

    /// Steps that so many days are, begun ones included.
    pub(super) fn steps(self, days: u32) -> u32 {
        match self {
            Self::Day => days,
            Self::Week => days.div_ceil(7),
            Self::Month => days.div_ceil(31),
        }
    }

    /// Days of history that a forecast is made from: each season often enough.
    pub(super) fn history_days(self) -> u64 {
        match self {
            // Three years and a month: each holiday is there three times, the latest just before the cut-off.
            Self::Day => 3 * 365 + 31,
            Self::Week => 6 * 366,
            Self::Month => 12 * 366,
        }
    }
}

/// How effects come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// They multiply, unless more than 2 % of the values are below zero.
    #[default]
    Auto,
    /// They multiply: a holiday takes its share of a large store and of a small one.
    Log,
    /// They add: a holiday takes as much of each.
    Plain,
}

impl Scale {
    pub(super) fn multiplies(self) -> Option<bool> {
        match self {
            Self::Auto => None,
            Self::Log => Some(true),
            Self::Plain => Some(false),
        }
    }
}

impl ForecastOf {
    /// The name under which its runs are noted.
    pub fn pipeline(&self) -> PipelineName {
        PipelineName(format!("forecast_{}", self.series))
    }

    /// What of it cannot be, given the columns that reach the destination.
    pub(in crate::pipelines) fn problems(&self, columns: &[(String, String)]) -> Vec<String> {
        let there = |name: &str| columns.iter().any(|(column, _)| column == name);
        let own_part = self.daypart.as_deref().filter(|_| self.dayparts_from.is_none());
        let needed = ["store_id", &self.value, &self.date].into_iter().chain(own_part);
        let mut problems: Vec<String> = needed
            .filter(|name| !there(name))
            .map(|name| format!("`[forecast]` needs column `{name}`, which does not reach the destination"))
            .collect();
        if self.dayparts_from.is_some() && self.daypart.is_none() {
            problems.push("`[forecast]` with `dayparts_from` needs `daypart`, the name of the column there".to_owned());
        }
        for name in self.dayparts_from.iter().filter(|name| !is_plain(name)) {
            problems
                .push(format!("`[forecast]` names `{name}`: use lower-case letters, digits and `_`, a letter first"));
        }
        if self.grain != Grain::Day {
            let of_days = [("daypart", &self.daypart), ("holidays", &self.holidays), ("events", &self.events)];
            problems.extend(
                of_days.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| {
                    format!("`{key}` of `[forecast]` is for series by the day: leave it out, or `grain`")
                }),
            );
        }
        if self.horizon_days == Some(0) {
            problems.push("`horizon_days` of `[forecast]` is 0: a forecast needs a day to look at".to_owned());
        }
        problems
    }
}

/// The pipeline that forecasts a series, and the block that says how.
pub(in crate::pipelines) fn forecaster<'a>(
    pipelines: &'a [Pipeline],
    series: &str,
) -> Option<(&'a Pipeline, &'a ForecastOf)> {
    pipelines.iter().find_map(|pipeline| {
        let of = pipeline.definition.forecasts.iter().find(|of| of.series == series)?;
        Some((pipeline, of))
    })
}

/// Reads one block or several, each with its own messages.
pub(in crate::pipelines) fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ForecastOf>, D::Error> {
    struct Blocks;
    impl<'de> Visitor<'de> for Blocks {
        type Value = Vec<ForecastOf>;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a block `[forecast]`, or several `[[forecast]]`")
        }

        fn visit_map<A: MapAccess<'de>>(self, block: A) -> Result<Self::Value, A::Error> {
            ForecastOf::deserialize(MapAccessDeserializer::new(block)).map(|one| vec![one])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, blocks: A) -> Result<Self::Value, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(blocks))
        }
    }
    from.deserialize_any(Blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Holder {
        #[serde(default, deserialize_with = "one_or_more")]
        forecast: Vec<ForecastOf>,
    }

    fn read(text: &str) -> Result<Vec<ForecastOf>, String> {
        toml::from_str::<Holder>(text).map(|holder| holder.forecast).map_err(|error| error.to_string())
    }

    const ONE: &str = "series = \"sales\"\nvalue = \"amount\"\ndate = \"day\"\n";

    #[test]
    fn one_block_or_several_or_none() {
        assert!(read("").unwrap().is_empty());
        assert_eq!(read(&format!("[forecast]\n{ONE}")).unwrap()[0].series, "sales");
        let two = read(&format!("[[forecast]]\n{ONE}\n[[forecast]]\n{ONE}scale = \"log\"\n")).unwrap();
        assert_eq!((two.len(), two[0].scale, two[1].scale), (2, Scale::Auto, Scale::Log));
        for wrong in [format!("[forecast]\n{ONE}vlaue = \"x\"\n"), format!("[[forecast]]\n{ONE}vlaue = \"x\"\n")] {
            let message = read(&wrong).unwrap_err();
            assert!(message.contains("unknown field `vlaue`") && message.contains("line 5"), "{message}");
        }
    }

    #[test]
    fn columns_that_do_not_arrive_are_told() {
        let columns = ["store_id", "day"].map(|name| (name.to_owned(), "text".to_owned()));
        let of = &read(&format!("[forecast]\n{ONE}horizon_days = 0\ndayparts_from = \"parts\"\n")).unwrap()[0];
        let problems = of.problems(&columns);
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].contains("`amount`") && problems[1].contains("`daypart`"), "{problems:?}");
        let of =
            &read(&format!("[forecast]\n{ONE}grain = \"week\"\nholidays = \"us\"\ndaypart = \"part\"\n")).unwrap()[0];
        let problems =
            of.problems(&["store_id", "day", "amount", "part"].map(|name| (name.to_owned(), "text".to_owned())));
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[1].contains("`holidays`") && problems[1].contains("`grain`"), "{problems:?}");
    }

    #[test]
    fn days_are_rounded_up_to_steps() {
        assert_eq!([Grain::Day, Grain::Week, Grain::Month].map(|grain| grain.steps(35)), [35, 5, 2]);
        assert_eq!(Grain::Month.steps(365), 12);
    }
}
