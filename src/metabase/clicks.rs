//! Where a click on a card leads, and what is wrong with one. Pure.
//!
//! A click opens a dashboard of the same scope, or fills the filters of its own page.
//! So it never leads out of what its reader reads: the same people read both.

use std::collections::{BTreeMap, BTreeSet};

use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, SelectItem, SetExpr, Statement};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use serde_json::{Value, json};

use super::content::{self, Dashboard, Problem, Question, Readers};
use super::optional::without_optional_parts;

/// A click on a card of one scope.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Click {
    /// The column of a table that is clicked.
    pub(super) column: Option<String>,
    /// The dashboard that opens, by key; none: the filters of the page are filled.
    pub(super) dashboard: Option<String>,
    /// Filters, each with the column whose value fills it.
    pub(super) fill: BTreeMap<String, String>,
}

impl Click {
    /// What is sent for its card's place; the contract names the key, the inside is as
    /// Metabase's own editor writes it.
    pub(super) fn settings(&self, id: impl Fn(&str) -> Option<i64>) -> Value {
        let mapping: serde_json::Map<String, Value> = self
            .fill
            .iter()
            .map(|(filter, column)| {
                let fills = json!({
                    "id": filter,
                    "source": {"type": "column", "id": column, "name": column},
                    "target": {"type": "parameter", "id": filter},
                });
                (filter.clone(), fills)
            })
            .collect();
        let behavior = match &self.dashboard {
            Some(key) => {
                json!({"type": "link", "linkType": "dashboard", "targetId": id(key), "parameterMapping": mapping})
            }
            None => json!({"type": "crossfilter", "parameterMapping": mapping}),
        };
        match &self.column {
            Some(column) => {
                json!({"column_settings": {json!(["name", column]).to_string(): {"click_behavior": behavior}}})
            }
            None => json!({"click_behavior": behavior}),
        }
    }

    /// Tells one click from another, on every instance alike.
    pub(super) fn mark(&self) -> Value {
        json!([self.settings(|_| None), self.dashboard])
    }

    /// The columns that its question must have.
    pub(super) fn columns(&self) -> impl Iterator<Item = &String> {
        self.column.iter().chain(self.fill.values())
    }
}

/// What a place's settings say of clicks, and nothing else of them; keys in one order.
pub(super) fn found(settings: &Value) -> Value {
    let mut clicks = serde_json::Map::new();
    if !settings["click_behavior"].is_null() {
        clicks.insert("click_behavior".to_owned(), settings["click_behavior"].clone());
    }
    let columns = settings["column_settings"].as_object().into_iter().flatten();
    let clicked: serde_json::Map<String, Value> = columns
        .filter(|(_, column)| !column["click_behavior"].is_null())
        .map(|(name, column)| (name.clone(), json!({"click_behavior": column["click_behavior"]})))
        .collect();
    if !clicked.is_empty() {
        clicks.insert("column_settings".to_owned(), clicked.into());
    }
    if clicks.is_empty() { Value::Null } else { sorted(&clicks.into()) }
}

/// A server may give the keys back in another order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let ordered: BTreeMap<&String, Value> = fields.iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ordered.into_iter().map(|(key, value)| (key.clone(), value)).collect())
        }
        other => other.clone(),
    }
}

/// Checks every click, once all dashboards are read.
pub(super) fn check(dashboards: &BTreeMap<String, Dashboard>, questions: &BTreeMap<String, Question>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, dashboard) in dashboards {
        for card in &dashboard.cards {
            let Some(click) = &card.click else { continue };
            let file = format!("metabase/dashboards/{name}.toml");
            let question = card.question.as_ref().and_then(|question| Some((question, questions.get(question)?)));
            let told = wrong(name, dashboard, click, question, dashboards);
            problems.extend(told.into_iter().map(|message| Problem { file: file.clone(), line: 0, message }));
        }
    }
    problems
}

fn wrong(
    name: &str,
    dashboard: &Dashboard,
    click: &content::Click,
    question: Option<(&String, &Question)>,
    dashboards: &BTreeMap<String, Dashboard>,
) -> Vec<String> {
    let Some((question, definition)) = question else {
        return vec!["a `click` belongs to a card with a `question`".to_owned()];
    };
    let at = format!("the click on `{question}`");
    let mut wrong = Vec::new();
    match (definition.front.display.as_str(), &click.column) {
        ("table", None) => wrong.push(format!("{at} names no `column`: of a table, one column is clicked")),
        (display, Some(_)) if display != "table" => {
            wrong.push(format!("{at} names a `column`, and a {display} is clicked as a whole: leave it out"));
        }
        _ => {}
    }
    let (target, opens) = match &click.dashboard {
        None if click.fill.is_empty() => {
            wrong.push(format!("{at} does nothing: it fills filters (`fill`), opens a `dashboard`, or both"));
            return wrong;
        }
        None => (name, dashboard),
        Some(target) if target == name => {
            wrong.push(format!("{at} opens its own page: leave `dashboard` out, and it fills the filters there"));
            return wrong;
        }
        Some(target) => match dashboards.get(target) {
            Some(opens) => (target.as_str(), opens),
            None => {
                let near = content::did_you_mean(dashboards.keys(), target);
                wrong.push(format!("{at} opens the unknown dashboard `{target}`{near}"));
                return wrong;
            }
        },
    };
    let there: BTreeSet<_> = opens.levels().collect();
    let lacking: Vec<String> =
        dashboard.levels().filter(|level| !there.contains(level)).map(|level| level.to_string()).collect();
    if !lacking.is_empty() {
        wrong.push(format!(
            "{at} opens `{target}`, which no {} has: a click stays within its scope, so that its readers may read both",
            lacking.join(" and no ")
        ));
    }
    if opens.readers == Readers::Owners && dashboard.readers == Readers::Everybody {
        wrong.push(format!("{at} opens `{target}`, which only owners read"));
    }
    let filters: Vec<&str> = opens.parameters.iter().map(|parameter| parameter.fills.as_str()).collect();
    for filter in click.fill.keys().filter(|filter| !filters.contains(&filter.as_str())) {
        let has = if filters.is_empty() { "none".to_owned() } else { filters.join(", ") };
        wrong.push(format!("{at} fills `{filter}`, which is no filter of `{target}`; it has {has}"));
    }
    wrong
}

/// Columns that a click names and its query certainly does not have.
pub(super) fn missing(click: &content::Click, sql: &str) -> Vec<String> {
    let Some(columns) = columns_of(sql) else { return Vec::new() };
    let named: BTreeSet<&String> = click.column.iter().chain(click.fill.values()).collect();
    named.into_iter().filter(|name| !columns.contains(name)).cloned().collect()
}

/// The names of a query's columns; nothing where only PostgreSQL knows them.
fn columns_of(sql: &str) -> Option<Vec<String>> {
    let statements = Parser::parse_sql(&PostgreSqlDialect {}, &without_optional_parts(sql)).ok()?;
    match statements.as_slice() {
        [Statement::Query(query)] => selected(query),
        _ => None,
    }
}

fn selected(query: &Query) -> Option<Vec<String>> {
    let mut body = query.body.as_ref();
    while let SetExpr::SetOperation { left, .. } = body {
        body = left;
    }
    match body {
        SetExpr::Query(inner) => selected(inner),
        SetExpr::Select(select) => select.projection.iter().map(name_of).collect(),
        _ => None,
    }
}

fn name_of(item: &SelectItem) -> Option<String> {
    let folded = |name: &Ident| match name.quote_style {
        Some(_) => name.value.clone(),
        None => name.value.to_lowercase(),
    };
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(folded(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(names)) => names.last().map(folded),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_of_a_query_are_known_where_they_are_written() {
        let columns = |sql: &str| columns_of(sql).map(|columns| columns.join("|")).unwrap_or_default();
        assert_eq!(
            columns("SELECT d.store_id, Total, 1 AS \"Net sales\" FROM d [[WHERE a = {{b}}]]"),
            "store_id|total|Net sales"
        );
        assert_eq!(columns("WITH x AS (SELECT 1 AS a) (SELECT a AS b FROM x) UNION ALL SELECT 2 AS c"), "b");
        assert_eq!(columns("SELECT d.* FROM d"), "");
    }

    #[test]
    fn a_click_is_found_as_it_was_sent() {
        let fill = BTreeMap::from([("store".to_owned(), "store_id".to_owned())]);
        let column = Some("store_id".to_owned());
        let click = Click { column, dashboard: Some("one_store@region:harbor/North".to_owned()), fill };
        let mut sent = click.settings(|_| Some(7));
        assert_eq!(found(&sent), sent);
        insta::assert_snapshot!(sent, @r#"{"column_settings":{"[\"name\",\"store_id\"]":{"click_behavior":{"type":"link","linkType":"dashboard","targetId":7,"parameterMapping":{"store":{"id":"store","source":{"type":"column","id":"store_id","name":"store_id"},"target":{"type":"parameter","id":"store"}}}}}}}"#);
        let column = "[\"name\",\"store_id\"]";
        let behavior = sent["column_settings"][column]["click_behavior"].as_object().unwrap();
        let turned: serde_json::Map<String, Value> =
            behavior.iter().rev().map(|(key, value)| (key.clone(), value.clone())).collect();
        let turned = json!({"column_settings": {column: {"click_behavior": turned}}});
        assert_eq!(found(&turned).to_string(), found(&sent).to_string());
        // What else somebody set there is no click.
        sent["column_settings"]["[\"name\",\"Net sales\"]"] = json!({"decimals": 1});
        assert_eq!(found(&sent), click.settings(|_| Some(7)));
        assert_eq!(found(&json!({"graph.show_values": true})), Value::Null);
        let page = Click { column: None, dashboard: None, ..click };
        assert_eq!(page.settings(|_| None)["click_behavior"]["type"], "crossfilter");
        assert_eq!(found(&page.settings(|_| None)), page.settings(|_| None));
    }
}
