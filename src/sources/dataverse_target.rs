//! A table of Dataverse to write to: what its columns keep, and whether its key is ready.

use std::collections::{BTreeMap, HashMap, HashSet};

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::dataverse::{Dataverse, prepared, refusal};
use super::dataverse_reaction::Reason;
use super::dataverse_value::{ValueKind, addressable};
use super::error::Error;
use super::service::{encoded, read};

/// Where rows are to go, as a definition says it.
#[derive(Debug, Clone, Default)]
pub struct TargetQuery {
    /// Name under which the table's rows are addressed.
    pub entity_set: String,
    /// Columns of the alternate key by which rows are found.
    pub key: Vec<String>,
    /// All columns of the rows, those of the key and of lookups included.
    pub columns: Vec<String>,
    /// Columns that point to rows of other tables.
    pub lookups: Vec<Lookup>,
}

/// A column that points to a row of another table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// The query's column.
    pub column: String,
    /// The navigation property, case by case as the service spells it.
    pub navigation: String,
    /// The other table's entity set.
    pub entity_set: String,
    /// The other table's alternate key, of one text column. Without one the value is a GUID.
    pub key: Option<String>,
}

/// A table that was found fit to be written to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Which organisation it is in.
    pub organization_id: String,
    pub(super) entity_set: String,
    pub(super) logical_name: String,
    pub(super) primary_id: String,
    /// Whether it takes `UpsertMultiple`.
    pub(super) bulk: bool,
    key: Vec<String>,
    kinds: HashMap<String, ValueKind>,
    lookups: Vec<Lookup>,
}

/// A row in the words of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRow {
    /// Its number in the query's answer, from 1.
    pub number: u64,
    /// What tells it from others: `column='value'`, in lower case, for case does not count.
    pub key: String,
    /// Its columns as JSON, sorted, without those of the key.
    pub body: String,
    /// The same key with its case.
    pub(super) address: String,
    /// The key's columns as JSON members.
    pub(super) key_members: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    logical_name: String,
    primary_id_attribute: String,
    table_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    attributes: Vec<Attribute>,
    keys: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    logical_name: String,
    attribute_type_name: Option<Named>,
    attribute_of: Option<String>,
    is_valid_for_create: Option<bool>,
    is_valid_for_update: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    key_attributes: Vec<String>,
    entity_key_index_status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Detail {
    logical_name: String,
    precision: Option<u32>,
    date_time_behavior: Option<Named>,
}

#[derive(Deserialize)]
struct List<T> {
    value: Vec<T>,
}

impl Dataverse {
    /// Looks whether rows of these columns can be written to a table, before any is.
    ///
    /// # Errors
    /// When the service cannot be asked; [`Error::Target`] with all that is in the way.
    pub async fn target(&self, query: &TargetQuery) -> Result<Target, Error> {
        let set = &query.entity_set;
        let unfit = |problems: Vec<String>| Error::Target { entity_set: set.clone(), problems: problems.join("; ") };
        let filter = encoded(&format!("EntitySetName eq '{}'", set.replace('\'', "''")));
        let select = "LogicalName,EntitySetName,PrimaryIdAttribute,TableType";
        let found: List<Found> =
            self.told(set, &format!("EntityDefinitions?$select={select}&$filter={filter}")).await?;
        let Some(found) = found.value.into_iter().next() else {
            return Err(Error::TableNotFound { entity_set: set.clone() });
        };
        if found.table_type.as_deref() == Some("Elastic") {
            let problem = "it is an elastic table, where an upsert loses every column that is not sent";
            return Err(unfit(vec![problem.to_owned()]));
        }
        let base = format!("EntityDefinitions(LogicalName='{}')", encoded(&found.logical_name));
        let described: Described = self
            .told(
                set,
                &format!(
                    "{base}?$select=LogicalName&$expand=Attributes($select=LogicalName,AttributeTypeName,AttributeOf,\
                     IsValidForCreate,IsValidForUpdate),Keys($select=LogicalName,KeyAttributes,EntityKeyIndexStatus)"
                ),
            )
            .await?;
        let mut details = HashMap::new();
        let wanted: HashSet<&str> = described
            .attributes
            .iter()
            .filter(|attribute| query.columns.contains(&attribute.logical_name))
            .map(Attribute::kind)
            .collect();
        for (kind, member) in [("Decimal", "Precision"), ("Money", "Precision"), ("DateTime", "DateTimeBehavior")] {
            if wanted.contains(kind) {
                let cast = format!("Microsoft.Dynamics.CRM.{kind}AttributeMetadata");
                let path = format!("{base}/Attributes/{cast}?$select=LogicalName,{member}");
                let list: List<Detail> = self.told(set, &path).await?;
                details.extend(list.value.into_iter().map(|detail| (detail.logical_name.clone(), detail)));
            }
        }
        let kinds = described.kinds(query, &details).map_err(unfit)?;
        let organization_id = self.who_am_i().await?.organization_id;
        let bulk = self.takes_upsert_multiple(&found.logical_name).await?;
        Ok(Target {
            organization_id,
            entity_set: set.clone(),
            logical_name: found.logical_name,
            primary_id: found.primary_id_attribute,
            bulk,
            key: query.key.clone(),
            kinds,
            lookups: query.lookups.clone(),
        })
    }

    async fn told<T: DeserializeOwned>(&self, set: &str, path: &str) -> Result<T, Error> {
        let operation = format!("read the definition of table `{set}`");
        let request = self.service.request(&operation, Method::GET, &format!("/api/data/v9.2/{path}"))?;
        let response = self.service.send(&operation, prepared(request)).await?;
        match response.status.as_u16() {
            200 => read(&operation, &response.body),
            _ => Err(refusal(&operation, &response)),
        }
    }

    /// Not every table takes the messages for many rows. Whoever may not ask gets none.
    async fn takes_upsert_multiple(&self, logical_name: &str) -> Result<bool, Error> {
        let condition = encoded("sdkmessageid/name eq @message and primaryobjecttypecode eq @table");
        let path = format!(
            "sdkmessagefilters?$select=sdkmessagefilterid&$filter={condition}&@message='UpsertMultiple'\
             &@table='{}'",
            encoded(logical_name)
        );
        match self.told::<List<serde_json::Value>>("sdkmessagefilters", &path).await {
            Ok(found) => Ok(!found.value.is_empty()),
            Err(Error::Refused { status: 400..=499, .. } | Error::TableForbidden { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Attribute {
    /// The type without its ending, e.g. `Decimal`.
    fn kind(&self) -> &str {
        let name = self.attribute_type_name.as_ref().map_or("", |named| named.value.as_str());
        name.strip_suffix("Type").unwrap_or(name)
    }

    fn value_kind(&self, detail: Option<&Detail>) -> Option<ValueKind> {
        let behavior = detail.and_then(|detail| detail.date_time_behavior.as_ref()).map(|named| named.value.as_str());
        Some(match (self.kind(), behavior) {
            ("String" | "Memo" | "MultiSelectPicklist", _) => ValueKind::Text,
            ("Integer" | "BigInt" | "Picklist" | "State" | "Status", _) => ValueKind::Integer,
            ("Decimal" | "Money", _) => ValueKind::Decimal { precision: detail?.precision? },
            ("Double", _) => ValueKind::Double,
            ("Boolean", _) => ValueKind::Boolean,
            ("DateTime", Some("DateOnly")) => ValueKind::Date,
            ("DateTime", Some("TimeZoneIndependent")) => ValueKind::WallClock,
            ("DateTime", _) => ValueKind::Instant,
            ("Uniqueidentifier", _) => ValueKind::Guid,
            _ => return None,
        })
    }
}

impl Described {
    /// What each column keeps, or all that is wrong.
    fn kinds(
        &self,
        query: &TargetQuery,
        details: &HashMap<String, Detail>,
    ) -> Result<HashMap<String, ValueKind>, Vec<String>> {
        let mut kinds = HashMap::new();
        let mut problems = Vec::new();
        let bound: HashSet<&str> = query.lookups.iter().map(|lookup| lookup.column.as_str()).collect();
        for column in query.columns.iter().filter(|column| !bound.contains(column.as_str())) {
            let Some(attribute) = self.attributes.iter().find(|attribute| attribute.logical_name == *column) else {
                let near = self.attributes.iter().map(|attribute| attribute.logical_name.as_str());
                let near = near.map(|name| (strsim::damerau_levenshtein(name, column), name)).min();
                let hint = near.filter(|(distance, _)| *distance <= 3);
                let hint = hint.map_or_else(String::new, |(_, name)| format!(", `{name}` is spelled most alike"));
                problems.push(format!("there is no column `{column}`{hint}"));
                continue;
            };
            let in_key = query.key.contains(column);
            let writable = attribute.is_valid_for_create != Some(false)
                && (in_key || attribute.is_valid_for_update != Some(false))
                && attribute.attribute_of.is_none();
            match attribute.value_kind(details.get(column)) {
                _ if !writable => problems.push(format!("column `{column}` cannot be written")),
                Some(kind) if in_key && !kind.may_be_key() => {
                    problems.push(format!("column `{column}` is of a type that no key may have"));
                }
                Some(kind) => {
                    kinds.insert(column.clone(), kind);
                }
                None if matches!(attribute.kind(), "Lookup" | "Customer" | "Owner") => {
                    problems.push(format!("column `{column}` is a lookup: say in `lookups` where it points"));
                }
                None => problems.push(format!("column `{column}` has the type `{}`", attribute.kind())),
            }
        }
        let wanted: HashSet<&str> = query.key.iter().map(String::as_str).collect();
        let key = self.keys.iter().find(|key| {
            key.key_attributes.len() == wanted.len() && key.key_attributes.iter().all(|name| wanted.contains(&**name))
        });
        match key {
            None => problems.push(format!("no alternate key consists of `{}`", query.key.join(", "))),
            Some(key) if key.entity_key_index_status != "Active" => {
                let (columns, status) = (query.key.join(", "), &key.entity_key_index_status);
                problems.push(format!("the alternate key of `{columns}` is `{status}`, not `Active`"));
            }
            Some(_) => {}
        }
        if problems.is_empty() { Ok(kinds) } else { Err(problems) }
    }
}

impl Target {
    /// Puts a row of the query, a JSON object, into the words of the service.
    ///
    /// # Errors
    /// When a column cannot keep its value, or a part of the key is empty.
    pub fn row(&self, number: u64, json: &str) -> Result<TargetRow, Reason> {
        let refused =
            |column: &str, message: &str| Reason { code: "value".to_owned(), message: format!("`{column}` {message}") };
        let cells: BTreeMap<String, &RawValue> = serde_json::from_str(json)
            .map_err(|_| Reason { code: "value".to_owned(), message: "the row is no JSON object".to_owned() })?;
        let mut body = BTreeMap::new();
        let mut keys = BTreeMap::new();
        for (column, cell) in &cells {
            if let Some(lookup) = self.lookups.iter().find(|lookup| lookup.column == *column) {
                let reference = lookup.reference(cell.get()).map_err(|message| refused(column, message))?;
                body.insert(format!("{}@odata.bind", lookup.navigation), reference);
                continue;
            }
            let kind = self.kinds.get(column).ok_or_else(|| refused(column, "was not there in the first row"))?;
            let value = kind.convert(cell.get()).map_err(|message| refused(column, message))?;
            if self.key.contains(column) {
                let literal = kind.literal(&value).ok_or_else(|| refused(column, "is part of the key and empty"))?;
                keys.insert(column.clone(), (value, literal));
            } else {
                body.insert(column.clone(), value);
            }
        }
        let mut address = Vec::new();
        for column in &self.key {
            let (_, literal) = keys.get(column).ok_or_else(|| refused(column, "is part of the key and missing"))?;
            address.push(format!("{column}={literal}"));
        }
        let members = |cells: Vec<(&String, &String)>| {
            let member =
                |(name, value): (&String, &String)| format!("{}:{value}", serde_json::Value::from(name.as_str()));
            cells.into_iter().map(member).collect::<Vec<_>>().join(",")
        };
        let address = address.join(",");
        Ok(TargetRow {
            number,
            key: address.to_lowercase(),
            body: format!("{{{}}}", members(body.iter().collect())),
            key_members: members(keys.iter().map(|(name, (value, _))| (name, value)).collect()),
            address,
        })
    }
}

impl Lookup {
    /// The value as a reference to a row, or null.
    fn reference(&self, json: &str) -> Result<String, &'static str> {
        let kind = if self.key.is_some() { ValueKind::Text } else { ValueKind::Guid };
        let Some(literal) = kind.literal(&kind.convert(json)?) else { return Ok("null".to_owned()) };
        let inner = match &self.key {
            Some(_) if !addressable(&literal) => return Err("holds a character that no reference can carry"),
            Some(column) => format!("{column}={literal}"),
            None => literal,
        };
        Ok(serde_json::Value::from(format!("/{}({inner})", self.entity_set)).to_string())
    }
}

impl TargetRow {
    /// Every text of the row, to keep it out of messages.
    pub fn texts(&self) -> Vec<String> {
        let key = format!("{{{}}}", self.key_members);
        let cells = [&key, &self.body].map(|json| serde_json::from_str::<serde_json::Map<_, _>>(json));
        let cells = cells.into_iter().flatten().flat_map(serde_json::Map::into_values);
        cells.filter_map(|cell: serde_json::Value| cell.as_str().map(str::to_owned)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> TargetQuery {
        TargetQuery {
            entity_set: "sk_forecasts".to_owned(),
            key: vec!["sk_key".to_owned()],
            columns: ["sk_key", "sk_sales", "sk_store"].map(str::to_owned).to_vec(),
            lookups: vec![Lookup {
                column: "sk_store".to_owned(),
                navigation: "sk_Store".to_owned(),
                entity_set: "sk_stores".to_owned(),
                key: Some("sk_number".to_owned()),
            }],
        }
    }

    fn described(key_status: &str) -> Described {
        serde_json::from_value(serde_json::json!({
            "Attributes": [
                {"LogicalName": "sk_key", "AttributeTypeName": {"Value": "StringType"}},
                {"LogicalName": "sk_sales", "AttributeTypeName": {"Value": "MoneyType"}},
                {"LogicalName": "modifiedon", "AttributeTypeName": {"Value": "DateTimeType"}, "IsValidForCreate": false},
                {"LogicalName": "sk_owner", "AttributeTypeName": {"Value": "LookupType"}},
            ],
            "Keys": [{"KeyAttributes": ["sk_key"], "EntityKeyIndexStatus": key_status}],
        }))
        .unwrap()
    }

    fn details() -> HashMap<String, Detail> {
        let detail = Detail { logical_name: "sk_sales".to_owned(), precision: Some(2), date_time_behavior: None };
        HashMap::from([("sk_sales".to_owned(), detail)])
    }

    fn target() -> Target {
        let query = query();
        Target {
            organization_id: "o".to_owned(),
            entity_set: query.entity_set.clone(),
            logical_name: "sk_forecast".to_owned(),
            primary_id: "sk_forecastid".to_owned(),
            bulk: true,
            key: query.key.clone(),
            kinds: described("Active").kinds(&query, &details()).unwrap(),
            lookups: query.lookups,
        }
    }

    #[test]
    fn all_that_is_wrong_with_a_target_is_told_at_once() {
        let mut query = query();
        query.columns.extend(["sk_sale", "modifiedon", "sk_owner"].map(str::to_owned));
        let problems = described("Pending").kinds(&query, &details()).unwrap_err();
        insta::assert_snapshot!(problems.join("\n"), @r"
        there is no column `sk_sale`, `sk_sales` is spelled most alike
        column `modifiedon` cannot be written
        column `sk_owner` is a lookup: say in `lookups` where it points
        the alternate key of `sk_key` is `Pending`, not `Active`
        ");
        query.key = vec!["sk_sales".to_owned()];
        let problems = described("Active").kinds(&query, &details()).unwrap_err();
        assert!(problems.contains(&"no alternate key consists of `sk_sales`".to_owned()), "{problems:?}");
    }

    #[test]
    fn a_row_has_its_key_in_the_address_only() {
        let row = target().row(1, r#"{"sk_sales":12.50,"sk_store":"O'B","sk_key":"000125_Late Night"}"#).unwrap();
        assert_eq!(row.body, r#"{"sk_Store@odata.bind":"/sk_stores(sk_number='O''B')","sk_sales":12.5}"#);
        assert_eq!(row.address, "sk_key='000125_Late Night'");
        assert_eq!(row.key, "sk_key='000125_late night'");
        assert_eq!(row.key_members, r#""sk_key":"000125_Late Night""#);
        assert!(addressable(&row.address));
        assert_eq!(row.texts(), ["000125_Late Night", "/sk_stores(sk_number='O''B')"]);
        let row = target().row(1, r#"{"sk_sales":null,"sk_store":null,"sk_key":"A&B"}"#).unwrap();
        assert_eq!(row.body, r#"{"sk_Store@odata.bind":null,"sk_sales":null}"#);
        assert!(!addressable(&row.address));
    }

    #[test]
    fn a_row_without_its_key_or_with_a_misfit_is_refused_with_the_column() {
        let refused = |json: &str| target().row(1, json).unwrap_err().message;
        assert_eq!(refused(r#"{"sk_key":"","sk_sales":1}"#), "`sk_key` is part of the key and empty");
        assert_eq!(refused(r#"{"sk_sales":1}"#), "`sk_key` is part of the key and missing");
        assert_eq!(refused(r#"{"sk_key":"a","sk_sales":"x"}"#), "`sk_sales` is no number");
        assert_eq!(
            refused(r#"{"sk_key":"a","sk_store":"A/B"}"#),
            "`sk_store` holds a character that no reference can carry"
        );
    }
}
