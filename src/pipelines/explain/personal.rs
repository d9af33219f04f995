//! What may be shown.

use std::collections::BTreeSet;

use serde_json::Map;

use crate::pipelines::Pipeline;
use crate::pipelines::made::is_made;
use crate::transforms::Feed;
use crate::warehouse::lineage::Relation;

/// Which columns of a table are shown.
#[derive(Debug, Clone)]
pub(in crate::pipelines) struct Shown {
    open: BTreeSet<String>,
    everything: bool,
}

impl Shown {
    /// Everything: somebody said so.
    pub(super) fn everything() -> Self {
        Self { open: BTreeSet::new(), everything: true }
    }

    /// Whether nothing is kept back.
    pub(super) fn is_everything(&self) -> bool {
        self.everything
    }

    /// Of a table that pipelines load into: what none of them calls personal, and none
    /// computes from what is. A column that no contract knows any more is kept back.
    pub(super) fn of_table(relation: &Relation, loaders: &[(&Pipeline, Vec<Feed>)]) -> Self {
        if loaders.is_empty() && is_made(&relation.name) {
            return Self::everything();
        }
        let mut open = BTreeSet::new();
        for (column, _) in &relation.columns {
            let makes = |(pipeline, feeds): &(&Pipeline, Vec<Feed>)| -> Option<bool> {
                let columns = &pipeline.definition.contract.columns;
                let is_personal = |name: &String| columns.iter().any(|column| column.personal && column.name == *name);
                if pipeline.transform.is_none() {
                    return columns.iter().find(|declared| declared.name == *column).map(|declared| declared.personal);
                }
                let feed = feeds.iter().find(|feed| feed.column == *column)?;
                Some(match &feed.inputs {
                    Some(inputs) => inputs.iter().any(is_personal),
                    None => columns.iter().any(|column| column.personal),
                })
            };
            let said: Vec<bool> = loaders.iter().filter_map(makes).collect();
            if !said.is_empty() && !said.contains(&true) {
                open.insert(column.clone());
            }
        }
        Self { open, everything: false }
    }

    /// Of a view: everything where no table it reads keeps a column back; else what by
    /// name is an open column of such a table, and what cannot hold a text.
    pub(super) fn of_view(view: &Relation, bases: &[(Relation, Self)]) -> Self {
        let kept_back =
            |(relation, shown): &(Relation, Self)| relation.columns.iter().any(|(name, _)| !shown.has(name));
        if !bases.iter().any(kept_back) {
            return Self::everything();
        }
        let open = |(name, kind): &&(String, String)| {
            let named: Vec<bool> = bases
                .iter()
                .filter(|(relation, _)| relation.type_of(name).is_some())
                .map(|(_, shown)| shown.has(name))
                .collect();
            let bare = !["text", "json", "char", "xml", "bytea"].iter().any(|word| kind.contains(word));
            if named.is_empty() { bare } else { !named.contains(&false) }
        };
        Self { open: view.columns.iter().filter(open).map(|(name, _)| name.clone()).collect(), everything: false }
    }

    /// Whether a column is shown.
    pub(in crate::pipelines) fn has(&self, column: &str) -> bool {
        self.everything || self.open.contains(column)
    }

    /// The values that are shown.
    pub(super) fn of(&self, values: &Map<String, serde_json::Value>) -> Map<String, serde_json::Value> {
        values.iter().filter(|(name, _)| self.has(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(view: bool, columns: &[(&str, &str)]) -> Relation {
        Relation {
            schema: "mart_harbor".into(),
            name: "punches".into(),
            view,
            columns: columns.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect(),
            key: Vec::new(),
            loaded: !view,
            history: None,
        }
    }

    #[test]
    fn a_view_over_personal_columns_shows_open_ones_and_no_text_under_a_new_name() {
        let base = relation(false, &[("user_id", "text"), ("employee_name", "text"), ("hours", "numeric(8,2)")]);
        let shown = Shown { open: ["user_id".to_owned(), "hours".to_owned()].into(), everything: false };
        let view = relation(
            true,
            &[
                ("user_id", "text"),
                ("employee_name", "text"),
                ("who", "text"),
                ("total", "numeric"),
                ("as_json", "jsonb"),
            ],
        );
        let shown = Shown::of_view(&view, &[(base.clone(), shown)]);
        let visible: Vec<&str> =
            view.columns.iter().map(|(name, _)| name.as_str()).filter(|name| shown.has(name)).collect();
        assert_eq!(visible, ["user_id", "total"]);
        assert!(Shown::of_view(&view, &[(base, Shown::everything())]).has("who"));
    }

    #[test]
    fn a_column_that_no_definition_knows_is_kept_back() {
        let table = relation(false, &[("employee_name", "text")]);
        assert!(!Shown::of_table(&table, &[]).has("employee_name"));
    }
}
