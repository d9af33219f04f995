//! `EntityDefinitions`: tables, columns and keys described.

use serde_json::{Map, Value, json};

use super::cell::Cell;
use super::filter::Filter;
use super::schema::{Column, ColumnKind};
use super::service::Refusal;
use super::store::{Store, Stored};
use crate::wire::{Request, decode_percent, numbered_guid};

const NAMESPACE: &str = "Microsoft.Dynamics.CRM.";

/// Members of a column that every type has; the others need a cast.
const COMMON: &[&str] = &[
    "LogicalName",
    "SchemaName",
    "AttributeType",
    "AttributeTypeName",
    "AttributeOf",
    "IsPrimaryId",
    "IsValidForCreate",
    "IsValidForRead",
    "IsValidForUpdate",
    "IsValidForAdvancedFind",
    "RequiredLevel",
    "MetadataId",
    "EntityLogicalName",
];

/// Answers a path that starts with `EntityDefinitions`, as JSON.
pub(super) fn answer(
    store: &Store,
    request: &Request,
    path: &str,
    base: &str,
) -> Result<Value, Refusal> {
    let options = Options::read(request)?;
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let (_, key) = super::key::split(first);
    let Some(key) = key else {
        if !rest.is_empty() {
            return Err(Refusal::outside_contract(format!(
                "EntityDefinitions/{rest}"
            )));
        }
        return list(store, &options, base);
    };
    let name = logical_name(key)?;
    let table = store
        .tables
        .iter()
        .find(|table| table.logical_name == name)
        .ok_or_else(|| {
            let text = format!("Could not find an entity with the name {name} and with id ");
            Refusal::new(404, "0x80060888", text)
        })?;
    let context = |tail: &str| format!("{base}/$metadata#EntityDefinitions{tail}");
    let parts: Vec<&str> = rest.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => {
            let mut described = options.apply(definition(table), "EntityMetadata")?;
            for expansion in &options.expand {
                let value = match expansion.name.as_str() {
                    "Attributes" => plain(attributes(table), &expansion.options)?,
                    "Keys" => each(keys(table), &expansion.options, "EntityKeyMetadata")?,
                    "OneToManyRelationships"
                    | "ManyToOneRelationships"
                    | "ManyToManyRelationships" => Vec::new(),
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
            Ok(
                json!({"@odata.context": context(&format!("('{name}')/Attributes")), "value": value}),
            )
        }
        ["Attributes", cast] if cast.starts_with(NAMESPACE) => {
            let wanted = format!("#{cast}");
            let kind = &cast[NAMESPACE.len()..];
            if kind == "EnumAttributeMetadata" || !CASTS.contains(&kind) {
                let text = format!("The type cast segment '{cast}' is not supported.");
                return Err(Refusal::bad_request(text));
            }
            let found = attributes(table)
                .into_iter()
                .filter(|item| item["@odata.type"] == wanted.as_str());
            let value = cast_members(found.collect(), &options, kind)?;
            let tail = format!("('{name}')/Attributes/{cast}");
            Ok(json!({"@odata.context": context(&tail), "value": value}))
        }
        ["Attributes", one] => one_attribute(table, one, None, &options, &context("/$entity")),
        ["Attributes", one, cast] => {
            one_attribute(table, one, Some(cast), &options, &context("/$entity"))
        }
        _ => Err(Refusal::outside_contract(format!(
            "EntityDefinitions(…)/{rest}"
        ))),
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
            Some((
                Column {
                    name: name.clone(),
                    kind,
                },
                cell,
            ))
        })
        .unzip();
    let filter = Filter::parse(text, &columns).map_err(|invalid| {
        Refusal::bad_request(format!("The filter cannot be used: {invalid:?}"))
    })?;
    Ok(filter.holds(&cells))
}

fn logical_name(key: &str) -> Result<String, Refusal> {
    let text = decode_percent(key).unwrap_or_default();
    let name = text
        .strip_prefix("LogicalName='")
        .and_then(|rest| rest.strip_suffix('\''));
    name.map(str::to_owned)
        .ok_or_else(|| Refusal::bad_request("A definition is addressed as (LogicalName='…')."))
}

fn one_attribute(
    table: &Stored,
    segment: &str,
    cast: Option<&str>,
    options: &Options,
    context: &str,
) -> Result<Value, Refusal> {
    let name = logical_name(super::key::split(segment).1.unwrap_or_default())?;
    let found = attributes(table)
        .into_iter()
        .find(|item| item["LogicalName"] == name.as_str());
    let found = found.ok_or_else(|| {
        Refusal::new(
            404,
            "0x80060888",
            format!("Could not find an attribute with the name {name}."),
        )
    })?;
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
        _ => Err(Refusal::new(
            404,
            "0x80060888",
            "Nothing is left of the attribute.",
        )),
    }
}

fn definition(table: &Stored) -> Map<String, Value> {
    let primary_name = table
        .columns
        .iter()
        .find(|column| column.kind == ColumnKind::Text);
    let value = json!({
        "LogicalName": table.logical_name,
        "SchemaName": table.logical_name,
        "EntitySetName": table.entity_set,
        "LogicalCollectionName": table.entity_set,
        "PrimaryIdAttribute": table.primary_id,
        "PrimaryNameAttribute": primary_name.map(|column| column.name.clone()),
        "ChangeTrackingEnabled": table.change_tracking,
        "IsOptimisticConcurrencyEnabled": true,
        "TableType": "Standard",
        "ObjectTypeCode": 10_000,
        "MetadataId": numbered_guid(&table.logical_name, 0),
    });
    object(value)
}

fn keys(table: &Stored) -> Vec<Value> {
    table
        .alternate_keys
        .iter()
        .zip(1..)
        .map(|(key, number)| {
            json!({
                "LogicalName": key.name,
                "SchemaName": key.name,
                "KeyAttributes": key.columns,
                "EntityKeyIndexStatus": if key.active { "Active" } else { "Pending" },
                "EntityLogicalName": table.logical_name,
                "MetadataId": numbered_guid(&format!("key of {}", table.logical_name), number),
            })
        })
        .collect()
}

/// Describes all columns, and the shadow columns that only look like some.
fn attributes(table: &Stored) -> Vec<Value> {
    let mut described = Vec::new();
    for column in &table.columns {
        let number = described.len() as u64;
        described.push(attribute(table, column, number));
        if matches!(column.kind, ColumnKind::Choice(_) | ColumnKind::Boolean) {
            let mut shadow = attribute_head(
                table,
                &format!("{}name", column.name),
                number + 1,
                "Virtual",
                "Virtual",
            );
            shadow["AttributeOf"] = json!(column.name);
            shadow["IsValidForCreate"] = json!(false);
            shadow["IsValidForUpdate"] = json!(false);
            described.push(shadow);
        }
    }
    described
}

fn attribute(table: &Stored, column: &Column, number: u64) -> Value {
    let head = |kind: &str| attribute_head(table, &column.name, number, kind, kind);
    let mut described = match &column.kind {
        ColumnKind::Text => merged(head("String"), json!({"MaxLength": 4000, "Format": "Text"})),
        ColumnKind::Integer => merged(
            head("Integer"),
            json!({"MinValue": i32::MIN, "MaxValue": i32::MAX, "Format": "None"}),
        ),
        ColumnKind::Decimal { precision } => {
            merged(head("Decimal"), json!({"Precision": precision}))
        }
        ColumnKind::Money => merged(
            head("Money"),
            json!({"Precision": 4, "PrecisionSource": 0, "IsBaseCurrency": false}),
        ),
        ColumnKind::Double => merged(head("Double"), json!({"Precision": 5})),
        ColumnKind::Boolean => head("Boolean"),
        ColumnKind::DateOnly => date_time(head("DateTime"), "DateOnly"),
        ColumnKind::DateTimeUtc => date_time(head("DateTime"), "UserLocal"),
        ColumnKind::DateTimeWall => date_time(head("DateTime"), "TimeZoneIndependent"),
        ColumnKind::Choice(options) => {
            let kind = match column.name.as_str() {
                "statecode" => "State",
                "statuscode" => "Status",
                _ => "Picklist",
            };
            merged(
                head(kind),
                json!({"OptionSet": option_set(table, column, options), "GlobalOptionSet": null}),
            )
        }
        ColumnKind::Guid => attribute_head(
            table,
            &column.name,
            number,
            "Uniqueidentifier",
            "UniqueIdentifier",
        ),
    };
    let written_by_service = matches!(
        column.name.as_str(),
        "createdon" | "modifiedon" | "versionnumber"
    );
    if written_by_service {
        described["IsValidForCreate"] = json!(false);
        described["IsValidForUpdate"] = json!(false);
    }
    if column.name == table.primary_id {
        described["IsPrimaryId"] = json!(true);
        described["IsValidForUpdate"] = json!(false);
    }
    described
}

fn attribute_head(table: &Stored, name: &str, number: u64, kind: &str, type_name: &str) -> Value {
    json!({
        "@odata.type": format!("#{NAMESPACE}{}", if kind == "Virtual" {
            "AttributeMetadata".to_owned()
        } else {
            format!("{type_name}AttributeMetadata")
        }),
        "LogicalName": name,
        "SchemaName": name,
        "AttributeType": kind,
        "AttributeTypeName": {"Value": format!("{kind}Type")},
        "IsPrimaryId": false,
        "IsValidForCreate": true,
        "IsValidForRead": true,
        "IsValidForUpdate": true,
        "AttributeOf": null,
        "RequiredLevel": {
            "Value": "None",
            "CanBeChanged": true,
            "ManagedPropertyLogicalName": "canmodifyrequirementlevelsettings",
        },
        "EntityLogicalName": table.logical_name,
        "MetadataId": numbered_guid(&format!("column of {}", table.logical_name), number),
    })
}

fn date_time(head: Value, behavior: &str) -> Value {
    let format = if behavior == "DateOnly" {
        "DateOnly"
    } else {
        "DateAndTime"
    };
    merged(
        head,
        json!({"DateTimeBehavior": {"Value": behavior}, "Format": format}),
    )
}

fn option_set(table: &Stored, column: &Column, options: &[(i32, String)]) -> Value {
    let id =
        |number: u64| numbered_guid(&format!("{} {}", table.logical_name, column.name), number);
    let options: Vec<Value> = options
        .iter()
        .zip(1..)
        .map(|((value, label), number)| {
            let label = json!({
                "Label": label,
                "LanguageCode": 1033,
                "IsManaged": true,
                "MetadataId": id(number),
                "HasChanged": null,
            });
            json!({
                "Value": value,
                "Label": {"LocalizedLabels": [label], "UserLocalizedLabel": label},
                "Color": null,
                "IsManaged": true,
            })
        })
        .collect();
    json!({"Options": options, "MetadataId": id(0)})
}

/// Members of columns without a cast: those every type has, and no others by name.
fn plain(items: Vec<Value>, options: &Options) -> Result<Vec<Value>, Refusal> {
    if let Some(name) = options
        .select
        .iter()
        .flatten()
        .find(|name| !COMMON.contains(&name.as_str()))
    {
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
    items
        .into_iter()
        .map(|item| options.apply(object(item), kind).map(Value::Object))
        .collect()
}

fn unknown(name: &str, kind: &str) -> Refusal {
    let text = format!("Could not find a property named '{name}' on type '{NAMESPACE}{kind}'.");
    Refusal::bad_request(text)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

fn merged(mut value: Value, more: Value) -> Value {
    for (name, member) in object(more) {
        value[name] = member;
    }
    value
}

fn with_context(mut members: Map<String, Value>, context: &str) -> Value {
    members.shift_insert(0, "@odata.context".to_owned(), json!(context));
    Value::Object(members)
}

/// `$select`, `$expand` and `$filter`, at the top or inside an expansion.
#[derive(Debug, Default)]
struct Options {
    select: Option<Vec<String>>,
    expand: Vec<Expansion>,
    filter: Option<String>,
}

#[derive(Debug)]
struct Expansion {
    name: String,
    options: Options,
}

impl Options {
    fn read(request: &Request) -> Result<Self, Refusal> {
        let pairs = request
            .parameters()
            .ok_or_else(|| Refusal::bad_request("The query string is malformed."))?;
        Self::from_pairs(
            pairs
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        )
    }

    fn from_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for (name, value) in pairs {
            match name {
                "$select" => {
                    options.select = Some(
                        value
                            .split(',')
                            .map(|name| name.trim().to_owned())
                            .collect(),
                    );
                }
                "$filter" => options.filter = Some(value.to_owned()),
                "$expand" => {
                    options.expand = split(value, ',')
                        .map(Expansion::parse)
                        .collect::<Result<_, _>>()?;
                }
                other => {
                    return Err(Refusal::outside_contract(format!(
                        "the query option {other} here"
                    )));
                }
            }
        }
        Ok(options)
    }

    /// Keeps what was selected; a member that does not exist is refused by name.
    fn apply(
        &self,
        mut members: Map<String, Value>,
        kind: &str,
    ) -> Result<Map<String, Value>, Refusal> {
        if let Some(select) = &self.select {
            if let Some(name) = select
                .iter()
                .find(|name| !members.contains_key(name.as_str()))
            {
                // Columns of different types do not have the same members.
                if kind != "AttributeMetadata" {
                    return Err(unknown(name, kind));
                }
            }
            members.retain(|name, _| {
                name == "MetadataId"
                    || name == "@odata.type"
                    || select.iter().any(|wanted| wanted == name)
            });
        }
        Ok(members)
    }
}

impl Expansion {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let (name, inner) = super::key::split(text.trim());
        let pairs = split(inner.unwrap_or_default(), ';').filter_map(|part| part.split_once('='));
        Ok(Self {
            name: name.to_owned(),
            options: Options::from_pairs(pairs)?,
        })
    }
}

/// Splits where no parenthesis is open.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        character == separator && depth == 0
    })
    .filter(|part| !part.trim().is_empty())
}
