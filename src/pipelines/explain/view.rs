//! A view: its rows, and those of the tables that it rests on.

use serde_json::Map;

use super::answer::{BaseAnswer, Value, ViewAnswer};
use super::explainer::{ExplainError, Explainer};
use super::personal::Shown;
use crate::ids::BrandId;
use crate::warehouse::lineage::{self, Relation};

impl Explainer<'_> {
    /// Says what a view rests on. A base table's rows are those with the same values in
    /// columns of the same name; what the view joins by other conditions is not among them.
    pub(super) async fn view(
        &self,
        brand: &BrandId,
        view: &Relation,
        asked: &[(String, Option<String>)],
        columns: &[String],
    ) -> Result<ViewAnswer, ExplainError> {
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        let rows = lineage::view_rows(self.warehouse, view, asked, limit).await;
        let (rows, rows_total) = rows.map_err(ExplainError::Lineage)?;
        let (names, sql) = lineage::bases(self.warehouse, view).await.map_err(ExplainError::Lineage)?;
        let mut bases = Vec::new();
        let mut shown = Vec::new();
        for (schema, table) in names {
            let own = schema == brand.schema();
            let relation = if own {
                Relation::find(self.warehouse, brand, &table).await.map_err(ExplainError::Lineage)?
            } else {
                None
            };
            let mut base = BaseAnswer {
                schema,
                table,
                matched_by: Vec::new(),
                not_there: Vec::new(),
                rows_total: None,
                rows: Vec::new(),
            };
            let Some(relation) = relation.filter(|relation| relation.loaded) else {
                bases.push(base);
                continue;
            };
            let (here, away): (Vec<_>, Vec<_>) =
                asked.iter().cloned().partition(|(column, _)| relation.type_of(column).is_some());
            base.matched_by = here.iter().map(|(column, _)| column.clone()).collect();
            base.not_there = away.into_iter().map(|(column, _)| column).collect();
            if !here.is_empty() {
                let count = lineage::count_rows(self.warehouse, &relation, &here).await;
                base.rows_total = Some(count.map_err(ExplainError::Lineage)?);
                let key = self.key_of(&relation);
                let only: Vec<String> =
                    columns.iter().filter(|column| relation.type_of(column).is_some()).cloned().collect();
                let mut draft = self.draft(brand, &relation, &key, &here, None, &only).await?;
                // Only what the view sees.
                draft.rows.retain(|row| row.standing == super::answer::Standing::There);
                base.rows = self.finish(vec![draft]).await?.pop().unwrap_or_default();
            }
            shown.push((relation.clone(), self.shown(brand, &relation).await?));
            bases.push(base);
        }
        let visible = if self.with_personal { Shown::everything() } else { Shown::of_view(view, &shown) };
        let value = |values: &Map<String, serde_json::Value>, column: &str| Value {
            column: column.to_owned(),
            value: values
                .get(column)
                .and_then(|value| value.as_str().map(str::to_owned))
                .filter(|_| visible.has(column)),
            withheld: !visible.has(column),
            cells: None,
            expression: None,
        };
        let wanted = |name: &&str| columns.is_empty() || columns.iter().any(|column| column == name);
        let names: Vec<&str> = view.columns.iter().map(|(name, _)| name.as_str()).filter(wanted).collect();
        let rows = rows.iter().map(|values| names.iter().map(|name| value(values, name)).collect()).collect();
        Ok(ViewAnswer { rows, rows_total, bases, sql })
    }
}
