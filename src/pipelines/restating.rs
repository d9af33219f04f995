//! The ledger of what sources said differently of days that were over.

use super::columns;
use super::definition::Pipeline;
use super::explain::{ExplainError, Explainer};
use crate::contracts::{ColumnType, spelled};
use crate::ids::BrandId;
use crate::warehouse::Warehouse;
use crate::warehouse::lineage::Relation;
use crate::warehouse::restatements::{self, Restatement, Wanted};

/// What a brand's tables say.
#[derive(Debug, Clone, Default)]
pub struct Restated {
    /// Each value, the latest first.
    pub lines: Vec<Restatement>,
    /// Tables whose rows belong to no day, or have no key.
    pub without_date: Vec<String>,
    /// Whether there is more.
    pub cut: bool,
}

/// Reads the ledger of a brand's tables, or of one of them. Personal values are kept
/// back unless `with_personal` says otherwise.
///
/// # Errors
/// When PostgreSQL refuses.
pub async fn restatements(
    warehouse: &Warehouse,
    pipelines: &[Pipeline],
    brand: &BrandId,
    table: Option<&str>,
    wanted: &Wanted,
    with_personal: bool,
) -> Result<Restated, ExplainError> {
    let mut restated = Restated::default();
    let mut seen = std::collections::BTreeSet::new();
    let explainer = Explainer {
        warehouse,
        pipelines,
        brands: vec![brand.clone()],
        worksheet_limit_bytes: 0,
        with_personal,
        limit: 1,
    };
    for pipeline in pipelines.iter().filter(|pipeline| pipeline.serves(brand)) {
        let name = &pipeline.definition.destination.table;
        // Two pipelines may share a table.
        if table.is_some_and(|table| table != name) || !seen.insert(name.clone()) {
            continue;
        }
        let pipeline = columns::recall(warehouse, pipeline, brand).await.map_err(ExplainError::Pipeline)?;
        let destination = pipeline.table(brand);
        let Some(relation) = Relation::find(warehouse, brand, name).await.map_err(ExplainError::Lineage)? else {
            continue;
        };
        let mut wanted = wanted.clone();
        let contract = &pipeline.definition.contract;
        let store = contract.columns.iter().find(|column| column.column_type == ColumnType::StoreId);
        wanted.store =
            wanted.store.map(|given| store.and_then(|column| spelled(contract, column, &given)).unwrap_or(given));
        let shown = explainer.shown(brand, &relation).await?;
        if destination.key.is_empty() || destination.business_date().is_none() {
            restated.without_date.push(name.clone());
            continue;
        }
        // One more than is wanted tells whether there is more.
        wanted.limit = wanted.limit.saturating_add(1);
        let lines = restatements::read(warehouse, &destination, &wanted).await.map_err(ExplainError::Lineage)?;
        let mut lines = lines.unwrap_or_default();
        if lines.len() as i64 >= wanted.limit {
            restated.cut = true;
            lines.pop();
        }
        for line in &mut lines {
            line.key.retain(|name, _| shown.has(name));
            if !shown.has(&line.column) && !line.column.is_empty() {
                (line.old, line.new, line.withheld) = (None, None, true);
            }
        }
        restated.lines.extend(lines);
    }
    restated.lines.sort_by_key(|line| std::cmp::Reverse(line.load_id));
    Ok(restated)
}
