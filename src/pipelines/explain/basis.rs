//! What a forecast was made from.

use chrono::NaiveDate;

use super::answer::{Basis, BasisRow};
use super::explainer::{ExplainError, Explainer};
use crate::ids::BrandId;
use crate::pipelines::forecasting::{DAY, Grain, WEEK, first_of, forecaster};
use crate::warehouse::basis::{Series, last_load_before};
use crate::warehouse::lineage::{Relation, Version};
use crate::warehouse::origins::{self, LoadFacts};

/// Rows that are shown.
const SHOWN: i64 = 12;

impl Explainer<'_> {
    /// Says what a row of the forecasts' table was made from; `None` where no definition
    /// forecasts the series any more, or its table is gone.
    pub(super) async fn basis(
        &self,
        brand: &BrandId,
        row: &Version,
        load: &LoadFacts,
    ) -> Result<Option<Basis>, ExplainError> {
        let text = |column: &str| row.values.get(column).and_then(|value| value.as_str()).unwrap_or_default();
        let date = |column: &str| text(column).parse::<NaiveDate>().ok();
        let Some((pipeline, of)) = forecaster(self.pipelines, text("series")) else { return Ok(None) };
        let table = &pipeline.definition.destination.table;
        let (Some(day), Some(last_day)) = (date("business_date"), date("made_on")) else { return Ok(None) };
        let relation = Relation::find(self.warehouse, brand, table).await.map_err(ExplainError::Lineage)?;
        let Some(relation) = relation.filter(|relation| relation.loaded) else { return Ok(None) };
        let inputs = origins::loads(self.warehouse, &load.inputs).await.map_err(ExplainError::Lineage)?;
        let noted = inputs.into_iter().filter(|input| input.table == *table).max_by_key(|input| input.load_id);
        let is_noted = noted.is_some();
        let up_to = match noted {
            Some(noted) => Some(noted),
            None => {
                let last = last_load_before(self.warehouse, brand, table, load.load_id).await;
                let last: Vec<i64> = last.map_err(ExplainError::Lineage)?.into_iter().collect();
                origins::loads(self.warehouse, &last).await.map_err(ExplainError::Lineage)?.pop()
            }
        };
        let own_part = of.daypart.as_deref().filter(|_| of.dayparts_from.is_none());
        let daypart = own_part.map(|column| (column, text("daypart"))).filter(|(_, part)| *part != DAY);
        let series = Series {
            relation: &relation,
            value: &of.value,
            date: &of.date,
            store_id: text("store_id"),
            daypart,
            up_to_load: up_to.as_ref().map_or(i64::MAX, |load| load.load_id),
            first_day: first_of(last_day, of.grain),
            last_day,
        };
        let season_days = if of.grain == Grain::Month { 1 } else { WEEK };
        let season = i32::try_from(season_days).unwrap_or(i32::MAX);
        let (held, rows) = series.read(self.warehouse, day, season, SHOWN).await.map_err(ExplainError::Lineage)?;
        let ids: Vec<i64> = rows.iter().map(|row| row.file_id).collect();
        let files = origins::files(self.warehouse, &ids).await.map_err(ExplainError::Lineage)?;
        let one = |row: crate::warehouse::basis::HeldRow| {
            let file = files.iter().find(|file| file.file_id == row.file_id);
            BasisRow {
                date: row.date,
                value: row.value,
                load_id: row.load_id,
                file: file.map(|file| file.name.clone()),
                sheet: file.and_then(|file| file.sheet.clone()),
                source_row: row.source_row,
            }
        };
        Ok(Some(Basis {
            table: table.clone(),
            value: of.value.clone(),
            up_to_load: up_to,
            noted: is_noted,
            rows: held.rows,
            first_day: held.first_day,
            last_day: held.last_day,
            total: held.total,
            season_days,
            same_season_day: rows.into_iter().map(one).collect(),
        }))
    }
}
