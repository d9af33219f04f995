//! What a definition says of hours of work.

use serde::Deserialize;

use super::rules::Rule;
use crate::contracts::is_plain;
use crate::ids::PipelineName;
use crate::pipelines::definition::Pipeline;
use crate::pipelines::forecasting::forecaster;

/// `[staffing]`: hours of work for each store, day and daypart. It stands with the pipeline whose
/// table says what was worked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaffingOf {
    /// Its name in the table of hours.
    pub series: String,
    /// The series that is staffed for: one that is forecast by daypart, better counted (orders, guests) than in money.
    pub demand: String,
    /// What was worked.
    pub worked: Worked,
    /// The brand's table or view of dayparts: `daypart`, `from_minute` and `until_minute`, counted from the business
    /// date's midnight (25:30 is 1530).
    pub dayparts: String,
    /// The brand's table of opening hours: `store_id`, `day_of_week` (1 is Monday), `opens_at`, `closes_at`.
    /// Without one a store is open in all dayparts.
    pub opening: Option<String>,
    /// Weeks of history that the curves are learned from.
    #[serde(default = "half_a_year")]
    pub weeks: u32,
    /// What holds where and when; later ones win.
    #[serde(default)]
    pub rules: Vec<Rule>,
}

/// Where the hours are that were worked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worked {
    /// A table or view of the brand, with `store_id`; default: the pipeline's own table.
    pub from: Option<String>,
    /// The column of hours. Rows without a value teach nothing: leave it empty where a day is not known whole.
    pub value: String,
    /// The date column.
    pub date: String,
    /// The column of dayparts.
    pub daypart: String,
}

fn half_a_year() -> u32 {
    26
}

impl StaffingOf {
    /// The name under which its runs are noted.
    pub fn pipeline(&self) -> PipelineName {
        PipelineName(format!("staffing_{}", self.series))
    }

    /// What of it cannot be, given all pipelines.
    pub(in crate::pipelines) fn problems_among(&self, pipelines: &[Pipeline]) -> Vec<String> {
        let mut problems = Vec::new();
        match forecaster(pipelines, &self.demand) {
            None => problems.push(format!("`[staffing]` staffs for `{}`, which no `[forecast]` makes", self.demand)),
            Some((_, of)) if of.daypart.is_none() => {
                problems.push(format!("`[staffing]` staffs for `{}`, which is not forecast by daypart", self.demand));
            }
            Some(_) => {}
        }
        let worked = &self.worked;
        let names = [&self.series, &self.dayparts, &worked.value, &worked.date, &worked.daypart];
        for name in names.into_iter().chain(&self.opening).chain(&worked.from).filter(|name| !is_plain(name)) {
            problems
                .push(format!("`[staffing]` names `{name}`: use lower-case letters, digits and `_`, a letter first"));
        }
        if self.weeks == 0 {
            problems.push("`weeks` of `[staffing]` is 0: curves are learned from a history".to_owned());
        }
        problems.extend(self.rules.iter().enumerate().filter_map(|(at, rule)| {
            let message = rule.problem()?;
            Some(format!("rule {} of `[staffing]`: {message}", at + 1))
        }));
        problems
    }
}
