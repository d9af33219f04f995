//! A question's text over the rows of listed stores only. Pure.
//!
//! Rows of a store that the list of stores has lost belong to nobody: every role of a
//! reader is held to the list. Their owner, whose answer is the truth, sees them all the
//! same, so each table that a text names is narrowed to the stores of its schema's list.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Ident, ObjectName, ObjectNamePart, Query, Statement, TableAlias, TableFactor, VisitMut as _, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use crate::warehouse::probe::Relation;

/// Writes the text anew, every table and view with a `store_id` narrowed.
///
/// # Errors
/// Where the parser does not understand it.
pub(super) fn narrowed(sql: &str, relations: &[Relation]) -> Result<String, String> {
    let mut statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|error| error.to_string())?;
    let mut narrowing = Narrowing { relations, wrong: None };
    let _flow = statements.visit(&mut narrowing);
    match narrowing.wrong {
        Some(wrong) => Err(wrong),
        None => Ok(statements.iter().map(ToString::to_string).collect::<Vec<_>>().join(";\n")),
    }
}

struct Narrowing<'a> {
    relations: &'a [Relation],
    wrong: Option<String>,
}

impl VisitorMut for Narrowing<'_> {
    type Break = ();

    // On the way back: what is put in its place is not visited again.
    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        let TableFactor::Table { name, alias, args: None, .. } = &*factor else { return ControlFlow::Continue(()) };
        let Some((schema, table)) = schema_and_table(name) else { return ControlFlow::Continue(()) };
        let named = |relation: &&Relation| relation.schema == schema.value && relation.name == table.value;
        let Some(relation) = self.relations.iter().find(named).filter(|relation| relation.by_store) else {
            return ControlFlow::Continue(());
        };
        let key = if relation.by_brand { "brand, store_id" } else { "store_id" };
        let text = format!("SELECT * FROM {name} WHERE ({key}) IN (SELECT {key} FROM {schema}.stores)");
        let alias = alias.clone().unwrap_or_else(|| TableAlias {
            explicit: true,
            name: table.clone(),
            columns: Vec::new(),
            at: None,
        });
        match query(&text) {
            Ok(subquery) => {
                *factor = TableFactor::Derived { lateral: false, subquery, alias: Some(alias), sample: None };
                ControlFlow::Continue(())
            }
            Err(wrong) => {
                self.wrong = Some(wrong);
                ControlFlow::Break(())
            }
        }
    }
}

fn schema_and_table(name: &ObjectName) -> Option<(&Ident, &Ident)> {
    match name.0.as_slice() {
        [ObjectNamePart::Identifier(schema), ObjectNamePart::Identifier(table)] => Some((schema, table)),
        _ => None,
    }
}

fn query(text: &str) -> Result<Box<Query>, String> {
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, text).map_err(|error| error.to_string())?;
    match statements.into_iter().next() {
        Some(Statement::Query(query)) => Ok(query),
        _ => Err(format!("`{text}` is no query")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(schema: &str, name: &str, by_store: bool) -> Relation {
        let by_brand = schema == "mart_all";
        let (schema, name) = (schema.to_owned(), name.to_owned());
        Relation { schema, name, view: false, by_store, by_brand, owner_rights: false }
    }

    fn written(sql: &str) -> String {
        let relations = [
            relation("mart_harbor", "sales", true),
            relation("mart_harbor", "calendar", false),
            relation("mart_all", "sales", true),
        ];
        narrowed(sql, &relations).unwrap()
    }

    #[test]
    fn every_table_of_stores_is_narrowed_and_nothing_else() {
        let joined = "WITH a AS (SELECT max(d) AS d FROM mart_harbor.sales) SELECT sum(s.x) FROM mart_harbor.sales AS s \
                      JOIN mart_harbor.calendar c USING (d) WHERE s.d > (SELECT d FROM a)";
        insta::assert_snapshot!(written(joined), @"WITH a AS (SELECT max(d) AS d FROM (SELECT * FROM mart_harbor.sales WHERE (store_id) IN (SELECT store_id FROM mart_harbor.stores)) AS sales) SELECT sum(s.x) FROM (SELECT * FROM mart_harbor.sales WHERE (store_id) IN (SELECT store_id FROM mart_harbor.stores)) AS s JOIN mart_harbor.calendar c USING(d) WHERE s.d > (SELECT d FROM a)");
        let united = "SELECT 1 FROM mart_all.sales UNION ALL SELECT 2 FROM generate_series(1, 3)";
        insta::assert_snapshot!(written(united), @"SELECT 1 FROM (SELECT * FROM mart_all.sales WHERE (brand, store_id) IN (SELECT brand, store_id FROM mart_all.stores)) AS sales UNION ALL SELECT 2 FROM generate_series(1, 3)");
    }

    #[test]
    fn a_text_that_is_not_understood_is_told() {
        assert!(narrowed("SELECT (", &[]).is_err());
    }
}
