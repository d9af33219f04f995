//! Query-builder queries, put into SQL: a table or a question as the source, filters,
//! aggregations, breakouts, an order and a limit.
//!
//! Both spellings are read: the legacy one, where a clause is `[op, …]`, and MBQL 5's,
//! where options stand behind the operator. What is not known is refused by name.

use serde_json::{Map, Value, json};

use super::queries;
use super::state::{Card, State};
use super::template::Refusal;

/// Questions on questions on questions: no deeper than this.
const DEPTH: usize = 8;

/// Where a query reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Table(i64),
    Card(i64),
}

/// Finds what a query-builder query reads from, through its inner queries.
pub(super) fn source(query: &Value) -> Option<Source> {
    let mut inner = legacy(query)?;
    while let Some(next) = inner.get("source-query") {
        inner = next.as_object()?.clone();
    }
    let table = inner.get("source-table")?;
    match (table.as_i64(), table.as_str()) {
        (Some(id), _) => Some(Source::Table(id)),
        (_, Some(text)) => text.strip_prefix("card__")?.parse().ok().map(Source::Card),
        _ => None,
    }
}

/// Writes a query-builder query as SQL.
pub(super) fn compile(
    state: &State,
    query: &Value,
    native: &dyn Fn(&Card) -> Result<String, Refusal>,
) -> Result<String, Refusal> {
    let inner = legacy(query).ok_or_else(|| refuse("the query has neither `native` nor `query`"))?;
    Writer { state, native }.select(&inner, 0)
}

/// The inner query in the legacy spelling.
fn legacy(query: &Value) -> Option<Map<String, Value>> {
    if let Some(inner) = query.get("query").and_then(Value::as_object) {
        return Some(inner.clone());
    }
    let stages = query.get("stages")?.as_array()?;
    let mut inner: Option<Map<String, Value>> = None;
    for stage in stages {
        let stage = stage.as_object()?;
        let mut next = Map::new();
        for (key, value) in stage {
            match key.as_str() {
                "lib/type" => {}
                "source-card" => {
                    next.insert("source-table".into(), json!(format!("card__{value}")));
                }
                "filters" => {
                    let all = value.as_array()?;
                    let joined = if all.len() == 1 {
                        all[0].clone()
                    } else {
                        let and = std::iter::once(json!("and")).chain(all.iter().cloned());
                        Value::Array(and.collect())
                    };
                    next.insert("filter".into(), joined);
                }
                _ => {
                    next.insert(key.clone(), value.clone());
                }
            }
        }
        if let Some(before) = inner.take() {
            next.insert("source-query".into(), Value::Object(before));
        }
        inner = Some(next);
    }
    inner
}

struct Writer<'a> {
    state: &'a State,
    native: &'a dyn Fn(&Card) -> Result<String, Refusal>,
}

impl Writer<'_> {
    fn select(&self, inner: &Map<String, Value>, depth: usize) -> Result<String, Refusal> {
        if depth > DEPTH {
            return Err(refuse("the query reads itself"));
        }
        for key in inner.keys() {
            let known = [
                "source-table",
                "source-query",
                "filter",
                "aggregation",
                "breakout",
                "fields",
                "order-by",
                "limit",
                "page",
                "source-metadata",
                "aggregation-idents",
                "breakout-idents",
            ];
            if !known.contains(&key.as_str()) {
                return Err(refuse(&format!("the clause `{key}` is not known to this stand-in")));
            }
        }
        let (from, table) = self.from(inner, depth)?;
        let list = |key: &str| inner.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let (breakouts, aggregations) = (list("breakout"), list("aggregation"));
        // The oldest spelling has one aggregation without a list around it.
        let aggregations = match aggregations.first() {
            Some(Value::String(_)) => vec![Value::Array(aggregations)],
            _ => aggregations,
        };
        let mut columns = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for breakout in &breakouts {
            let (sql, name) = self.field(breakout)?;
            columns.push(format!("{sql} AS {}", quoted(&free(&names, &name))));
            names.push(name);
        }
        for aggregation in &aggregations {
            let (sql, name) = self.aggregation(aggregation)?;
            let name = free(&names, &name);
            columns.push(format!("{sql} AS {}", quoted(&name)));
            names.push(name);
        }
        if columns.is_empty() {
            let fields = list("fields");
            if !fields.is_empty() {
                for field in &fields {
                    columns.push(self.field(field)?.0);
                }
            } else if let Some(table) = table {
                let fields = self.state.tables.get(&table).into_iter().flat_map(|table| &table.fields);
                columns.extend(fields.filter(|field| field.active).map(|field| quoted(&field.name)));
            }
        }
        if columns.is_empty() {
            columns.push("*".to_owned());
        }
        let mut sql = format!("SELECT {} FROM {from} AS source", columns.join(", "));
        if let Some(filter) = inner.get("filter").filter(|filter| !filter.is_null()) {
            sql.push_str(&format!(" WHERE {}", self.condition(filter)?));
        }
        if !breakouts.is_empty() {
            let numbers: Vec<String> = (1..=breakouts.len()).map(|number| number.to_string()).collect();
            sql.push_str(&format!(" GROUP BY {}", numbers.join(", ")));
        }
        let mut order: Vec<String> = Vec::new();
        for clause in list("order-by") {
            let direction = if clause[0] == "desc" { "DESC" } else { "ASC" };
            let by = arguments(&clause).first().cloned().unwrap_or_default();
            order.push(format!("{} {direction}", self.ordered(&by, breakouts.len())?));
        }
        if order.is_empty() && !breakouts.is_empty() {
            // As the real server does, so that charts come in order.
            order.extend((1..=breakouts.len()).map(|number| number.to_string()));
        }
        if !order.is_empty() {
            sql.push_str(&format!(" ORDER BY {}", order.join(", ")));
        }
        if let Some(limit) = inner.get("limit").and_then(Value::as_u64) {
            sql.push_str(&format!(" LIMIT {limit}"));
        }
        if let Some(page) = inner.get("page") {
            let number = |key: &str| page[key].as_u64().ok_or_else(|| refuse(&format!("`page` has no `{key}`")));
            let (at, items) = (number("page")?, number("items")?);
            sql = format!("SELECT * FROM ({sql}) AS paged LIMIT {items} OFFSET {}", at.saturating_sub(1) * items);
        }
        Ok(sql)
    }

    fn from(&self, inner: &Map<String, Value>, depth: usize) -> Result<(String, Option<i64>), Refusal> {
        if let Some(source) = inner.get("source-query").and_then(Value::as_object) {
            if let Some(text) = source.get("native").and_then(Value::as_str) {
                return Ok((format!("({text}\n)"), None));
            }
            return Ok((format!("({})", self.select(source, depth + 1)?), None));
        }
        let table = inner.get("source-table").cloned().unwrap_or_default();
        if let Some(card) = table.as_str().and_then(|text| text.strip_prefix("card__")) {
            let card = card.parse().ok().and_then(|id: i64| self.state.cards.get(&id));
            let card = card.ok_or_else(|| refuse("the source question is not there"))?;
            let sql = match (queries::sql(&card.query), legacy(&card.query)) {
                (Some(_), _) => (self.native)(card)?,
                (None, Some(inner)) => self.select(&inner, depth + 1)?,
                (None, None) => return Err(refuse("the source question has no query")),
            };
            return Ok((format!("({sql}\n)"), None));
        }
        let id = table.as_i64().ok_or_else(|| refuse("the query has no `source-table`"))?;
        let table = self.state.tables.get(&id).ok_or_else(|| refuse("the source table is not there"))?;
        Ok((format!("{}.{}", quoted(&table.schema), quoted(&table.name)), Some(id)))
    }

    /// A field's SQL and the name of its column.
    fn field(&self, clause: &Value) -> Result<(String, String), Refusal> {
        let parts = clause.as_array().ok_or_else(|| refuse("a field is written as a list"))?;
        if clause[0] != "field" && clause[0] != "field-id" {
            return Err(refuse(&format!("`{}` is no field", clause[0])));
        }
        let which = parts[1..].iter().find(|part| part.is_i64() || part.is_string());
        let options = parts[1..].iter().find(|part| part.is_object());
        let name = match which {
            Some(Value::String(name)) => name.clone(),
            Some(id) => {
                let field = id.as_i64().and_then(|id| self.state.field(id));
                field.map(|(_, field)| field.name.clone()).ok_or_else(|| refuse("the field is not there"))?
            }
            None => return Err(refuse("a field has an id or a name")),
        };
        let column = format!("source.{}", quoted(&name));
        let unit = options.and_then(|options| options["temporal-unit"].as_str()).filter(|unit| *unit != "default");
        let sql = match unit {
            Some(unit @ ("minute" | "hour" | "day" | "week" | "month" | "quarter" | "year")) => {
                format!("date_trunc('{unit}', {column})")
            }
            Some(other) => return Err(refuse(&format!("the unit `{other}` is not known to this stand-in"))),
            None => column,
        };
        Ok((sql, name))
    }

    fn aggregation(&self, clause: &Value) -> Result<(String, String), Refusal> {
        let operator = clause[0].as_str().unwrap_or_default();
        let arguments = arguments(clause);
        if operator == "aggregation-options" {
            let (sql, name) = self.aggregation(arguments.first().unwrap_or(&Value::Null))?;
            let renamed = clause[2]["name"].as_str().or_else(|| clause[2]["display-name"].as_str());
            return Ok((sql, renamed.map_or(name, str::to_owned)));
        }
        let name = clause[1]["name"].as_str().unwrap_or(operator).to_owned();
        let of = || match arguments.first() {
            Some(field) => self.field(field).map(|(sql, _)| sql),
            None => Err(refuse(&format!("`{operator}` needs a field"))),
        };
        let sql = match operator {
            "count" if arguments.is_empty() => "count(*)".to_owned(),
            "count" | "sum" | "avg" | "min" | "max" => format!("{operator}({})", of()?),
            "distinct" => format!("count(DISTINCT {})", of()?),
            other => return Err(refuse(&format!("the aggregation `{other}` is not known to this stand-in"))),
        };
        Ok((sql, if operator == "distinct" && name == operator { "count".to_owned() } else { name }))
    }

    fn ordered(&self, by: &Value, breakouts: usize) -> Result<String, Refusal> {
        if by[0] == "aggregation" {
            let number = arguments(by).first().and_then(Value::as_u64).unwrap_or(0) as usize;
            return Ok((breakouts + number + 1).to_string());
        }
        self.field(by).map(|(sql, _)| sql)
    }

    fn condition(&self, clause: &Value) -> Result<String, Refusal> {
        let operator = clause[0].as_str().unwrap_or_default();
        let arguments = arguments(clause);
        let all = |joint: &str| -> Result<String, Refusal> {
            let parts: Result<Vec<String>, Refusal> = arguments.iter().map(|part| self.condition(part)).collect();
            Ok(format!("({})", parts?.join(joint)))
        };
        match operator {
            "and" => return all(" AND "),
            "or" => return all(" OR "),
            "not" => return Ok(format!("NOT {}", self.condition(arguments.first().unwrap_or(&Value::Null))?)),
            _ => {}
        }
        let field = self.field(arguments.first().unwrap_or(&Value::Null))?.0;
        let literals: Vec<String> = arguments.iter().skip(1).filter(|part| !part.is_object()).map(literal).collect();
        let text = || arguments.get(1).and_then(Value::as_str).unwrap_or_default().replace(['%', '_'], "");
        let first = || literals.first().cloned().ok_or_else(|| refuse(&format!("`{operator}` needs a value")));
        Ok(match operator {
            "=" | "!=" if literals.is_empty() => return Err(refuse(&format!("`{operator}` needs a value"))),
            "=" => format!("{field} IN ({})", literals.join(", ")),
            "!=" => format!("({field} IS NULL OR {field} NOT IN ({}))", literals.join(", ")),
            "<" | "<=" | ">" | ">=" => format!("{field} {operator} {}", first()?),
            "between" if literals.len() == 2 => format!("{field} BETWEEN {} AND {}", literals[0], literals[1]),
            "is-null" | "is-empty" => format!("{field} IS NULL"),
            "not-null" | "not-empty" => format!("{field} IS NOT NULL"),
            "contains" => format!("{field}::text LIKE {}", literal(&json!(format!("%{}%", text())))),
            "starts-with" => format!("{field}::text LIKE {}", literal(&json!(format!("{}%", text())))),
            "ends-with" => format!("{field}::text LIKE {}", literal(&json!(format!("%{}", text())))),
            other => return Err(refuse(&format!("the filter `{other}` is not known to this stand-in"))),
        })
    }
}

/// What stands behind the operator, without MBQL 5's options.
fn arguments(clause: &Value) -> Vec<Value> {
    let parts = clause.as_array().map(Vec::as_slice).unwrap_or_default();
    let after = parts.get(1..).unwrap_or_default();
    match after.first() {
        Some(Value::Object(_)) => after[1..].to_vec(),
        _ => after.to_vec(),
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Bool(flag) => flag.to_string(),
        Value::Null => "NULL".to_owned(),
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        other => format!("'{}'", other.to_string().replace('\'', "''")),
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A second `count` becomes `count_2`, as the real server names it.
fn free(names: &[String], name: &str) -> String {
    let taken = |name: &str| names.iter().any(|known| known == name);
    if !taken(name) {
        return name.to_owned();
    }
    (2..).map(|number| format!("{name}_{number}")).find(|name| !taken(name)).expect("there are more numbers than names")
}

fn refuse(text: &str) -> Refusal {
    Refusal { text: text.to_owned(), kind: "invalid-query" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(query: Value) -> String {
        let state = State::default();
        let inner = legacy(&query).unwrap();
        let no_native = |_: &Card| Err(refuse("none"));
        let inner =
            json!({"source-query": {"native": "SELECT 1"}}).as_object().cloned().unwrap().into_iter().chain(inner);
        Writer { state: &state, native: &no_native }
            .select(&inner.collect(), 0)
            .map_err(|refusal| refusal.text)
            .unwrap()
    }

    #[test]
    fn both_spellings_come_to_the_same_sql() {
        let legacy = json!({"query": {
            "filter": ["and", ["=", ["field", "store_id", null], "000101"], [">", ["field", "orders", null], 5]],
            "aggregation": [["sum", ["field", "net_sales", null]], ["count"]],
            "breakout": [["field", "day", {"temporal-unit": "month"}]],
            "order-by": [["desc", ["aggregation", 0]]],
            "limit": 3,
        }});
        let newer = json!({"lib/type": "mbql/query", "stages": [{
            "lib/type": "mbql.stage/mbql",
            "filters": [["=", {}, ["field", {}, "store_id"], "000101"], [">", {}, ["field", {}, "orders"], 5]],
            "aggregation": [["sum", {}, ["field", {}, "net_sales"]], ["count", {}]],
            "breakout": [["field", {"temporal-unit": "month"}, "day"]],
            "order-by": [["desc", {}, ["aggregation", {}, 0]]],
            "limit": 3,
        }]});
        assert_eq!(
            sql(legacy.clone()),
            "SELECT date_trunc('month', source.\"day\") AS \"day\", sum(source.\"net_sales\") AS \"sum\", count(*) AS \"count\" \
             FROM (SELECT 1\n) AS source WHERE (source.\"store_id\" IN ('000101') AND source.\"orders\" > 5) \
             GROUP BY 1 ORDER BY 2 DESC LIMIT 3"
        );
        assert_eq!(sql(legacy), sql(newer));
    }

    #[test]
    fn a_value_stays_a_value() {
        let filter = json!({"query": {"filter": ["=", ["field", "a", null], "x' OR 'y"]}});
        assert!(sql(filter).ends_with("IN ('x'' OR ''y')"));
    }

    #[test]
    fn the_source_is_found_through_inner_queries() {
        assert_eq!(source(&json!({"query": {"source-query": {"source-table": "card__7"}}})), Some(Source::Card(7)));
        assert_eq!(source(&json!({"stages": [{"source-table": 4}, {"limit": 1}]})), Some(Source::Table(4)));
        assert_eq!(source(&json!({"native": {"query": "SELECT 1"}})), None);
    }
}
