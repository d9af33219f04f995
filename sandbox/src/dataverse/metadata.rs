//! `EntityDefinitions`: tables, columns and keys described.

use serde_json::{Map, Value, json};

use super::cell::Cell;
use super::definition::{attributes, definition, keys};
use super::expand::Options;
use super::filter::Filter;
use super::schema::{Column, ColumnKind};
use super::service::Refusal;
use super::store::{Store, Stored};
use crate::wire::{Request, decode_percent};

pub(super) const NAMESPACE: &str = "Microsoft.Dynamics.CRM.";

/// Members of a column that every type has; the others need a cast.
const COMMON: &[&str] = &[
    "LogicalName",
    "SchemaName",
    "AttributeType",
    "AttributeTypeName",
    "AttributeOf",
    "IsPrimaryId",
    "IsSecured",
    "IsValidForCreate",
    "IsValidForRead",
    "IsValidForUpdate",
    "IsValidForAdvancedFind",
    "RequiredLevel",
    "MetadataId",
    "EntityLogicalName",
];

/// Answers a path that starts with `EntityDefinitions`, as JSON.
pub(super) fn answer(store: &Store, request: &Request, path: &str, base: &str) -> Result<Value, Refusal> {
    let options = Options::read(request)?;
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let (_, key) = super::key::split(first);
    let Some(key) = key else {
        if !rest.is_empty() {
            return Err(Refusal::outside_contract(format!("EntityDefinitions/{rest}")));
        }
        return list(store, &options, base);
    };
    let table = table(store, key)?;
    let name = &table.logical_name;
    let context = |tail: &str| format!("{base}/$metadata#EntityDefinitions{tail}");
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => {
            let mut described = options.apply(definition(table), "EntityMetadata")?;
            for expansion in &options.expand {
                let value = match expansion.name.as_str() {
                    "Attributes" => plain(attributes(table), &expansion.options)?,
                    "Keys" => each(keys(table), &expansion.options, "EntityKeyMetadata")?,
                    "OneToManyRelationships" | "ManyToOneRelationships" | "ManyToManyRelationships" => Vec::new(),
                    other => return Err(unknown(other, "EntityMetadata")),
                };
                described.insert(expansion.name.clone(), Value::Array(value));
            }
            Ok(with_context(described, &context("/$entity")))
        }
        ["Keys"] => {
            let value = each(keys(table), &options, "EntityKeyMetadata")?;
            Ok(json!({"@odata.context": context(&format!("('{name}')/Keys")), "value": value}))
        }
        ["Attributes"] => {
            let value = plain(attributes(table), &options)?;
            Ok(json!({"@odata.context": context(&format!("('{name}')/Attributes")), "value": value}))
        }
        ["Attributes", cast] if cast.starts_with(NAMESPACE) => {
            let wanted = format!("#{cast}");
            let kind = &cast[NAMESPACE.len()..];
            if kind == "EnumAttributeMetadata" || !CASTS.contains(&kind) {
                let text = format!("The type cast segment '{cast}' is not supported.");
                return Err(Refusal::bad_request(text));
            }
            let found = attributes(table).into_iter().filter(|item| item["@odata.type"] == wanted.as_str());
            let value = cast_members(found.collect(), &options, kind)?;
            let tail = format!("('{name}')/Attributes/{cast}");
            Ok(json!({"@odata.context": context(&tail), "value": value}))
        }
        ["Attributes", one] => one_attribute(table, one, None, &options, &context("/$entity")),
        ["Attributes", one, cast] => one_attribute(table, one, Some(cast), &options, &context("/$entity")),
        _ => Err(Refusal::outside_contract(format!("EntityDefinitions(…)/{rest}"))),
    }
}

/// Types a collection of columns can be narrowed to.
const CASTS: &[&str] = &[
    "StringAttributeMetadata",
    "MemoAttributeMetadata",
    "IntegerAttributeMetadata",
    "BigIntAttributeMetadata",
    "DecimalAttributeMetadata",
    "MoneyAttributeMetadata",
    "DoubleAttributeMetadata",
    "BooleanAttributeMetadata",
    "DateTimeAttributeMetadata",
    "PicklistAttributeMetadata",
    "StateAttributeMetadata",
    "StatusAttributeMetadata",
    "MultiSelectPicklistAttributeMetadata",
    "LookupAttributeMetadata",
    "UniqueIdentifierAttributeMetadata",
];

fn list(store: &Store, options: &Options, base: &str) -> Result<Value, Refusal> {
    let mut value = Vec::new();
    for table in &store.tables {
        let described = definition(table);
        if let Some(text) = &options.filter
            && !meets(&described, text)?
        {
            continue;
        }
        value.push(Value::Object(options.apply(described, "EntityMetadata")?));
    }
    Ok(json!({"@odata.context": format!("{base}/$metadata#EntityDefinitions"), "value": value}))
}

/// Holds a filter against the text members of a definition.
fn meets(described: &Map<String, Value>, text: &str) -> Result<bool, Refusal> {
    let (columns, cells): (Vec<Column>, Vec<Cell>) = described
        .iter()
        .filter_map(|(name, value)| {
            let (kind, cell) = match value {
                Value::String(text) => (ColumnKind::Text, Cell::Text(text.clone())),
                Value::Bool(flag) => (ColumnKind::Boolean, Cell::Boolean(*flag)),
                _ => return None,
            };
            Some((Column { name: name.clone(), kind }, cell))
        })
        .unzip();
    let filter = Filter::parse(text, &columns)
        .map_err(|invalid| Refusal::bad_request(format!("The filter cannot be used: {invalid:?}")))?;
    Ok(filter.holds(&cells))
}

/// Finds a table by its name or by the id of its definition.
fn table<'a>(store: &'a Store, key: &str) -> Result<&'a Stored, Refusal> {
    let not_found = |name: &str, id: &str| {
        let text = format!("Could not find an entity with the name {name} and with id {id}");
        Refusal::new(404, "0x80060888", text)
    };
    if let Some(id) = super::cell::guid(key) {
        let found = store.tables.iter().find(|table| definition(table)["MetadataId"] == id.as_str());
        return found.ok_or_else(|| not_found("", &id));
    }
    let name = logical_name(key)?;
    store.tables.iter().find(|table| table.logical_name == name).ok_or_else(|| not_found(&name, ""))
}

fn logical_name(key: &str) -> Result<String, Refusal> {
    let text = decode_percent(key).unwrap_or_default();
    let name = text.strip_prefix("LogicalName='").and_then(|rest| rest.strip_suffix('\''));
    name.map(str::to_owned).ok_or_else(|| Refusal::bad_request("A definition is addressed as (LogicalName='…')."))
}

fn one_attribute(
    table: &Stored,
    segment: &str,
    cast: Option<&str>,
    options: &Options,
    context: &str,
) -> Result<Value, Refusal> {
    let name = logical_name(super::key::split(segment).1.unwrap_or_default())?;
    let found = attributes(table).into_iter().find(|item| item["LogicalName"] == name.as_str());
    let found = found
        .ok_or_else(|| Refusal::new(404, "0x80060888", format!("Could not find an attribute with the name {name}.")))?;
    let mut described = match cast {
        None => plain(vec![found], options)?,
        Some(cast) => {
            let kind = cast.strip_prefix(NAMESPACE).unwrap_or(cast);
            if found["@odata.type"] != format!("#{NAMESPACE}{kind}").as_str() {
                let text = format!("The attribute {name} is no {kind}.");
                return Err(Refusal::new(404, "0x80060888", text));
            }
            cast_members(vec![found], options, kind)?
        }
    };
    match described.pop() {
        Some(Value::Object(members)) => Ok(with_context(members, context)),
        _ => Err(Refusal::new(404, "0x80060888", "Nothing is left of the attribute.")),
    }
}

/// Members of columns without a cast: those every type has, and no others by name.
fn plain(items: Vec<Value>, options: &Options) -> Result<Vec<Value>, Refusal> {
    if let Some(name) = options.select.iter().flatten().find(|name| !COMMON.contains(&name.as_str())) {
        return Err(unknown(name, "AttributeMetadata"));
    }
    let items = items
        .into_iter()
        .map(|item| {
            let mut members = object(item);
            members.retain(|name, _| !matches!(name.as_str(), "OptionSet" | "GlobalOptionSet"));
            Value::Object(members)
        })
        .collect();
    each(items, options, "AttributeMetadata")
}

/// Members of columns narrowed to one type; option sets only where they are expanded.
fn cast_members(items: Vec<Value>, options: &Options, kind: &str) -> Result<Vec<Value>, Refusal> {
    let mut narrowed = Vec::new();
    for item in items {
        let mut members = object(item);
        members.shift_remove("@odata.type");
        let mut sets = Map::new();
        for name in ["OptionSet", "GlobalOptionSet"] {
            if let Some(set) = members.shift_remove(name) {
                sets.insert(name.to_owned(), set);
            }
        }
        let mut kept = options.apply(members, kind)?;
        for expansion in &options.expand {
            match sets.shift_remove(&expansion.name) {
                Some(Value::Object(set)) => {
                    let set = expansion.options.apply(set, "OptionSetMetadata")?;
                    kept.insert(expansion.name.clone(), Value::Object(set));
                }
                Some(other) => {
                    kept.insert(expansion.name.clone(), other);
                }
                None => return Err(unknown(&expansion.name, kind)),
            }
        }
        narrowed.push(Value::Object(kept));
    }
    Ok(narrowed)
}

fn each(items: Vec<Value>, options: &Options, kind: &str) -> Result<Vec<Value>, Refusal> {
    items.into_iter().map(|item| options.apply(object(item), kind).map(Value::Object)).collect()
}

pub(super) fn unknown(name: &str, kind: &str) -> Refusal {
    let text = format!("Could not find a property named '{name}' on type '{NAMESPACE}{kind}'.");
    Refusal::bad_request(text)
}

pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn with_context(mut members: Map<String, Value>, context: &str) -> Value {
    members.shift_insert(0, "@odata.context".to_owned(), json!(context));
    Value::Object(members)
}
