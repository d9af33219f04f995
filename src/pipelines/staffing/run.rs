//! A run that makes hours.

use std::collections::{BTreeMap, BTreeSet};

use chrono::NaiveDate;
use sha2::{Digest as _, Sha256};

use super::curves::{Curves, Shifts, StoreCurve};
use super::definition::StaffingOf;
use super::opening::{Opening, Part};
use super::plan::{Asked, Planned, plan_day};
use super::rows::batches;
use super::rules::{Holding, Rule, holding};
use super::tables::{Expected, Past, Source};
use crate::ids::BrandId;
use crate::pipelines::Error;
use crate::pipelines::definition::Pipeline;
use crate::pipelines::forecasting::{TABLE, forecaster};
use crate::pipelines::made::Made;
use crate::pipelines::report::{RunReport, Trigger};
use crate::pipelines::runner::Engine;
use crate::pipelines::tables;
use crate::pipelines::turn_tables::Turn;
use crate::warehouse::hexadecimal;
use crate::words::counted;

/// What planning hours came to.
#[derive(Debug, Clone)]
pub struct Staffed {
    /// The run, like any other.
    pub report: RunReport,
    /// Stores with hours.
    pub stores: usize,
    /// Stores without, with the reason.
    pub withheld: Vec<String>,
}

/// Everything that hours are made from.
struct Basis {
    made_on: NaiveDate,
    expected: Expected,
    past: Vec<Past>,
    parts: Vec<Part>,
    opening: Opening,
}

/// Days with their parts, curves, and what is to be told.
struct Plans {
    days: Vec<Vec<Planned>>,
    curves: BTreeMap<String, StoreCurve>,
    withheld: BTreeMap<String, String>,
    strange_parts: BTreeSet<String>,
}

impl Engine {
    /// Makes the hours that a pipeline's `[staffing]` asks for, for each day that its demand is
    /// forecast. The same forecast and history make the same hours, and then there is nothing new.
    ///
    /// # Errors
    /// When the run could not even be noted.
    pub async fn staff(
        &self,
        pipelines: &[Pipeline],
        (pipeline, of): (&Pipeline, &StaffingOf),
        brand: &BrandId,
        trigger: Trigger,
    ) -> Result<Staffed, Error> {
        let name = of.pipeline();
        let turn = Turn::take(&self.warehouse, &name, brand).await?;
        let (report, started) = self.open(&name, brand, trigger).await?;
        let mut staffed = Staffed { report, stores: 0, withheld: Vec::new() };
        let outcome = self.staff_and_load(&turn, pipelines, (pipeline, of), brand, &mut staffed).await;
        staffed.report = self.settle(staffed.report, started, outcome);
        tables::close_run_alone(&self.warehouse, &staffed.report, self.clock.now()).await?;
        turn.give_back().await;
        Ok(staffed)
    }

    async fn staff_and_load(
        &self,
        turn: &Turn,
        pipelines: &[Pipeline],
        (pipeline, of): (&Pipeline, &StaffingOf),
        brand: &BrandId,
        staffed: &mut Staffed,
    ) -> Result<(), Error> {
        // Definitions whose demand nobody forecasts are refused when they are read.
        let Some((demanding, demand)) = forecaster(pipelines, &of.demand) else { return Ok(()) };
        let own_table = &pipeline.definition.destination.table;
        let demand_table = &demanding.definition.destination.table;
        let source = Source { warehouse: &self.warehouse, brand, staffing: of, own_table, demand, demand_table };
        let Some((made_on, expected)) = source.expected().await? else {
            staffed.withheld.push(format!("`{}` is not forecast yet", of.demand));
            return Ok(());
        };
        let (past, parts, opening) = (source.past(made_on).await?, source.dayparts().await?, source.opening().await?);
        // After the reading: a load that came in between costs one run more at worst.
        let mut inputs = Vec::new();
        inputs.extend(tables::last_load_of(&self.warehouse, &demand.pipeline(), brand, TABLE).await?);
        for table in [Some(own_table), Some(demand_table), of.opening.as_ref()].into_iter().flatten() {
            inputs.extend(tables::last_load(&self.warehouse, brand, table).await?);
        }
        let basis = Basis { made_on, expected, past, parts, opening };
        let (name, content_hash) = (format!("staffing:{}", of.series), basis.content_hash(&of.rules));
        if self.made_before(&staffed.report, &name, &content_hash).await? {
            return Ok(());
        }
        let plans = basis.plan(&of.rules, brand);
        let report = &mut staffed.report;
        if !plans.strange_parts.is_empty() {
            let parts: Vec<&str> = plans.strange_parts.iter().map(String::as_str).collect();
            report.notes.push(format!(
                "demand of {} is not staffed for: `{}` does not say when that is",
                parts.join(", "),
                of.dayparts
            ));
        }
        staffed.withheld = plans.withheld.iter().map(|(store_id, why)| format!("{store_id}: {why}")).collect();
        if let Some(first) = staffed.withheld.first() {
            report
                .notes
                .push(format!("{} without hours, e.g. {first}", counted(staffed.withheld.len(), "store", "stores")));
        }
        staffed.stores = plans.curves.len();
        if plans.days.is_empty() {
            return Ok(());
        }
        let batches = batches(brand, &of.series, &plans.days, &plans.curves, made_on);
        let made = Made { batches, content_hash, name, series: of.series.clone(), inputs };
        self.load_made(turn, report, made).await
    }
}

impl Basis {
    /// What tells this from any other: the text of its content hash.
    fn content_hash(&self, rules: &[Rule]) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("staffing 1 {} {rules:?} {:?} {:?}\n", self.made_on, self.parts, self.opening));
        for (day, parts) in &self.expected {
            hash.update(format!("{day:?} {parts:?}\n"));
        }
        for past in &self.past {
            hash.update(format!("{past:?}\n"));
        }
        hexadecimal(&hash.finalize())
    }

    fn plan(&self, rules: &[Rule], brand: &BrandId) -> Plans {
        let part_of = |name: &str| self.parts.iter().find(|part| part.name == name);
        let mut shifts = Shifts::default();
        for past in &self.past {
            let Some(part) = part_of(&past.daypart) else { continue };
            let open_hours = self.opening.hours(&past.store_id, past.date, part);
            let held = holding(rules, brand, &past.store_id, past.date, &past.daypart);
            shifts.add(&past.store_id, open_hours, past.demand, past.hours, held.fixed_hours);
        }
        let mut curves = Curves::new(&shifts);
        let mut plans = Plans {
            days: Vec::new(),
            curves: BTreeMap::new(),
            withheld: BTreeMap::new(),
            strange_parts: BTreeSet::new(),
        };
        for ((store_id, date), demands) in &self.expected {
            plans.strange_parts.extend(demands.keys().filter(|name| part_of(name).is_none()).cloned());
            if plans.withheld.contains_key(store_id) {
                continue;
            }
            // Also parts without demand: while a store is open, somebody is there.
            let held: Vec<Holding> =
                self.parts.iter().map(|part| holding(rules, brand, store_id, *date, &part.name)).collect();
            let found: Result<Vec<StoreCurve>, _> =
                held.iter().map(|holding| curves.of(store_id, holding).clone()).collect();
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    let hint = error.hint().unwrap_or_default();
                    plans.withheld.insert(store_id.clone(), format!("{error}; {hint}"));
                    continue;
                }
            };
            let parts: Vec<Asked<'_>> = self
                .parts
                .iter()
                .zip(held)
                .zip(&found)
                .map(|((part, holding), of)| Asked {
                    daypart: &part.name,
                    demand: demands.get(&part.name).copied().unwrap_or_default(),
                    open_hours: self.opening.hours(store_id, *date, part),
                    holding,
                    curve: &of.curve,
                })
                .collect();
            let day = plan_day(store_id, *date, &parts);
            if let Some(first) = found.into_iter().next() {
                plans.curves.entry(store_id.clone()).or_insert(first);
                plans.days.push(day);
            }
        }
        plans
    }
}
