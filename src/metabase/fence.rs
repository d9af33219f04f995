//! The second fence: every question's SQL names its scope, and a parser says so.
//!
//! Where a scope has a database role of its own, PostgreSQL keeps the rows
//! apart whatever a query says. The literal must stand there all the same: below
//! the wall it is all there is, and above it a mistake shows before it leaks. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Join, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SetExpr,
    Statement, TableFactor, Visit as _, Visitor,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::optional;
use crate::access::{Scope, ScopeKind};

/// A scope as SQL sees it: whose schema, and what a row must fulfil.
#[derive(Debug, Clone)]
pub(super) struct Fence<'a> {
    pub(super) scope: &'a Scope,
    /// Tables of the schema that belong to no store.
    pub(super) unscoped: &'a [String],
}

impl Fence<'_> {
    /// The schema its queries read, and no other.
    pub(super) fn schema(&self) -> String {
        self.scope.brand().map_or_else(|| "mart_all".to_owned(), crate::ids::BrandId::schema)
    }

    /// The condition on a table's rows; `alias` names the table.
    pub(super) fn condition(&self, alias: Option<&str>) -> String {
        let column = match alias {
            Some(alias) => format!("{alias}.store_id"),
            None => "store_id".to_owned(),
        };
        let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
        match self.scope {
            Scope::Chain | Scope::Brand(_) => "TRUE".to_owned(),
            Scope::Region(_, region) => format!(
                "{column} IN (SELECT in_region.store_id FROM {}.stores AS in_region WHERE in_region.region = {})",
                self.schema(),
                literal(region)
            ),
            Scope::Store(_, store) => format!("{column} = {}", literal(&store.0)),
        }
    }

    /// Checks one rendered query.
    ///
    /// # Errors
    /// What is wrong with it, all of it.
    pub(super) fn check(&self, sql: &str) -> Result<(), Vec<String>> {
        let mut wrong = BTreeSet::new();
        for sql in optional::variants(sql).map_err(|wrong| vec![wrong])? {
            wrong.extend(self.check_variant(&sql).err().into_iter().flatten());
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.into_iter().collect()) }
    }

    fn check_variant(&self, sql: &str) -> Result<(), Vec<String>> {
        let statements = Parser::parse_sql(&PostgreSqlDialect {}, sql).map_err(|error| vec![error.to_string()])?;
        let [Statement::Query(query)] = statements.as_slice() else {
            return Err(vec!["a question is one SELECT".to_owned()]);
        };
        let mut walk = Walk { fence: self, names: Vec::new(), wrong: BTreeSet::new() };
        // The walk never breaks off.
        let _flow = query.visit(&mut walk);
        if walk.wrong.is_empty() { Ok(()) } else { Err(walk.wrong.into_iter().collect()) }
    }

    fn expression(&self, alias: Option<&str>) -> Option<Expr> {
        let condition = self.condition(alias);
        Parser::new(&PostgreSqlDialect {}).try_with_sql(&condition).ok()?.parse_expr().ok()
    }

    fn needs_literal(&self, table: &str) -> bool {
        !matches!(self.scope.kind(), ScopeKind::Chain | ScopeKind::Brand)
            && !self.unscoped.iter().any(|name| name == table)
    }
}

/// Goes over every query in a statement, the inner ones too.
struct Walk<'a> {
    fence: &'a Fence<'a>,
    /// Names that `WITH` gave, for each query that is open.
    names: Vec<BTreeSet<String>>,
    wrong: BTreeSet<String>,
}

impl Visitor for Walk<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let names = query.with.iter().flat_map(|with| &with.cte_tables).map(|cte| cte.alias.name.value.clone());
        self.names.push(names.collect());
        self.body(&query.body);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expression: &Expr) -> ControlFlow<()> {
        if let Expr::Function(function) = expression {
            let name = function.name.to_string().to_lowercase();
            let runs_text =
                ["query_to_", "table_to_", "schema_to_", "database_to_", "cursor_to_", "dblink", "pg_read", "lo_"];
            if runs_text.iter().any(|start| name.trim_start_matches("pg_catalog.").starts_with(start)) {
                self.wrong.insert(format!("the function `{name}` reads what the query does not name"));
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<()> {
        self.names.pop();
        ControlFlow::Continue(())
    }
}

impl Walk<'_> {
    fn body(&mut self, body: &SetExpr) {
        match body {
            SetExpr::Select(select) => self.select(select),
            SetExpr::SetOperation { left, right, .. } => {
                self.body(left);
                self.body(right);
            }
            // Visited as a query of its own; VALUES read nothing.
            SetExpr::Query(_) | SetExpr::Values(_) => {}
            _ => {
                self.wrong.insert("a question only reads: SELECT, UNION and VALUES are all it may use".to_owned());
            }
        }
    }

    fn select(&mut self, select: &Select) {
        if select.into.is_some() {
            self.wrong.insert("SELECT INTO makes a table".to_owned());
        }
        let mut tables = Tables::default();
        for from in &select.from {
            self.factor(&from.relation, &mut tables);
            for join in &from.joins {
                self.factor(&join.relation, &mut tables);
                tables.join(&from.relation, join);
            }
        }
        if let Some(condition) = &select.selection {
            conjuncts(condition, &mut tables.conditions);
        }
        let alone = tables.named.len() == 1;
        let mut fenced: BTreeSet<String> = BTreeSet::new();
        for (alias, table) in &tables.named {
            let stands = |alias: Option<&str>| {
                self.fence.expression(alias).is_some_and(|wanted| tables.conditions.contains(&wanted))
            };
            // The literal's own look into the list of stores.
            let is_literal = matches!(self.fence.scope, Scope::Region(_, region)
                if alias == "in_region" && table == "stores" && tables.conditions.iter().any(|condition|
                    condition.to_string() == format!("in_region.region = '{}'", region.replace('\'', "''"))));
            if !self.fence.needs_literal(table) || is_literal || stands(Some(alias)) || (alone && stands(None)) {
                fenced.insert(alias.clone());
            }
        }
        // A table that is joined to a fenced one store by store shows no other stores.
        while let Some(next) = tables
            .same_store
            .iter()
            .find(|(left, right)| tables.fences(left, &fenced, self.fence) && !fenced.contains(right.as_str()))
        {
            fenced.insert(next.1.clone());
        }
        for (alias, table) in tables.named.iter().filter(|(alias, _)| !fenced.contains(*alias)) {
            self.wrong.insert(format!(
                "`{table}` (`{alias}`) is read without its scope: add WHERE {{{{ in_scope(\"{alias}\") }}}}"
            ));
        }
    }

    fn factor(&mut self, factor: &TableFactor, tables: &mut Tables) {
        match factor {
            TableFactor::Table { name, alias, args, .. } => {
                if args.is_some() {
                    self.function(name);
                    return;
                }
                let parts = parts(name);
                let alias = |own: &str| alias.as_ref().map_or_else(|| own.to_owned(), |alias| alias.name.value.clone());
                match parts.as_slice() {
                    // Visited as a query of its own.
                    [only] if self.names.iter().any(|names| names.contains(only)) => {}
                    [schema, table] if *schema == self.fence.schema() => {
                        tables.named.insert(alias(table), table.clone());
                    }
                    _ => {
                        self.wrong.insert(format!("`{name}` is read: write {{{{ schema }}}}.table"));
                    }
                }
            }
            // Visited as a query of its own. It fences nobody: it may be made of literals.
            TableFactor::Derived { .. } => {}
            TableFactor::NestedJoin { table_with_joins, .. } => {
                self.factor(&table_with_joins.relation, tables);
                for join in &table_with_joins.joins {
                    self.factor(&join.relation, tables);
                }
            }
            TableFactor::Function { name, .. } => self.function(name),
            TableFactor::UNNEST { .. } => {}
            other => {
                self.wrong.insert(format!("`{other}` is nothing a question may read"));
            }
        }
    }

    fn function(&mut self, name: &ObjectName) {
        let name = name.to_string().to_lowercase();
        if !["generate_series", "unnest"].contains(&name.as_str()) {
            self.wrong.insert(format!("the function `{name}` is read like a table"));
        }
    }
}

/// What one SELECT reads.
#[derive(Default)]
struct Tables {
    /// Tables of the schema, by alias.
    named: BTreeMap<String, String>,
    /// Conditions that hold for every row of the answer.
    conditions: Vec<Expr>,
    /// `(a, b)`: every row of b has the store of a row of a.
    same_store: Vec<(String, String)>,
}

impl Tables {
    fn join(&mut self, first: &TableFactor, join: &Join) {
        let (constraint, both) = match &join.join_operator {
            JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) => (constraint, true),
            JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (constraint, false),
            // In the others a row may appear that has no partner.
            _ => return,
        };
        let Some(right) = alias_of(&join.relation) else {
            return;
        };
        match constraint {
            JoinConstraint::Using(columns) => {
                if columns.iter().any(|column| parts(column) == ["store_id"])
                    && let Some(left) = alias_of(first)
                {
                    self.pair(left, right, both);
                }
            }
            JoinConstraint::On(condition) => {
                let mut all = Vec::new();
                conjuncts(condition, &mut all);
                for condition in &all {
                    if let Some((a, b)) = same_store(condition) {
                        if b == right {
                            self.pair(a, b, both);
                        } else if a == right {
                            self.pair(b, a, both);
                        }
                    }
                }
                // What an inner join asks for holds like WHERE. A left join's own
                // condition binds its right side only.
                if both {
                    self.conditions.extend(all);
                } else {
                    let own = format!("{right}.store_id ");
                    self.conditions.extend(all.into_iter().filter(|condition| condition.to_string().starts_with(&own)));
                }
            }
            JoinConstraint::Natural | JoinConstraint::None => {}
        }
    }

    fn pair(&mut self, left: String, right: String, both: bool) {
        if both {
            self.same_store.push((right.clone(), left.clone()));
        }
        self.same_store.push((left, right));
    }

    /// Says whether a table's rows are known to be of the scope's stores.
    fn fences(&self, alias: &str, fenced: &BTreeSet<String>, fence: &Fence<'_>) -> bool {
        fenced.contains(alias) && self.named.get(alias).is_some_and(|table| fence.needs_literal(table))
    }
}

fn alias_of(factor: &TableFactor) -> Option<String> {
    match factor {
        TableFactor::Table { name, alias, .. } => match alias {
            Some(alias) => Some(alias.name.value.clone()),
            None => parts(name).pop(),
        },
        TableFactor::Derived { alias, .. } => alias.as_ref().map(|alias| alias.name.value.clone()),
        _ => None,
    }
}

fn parts(name: &ObjectName) -> Vec<String> {
    name.0
        .iter()
        .map(|part| match part {
            ObjectNamePart::Identifier(ident) => ident.value.clone(),
            ObjectNamePart::Function(function) => function.to_string(),
        })
        .collect()
}

fn conjuncts(condition: &Expr, into: &mut Vec<Expr>) {
    match condition {
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            conjuncts(left, into);
            conjuncts(right, into);
        }
        Expr::Nested(inner) => conjuncts(inner, into),
        other => into.push(other.clone()),
    }
}

/// The two tables of `a.store_id = b.store_id`.
fn same_store(condition: &Expr) -> Option<(String, String)> {
    let Expr::BinaryOp { left, op: BinaryOperator::Eq, right } = condition else {
        return None;
    };
    let table = |side: &Expr| match side {
        Expr::CompoundIdentifier(names) => match names.as_slice() {
            [table, column] if column.value == "store_id" => Some(table.value.clone()),
            _ => None,
        },
        _ => None,
    };
    Some((table(left)?, table(right)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(scope: &str, sql: &str) -> String {
        let scope: Scope = scope.parse().unwrap();
        let unscoped = ["calendar".to_owned()];
        match (Fence { scope: &scope, unscoped: &unscoped }).check(sql) {
            Ok(()) => "fenced".to_owned(),
            Err(wrong) => wrong.join("\n"),
        }
    }

    const STORE: &str = "store:harbor/000125";

    #[test]
    fn a_query_with_its_literal_passes() {
        for sql in [
            "SELECT 1",
            "SELECT * FROM mart_harbor.sales WHERE store_id = '000125'",
            "SELECT * FROM mart_harbor.sales s WHERE s.store_id = '000125' AND (s.a OR s.b)",
            "SELECT * FROM mart_harbor.sales s JOIN mart_harbor.stores t USING (store_id) WHERE s.store_id = '000125'",
            "SELECT * FROM mart_harbor.sales s LEFT JOIN mart_harbor.stores t ON t.store_id = s.store_id WHERE s.store_id = '000125'",
            "SELECT * FROM mart_harbor.sales s CROSS JOIN mart_harbor.calendar c WHERE s.store_id = '000125'",
            "WITH mine AS (SELECT * FROM mart_harbor.sales WHERE store_id = '000125') SELECT * FROM mine m JOIN mart_harbor.stores t ON t.store_id = '000125'",
            "SELECT (SELECT max(x.a) FROM mart_harbor.sales x WHERE x.store_id = '000125')",
            "SELECT a FROM mart_harbor.sales WHERE store_id = '000125' UNION ALL SELECT b FROM mart_harbor.labor WHERE store_id = '000125'",
        ] {
            assert_eq!(check(STORE, sql), "fenced", "{sql}");
        }
    }

    #[test]
    fn a_query_that_could_show_another_store_is_refused() {
        for sql in [
            "SELECT * FROM mart_harbor.sales",
            "SELECT * FROM mart_harbor.sales WHERE store_id = '000126'",
            "SELECT * FROM mart_harbor.sales WHERE store_id = '000125' OR true",
            "SELECT * FROM mart_harbor.sales WHERE NOT store_id = '000125'",
            "SELECT 'store_id = ''000125''' FROM mart_harbor.sales -- WHERE store_id = '000125'",
            "SELECT * FROM mart_mesa.sales WHERE store_id = '000125'",
            "SELECT * FROM sales WHERE store_id = '000125'",
            "SELECT * FROM ops.loads",
            "SELECT * FROM mart_harbor.sales s, mart_harbor.labor l WHERE s.store_id = '000125'",
            "SELECT * FROM mart_harbor.sales s FULL JOIN mart_harbor.labor l USING (store_id) WHERE s.store_id = '000125'",
            "SELECT * FROM mart_harbor.sales s RIGHT JOIN mart_harbor.labor l USING (store_id) WHERE s.store_id = '000125'",
            "SELECT * FROM mart_harbor.labor l LEFT JOIN mart_harbor.sales s ON s.store_id = '000125'",
            "SELECT * FROM mart_harbor.calendar c JOIN mart_harbor.sales s ON s.store_id = c.store_id",
            "SELECT (SELECT max(a) FROM mart_harbor.sales) FROM mart_harbor.sales WHERE store_id = '000125'",
            "SELECT a FROM mart_harbor.sales WHERE store_id = '000125' UNION ALL SELECT b FROM mart_harbor.labor",
            "WITH sales AS (SELECT 1) SELECT * FROM mart_harbor.sales",
            "WITH other AS (SELECT '000126' AS store_id) SELECT * FROM other JOIN mart_harbor.sales s USING (store_id)",
            "SELECT * FROM (VALUES ('000126')) v(store_id) JOIN mart_harbor.sales s ON s.store_id = v.store_id",
            "SELECT query_to_xml('SELECT * FROM mart_harbor.sales', true, true, '')",
            "DELETE FROM mart_harbor.sales WHERE store_id = '000125'",
            "SELECT * FROM pg_read_file('/etc/passwd')",
            "SELECT 1; SELECT 2",
            "SELECT * INTO x FROM mart_harbor.sales WHERE store_id = '000125'",
        ] {
            assert_ne!(check(STORE, sql), "fenced", "{sql}");
        }
    }

    #[test]
    fn a_region_is_fenced_by_its_stores() {
        let scope: Scope = "region:harbor/North".parse().unwrap();
        let fence = Fence { scope: &scope, unscoped: &[] };
        let sql = format!("SELECT * FROM mart_harbor.sales s WHERE {}", fence.condition(Some("s")));
        assert_eq!(check("region:harbor/North", &sql), "fenced");
        assert_ne!(check("region:harbor/Coast", &sql), "fenced");
        assert_ne!(check("region:harbor/North", "SELECT * FROM mart_harbor.stores in_region"), "fenced");
    }

    #[test]
    fn a_brand_reads_its_own_schema_only() {
        assert_eq!(check("brand:harbor", "SELECT * FROM mart_harbor.sales"), "fenced");
        assert_ne!(check("brand:harbor", "SELECT * FROM mart_mesa.sales"), "fenced");
        assert_eq!(check("chain", "SELECT * FROM mart_all.sales"), "fenced");
    }
}
