//! Describes tables, columns and keys as the metadata of the service does.

use serde_json::{Map, Value, json};

use super::metadata::{NAMESPACE, object};
use super::schema::{Column, ColumnKind};
use super::store::Stored;
use crate::wire::numbered_guid;

pub(super) fn definition(table: &Stored) -> Map<String, Value> {
    let primary_name = table.columns.iter().find(|column| column.kind == ColumnKind::Text);
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

pub(super) fn keys(table: &Stored) -> Vec<Value> {
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
pub(super) fn attributes(table: &Stored) -> Vec<Value> {
    let mut described = Vec::new();
    for column in &table.columns {
        let number = described.len() as u64;
        described.push(attribute(table, column, number));
        let has_name = matches!(
            column.kind,
            ColumnKind::Choice(_) | ColumnKind::MultiChoice(_) | ColumnKind::Lookup(_) | ColumnKind::Boolean
        );
        if has_name {
            let name = logical_name(column);
            let mut shadow = attribute_head(table, &format!("{name}name"), number + 1, "Virtual", "Virtual");
            shadow["AttributeOf"] = json!(name);
            shadow["IsValidForCreate"] = json!(false);
            shadow["IsValidForUpdate"] = json!(false);
            described.push(shadow);
        }
    }
    described
}

fn attribute(table: &Stored, column: &Column, number: u64) -> Value {
    let head = |kind: &str| attribute_head(table, logical_name(column), number, kind, kind);
    let mut described = match &column.kind {
        ColumnKind::Text => merged(head("String"), json!({"MaxLength": 4000, "Format": "Text"})),
        ColumnKind::Integer => {
            merged(head("Integer"), json!({"MinValue": i32::MIN, "MaxValue": i32::MAX, "Format": "None"}))
        }
        ColumnKind::Decimal { precision } => merged(head("Decimal"), json!({"Precision": precision})),
        ColumnKind::Money => {
            merged(head("Money"), json!({"Precision": 4, "PrecisionSource": 0, "IsBaseCurrency": false}))
        }
        ColumnKind::Double => merged(head("Double"), json!({"Precision": 5})),
        ColumnKind::Boolean => {
            let option = |value: i32, label: &str| labelled(table, column, value, label, value.unsigned_abs().into());
            let set = json!({"TrueOption": option(1, "Yes"), "FalseOption": option(0, "No"), "MetadataId": id_of(table, column, 9)});
            merged(head("Boolean"), json!({"OptionSet": set, "GlobalOptionSet": null}))
        }
        ColumnKind::MultiChoice(options) => {
            let mut described = head("MultiSelectPicklist");
            described["AttributeType"] = json!("Virtual");
            merged(described, json!({"OptionSet": option_set(table, column, options), "GlobalOptionSet": null}))
        }
        ColumnKind::Lookup(targets) => merged(head("Lookup"), json!({"Targets": targets})),
        ColumnKind::DateOnly => date_time(head("DateTime"), "DateOnly"),
        ColumnKind::DateTimeUtc => date_time(head("DateTime"), "UserLocal"),
        ColumnKind::DateTimeWall => date_time(head("DateTime"), "TimeZoneIndependent"),
        ColumnKind::Choice(options) => {
            let kind = match column.name.as_str() {
                "statecode" => "State",
                "statuscode" => "Status",
                _ => "Picklist",
            };
            merged(head(kind), json!({"OptionSet": option_set(table, column, options), "GlobalOptionSet": null}))
        }
        ColumnKind::Guid => attribute_head(table, &column.name, number, "Uniqueidentifier", "UniqueIdentifier"),
    };
    described["IsSecured"] = json!(table.secured.contains(&column.name));
    let written_by_service = matches!(column.name.as_str(), "createdon" | "modifiedon" | "versionnumber");
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
        "IsSecured": false,
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
    let format = if behavior == "DateOnly" { "DateOnly" } else { "DateAndTime" };
    merged(head, json!({"DateTimeBehavior": {"Value": behavior}, "Format": format}))
}

fn option_set(table: &Stored, column: &Column, options: &[(i32, String)]) -> Value {
    let options: Vec<Value> = options
        .iter()
        .zip(1..)
        .map(|((value, label), number)| labelled(table, column, *value, label, number))
        .collect();
    json!({"Options": options, "MetadataId": id_of(table, column, 0)})
}

fn id_of(table: &Stored, column: &Column, number: u64) -> String {
    numbered_guid(&format!("{} {}", table.logical_name, column.name), number)
}

fn labelled(table: &Stored, column: &Column, value: i32, label: &str, number: u64) -> Value {
    let label = json!({
        "Label": label,
        "LanguageCode": 1033,
        "IsManaged": true,
        "MetadataId": id_of(table, column, number),
        "HasChanged": null,
    });
    json!({
        "Value": value,
        "Label": {"LocalizedLabels": [label], "UserLocalizedLabel": label},
        "Color": null,
        "IsManaged": true,
    })
}

/// What the definition calls a column whose values are called `_x_value`.
fn logical_name(column: &Column) -> &str {
    match column.kind {
        ColumnKind::Lookup(_) => {
            column.name.strip_prefix('_').and_then(|rest| rest.strip_suffix("_value")).unwrap_or(&column.name)
        }
        _ => &column.name,
    }
}

fn merged(mut value: Value, more: Value) -> Value {
    for (name, member) in object(more) {
        value[name] = member;
    }
    value
}
