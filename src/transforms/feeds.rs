//! Which input columns feed which output column of a transform: read from its plan.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::run::{Error, Transform};

/// What an output column is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feed {
    /// Its name.
    pub column: String,
    /// The input columns it is computed from; `None` where the plan does not tell.
    pub inputs: Option<BTreeSet<String>>,
    /// How it is computed, as the planner writes it, where that is more than a name.
    pub expression: Option<String>,
}

/// Says of each output column which input columns it is computed from.
///
/// # Errors
/// When the transform does not fit the input.
pub async fn feeds(sql: &str, input: SchemaRef) -> Result<Vec<Feed>, Error> {
    let transform = Transform::new(sql, input, futures::stream::empty()).await?;
    let plan = transform.plan();
    let sets = sets_of(plan);
    let expressions = expressions_of(plan);
    let feed = |(at, name): (usize, &String)| Feed {
        column: name.clone(),
        inputs: sets.as_ref().and_then(|sets| sets.get(at).cloned()),
        expression: expressions.get(at).cloned().flatten(),
    };
    let names: Vec<String> = plan.schema().fields().iter().map(|field| field.name().clone()).collect();
    Ok(names.iter().enumerate().map(feed).collect())
}

/// For each column of a plan the input columns it is made of; `None` at a node of which
/// that cannot be said.
fn sets_of(plan: &LogicalPlan) -> Option<Vec<BTreeSet<String>>> {
    match plan {
        LogicalPlan::TableScan(scan) => {
            Some(scan.projected_schema.fields().iter().map(|field| BTreeSet::from([field.name().clone()])).collect())
        }
        LogicalPlan::EmptyRelation(empty) => Some(vec![BTreeSet::new(); empty.schema.fields().len()]),
        LogicalPlan::Projection(projection) => through(&projection.expr, &projection.input),
        LogicalPlan::Filter(filter) => sets_of(&filter.input),
        LogicalPlan::Sort(sort) => sets_of(&sort.input),
        LogicalPlan::Limit(limit) => sets_of(&limit.input),
        LogicalPlan::Repartition(repartition) => sets_of(&repartition.input),
        LogicalPlan::SubqueryAlias(alias) => sets_of(&alias.input),
        LogicalPlan::Distinct(datafusion::logical_expr::Distinct::All(input)) => sets_of(input),
        LogicalPlan::Window(window) => {
            let mut sets = sets_of(&window.input)?;
            sets.extend(through(&window.window_expr, &window.input)?);
            Some(sets)
        }
        LogicalPlan::Aggregate(aggregate) => {
            let mut sets = through(&aggregate.group_expr, &aggregate.input)?;
            sets.extend(through(&aggregate.aggr_expr, &aggregate.input)?);
            // Grouping sets put a column of their own in between.
            (sets.len() == aggregate.schema.fields().len()).then_some(sets)
        }
        _ => None,
    }
}

/// What expressions over a plan are made of.
fn through(expressions: &[Expr], input: &LogicalPlan) -> Option<Vec<BTreeSet<String>>> {
    let sets = sets_of(input)?;
    expressions.iter().map(|expression| of(expression, input.schema(), &sets)).collect()
}

fn of(expression: &Expr, schema: &DFSchema, sets: &[BTreeSet<String>]) -> Option<BTreeSet<String>> {
    let mut made_of = BTreeSet::new();
    for column in expression.column_refs() {
        let column: &Column = column;
        made_of.extend(sets.get(schema.maybe_index_of_column(column)?)?.iter().cloned());
    }
    Some(made_of)
}

/// The expressions of the outermost projection, where they are more than a name.
fn expressions_of(plan: &LogicalPlan) -> Vec<Option<String>> {
    match plan {
        LogicalPlan::Projection(projection) => projection
            .expr
            .iter()
            .map(|expression| match expression.clone().unalias() {
                Expr::Column(_) => None,
                other => Some(other.to_string()),
            })
            .collect(),
        LogicalPlan::Sort(sort) => expressions_of(&sort.input),
        LogicalPlan::Limit(limit) => expressions_of(&limit.input),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    async fn said(sql: &str) -> Vec<String> {
        let fields = ["store", "week", "day", "hours", "_row"];
        let fields: Vec<Field> = fields.into_iter().map(|name| Field::new(name, DataType::Int64, true)).collect();
        let feeds = feeds(sql, Arc::new(Schema::new(fields))).await.unwrap();
        let line = |feed: &Feed| {
            let inputs = feed.inputs.as_ref().map(|inputs| inputs.iter().cloned().collect::<Vec<_>>().join("+"));
            let how = feed.expression.as_ref().map(|how| format!(" by {how}")).unwrap_or_default();
            format!("{}: {}{how}", feed.column, inputs.as_deref().unwrap_or("?"))
        };
        feeds.iter().map(line).collect()
    }

    #[tokio::test]
    async fn a_computed_column_names_what_it_is_computed_from() {
        let said = said("SELECT store, week + day - 1 AS date, hours AS planned, 7 AS seven FROM input").await;
        let wanted = [
            "store: store",
            "date: day+week by input.week + input.day - Int64(1)",
            "planned: hours",
            "seven:  by Int64(7)",
        ];
        assert_eq!(said, wanted);
    }

    #[tokio::test]
    async fn columns_are_followed_through_inner_queries_sums_and_windows() {
        let sums = said(
            "WITH days AS (SELECT store, week + day AS date, hours FROM input WHERE hours > 0)
             SELECT store, date, sum(hours) AS total FROM days GROUP BY store, date ORDER BY store",
        )
        .await;
        let inputs: Vec<&str> = sums.iter().map(|line| line.split(" by ").next().unwrap()).collect();
        assert_eq!(inputs, ["store: store", "date: day+week", "total: hours"]);
        let ranked = said("SELECT store, row_number() OVER (PARTITION BY week ORDER BY day) AS n FROM input").await;
        assert_eq!(ranked[1].split(" by ").next().unwrap(), "n: day+week");
    }

    #[tokio::test]
    async fn a_plan_that_does_not_tell_says_so() {
        let said = said("SELECT store FROM input UNION ALL SELECT 1").await;
        assert_eq!(said, ["store: ?"]);
    }
}
