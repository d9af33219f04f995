//! What Dataverse says of its tables: columns, labels, kinds of dates.
//!
//! Only tables in use are asked about, each at most once by one [`Dataverse`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::dataverse::{Dataverse, TableQuery, prepared, refusal};
use super::dataverse_columns::{Reading, resolve};
use super::error::Error;
use super::service::{encoded, read};

const NAMESPACE: &str = "Microsoft.Dynamics.CRM.";
/// English, the language that labels are in unless another one is asked for.
const ENGLISH: u32 = 1033;

/// A table as far as we care.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Table {
    pub(super) logical_name: String,
    pub(super) primary_id_attribute: String,
    change_tracking_enabled: Option<bool>,
}

/// A table with its columns.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) table: Table,
    pub(super) attributes: Vec<Attribute>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Attribute {
    pub(super) logical_name: String,
    attribute_type: Option<String>,
    attribute_type_name: Option<TypeName>,
    is_valid_for_read: Option<bool>,
    attribute_of: Option<String>,
    is_secured: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
struct TypeName {
    #[serde(rename = "Value")]
    value: Option<String>,
}

/// The labels of a column's values, by the value's text.
pub(super) type Labels = BTreeMap<String, String>;

impl Table {
    /// Whether it tells what changed.
    pub(super) fn tracks_changes(&self) -> bool {
        self.change_tracking_enabled == Some(true)
    }
}

impl Attribute {
    /// Whether rows have it: shadow columns only look as if they did.
    pub(super) fn readable(&self) -> bool {
        self.is_valid_for_read != Some(false) && self.attribute_of.is_none()
    }

    /// Whether a right of its own is needed to see its values.
    pub(super) fn secured(&self) -> bool {
        self.is_secured == Some(true)
    }

    /// Its type without the word `Type`. `AttributeType` calls several kinds
    /// `Virtual`, so the name counts where there is one.
    pub(super) fn kind(&self) -> &str {
        let name = self.attribute_type_name.as_ref().and_then(|name| name.value.as_deref());
        let name = name.or(self.attribute_type.as_deref()).unwrap_or_default();
        name.strip_suffix("Type").unwrap_or(name)
    }

    /// Whether its values point at rows of another table.
    pub(super) fn is_lookup(&self) -> bool {
        matches!(self.kind(), "Lookup" | "Customer" | "Owner")
    }
}

#[derive(Deserialize)]
struct List<T> {
    value: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Columns {
    attributes: Vec<Attribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DateColumn {
    logical_name: String,
    date_time_behavior: Option<TypeName>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChoiceColumn {
    logical_name: String,
    option_set: Option<Value>,
    global_option_set: Option<Value>,
}

impl Dataverse {
    /// Describes the table of an entity set; `None` where there is none.
    pub(super) async fn definition(&self, entity_set: &str) -> Result<Option<Arc<Definition>>, Error> {
        // Held while asking, so that two readers of one table ask once.
        let mut known = self.definitions.lock().await;
        if let Some(definition) = known.get(entity_set) {
            return Ok(Some(Arc::clone(definition)));
        }
        let operation = definition_of(entity_set);
        let path = format!(
            "/api/data/v9.2/EntityDefinitions\
             ?$select=LogicalName,EntitySetName,PrimaryIdAttribute,ChangeTrackingEnabled&$filter={}",
            encoded(&format!("EntitySetName eq '{entity_set}'"))
        );
        let found: List<Table> = self.described(&operation, &path).await?;
        let Some(table) = found.value.into_iter().next() else { return Ok(None) };
        let path = format!(
            "{}?$select=LogicalName&$expand=Attributes($select=LogicalName,AttributeType,AttributeTypeName,\
             IsValidForRead,AttributeOf,IsSecured)",
            path_of(&table)
        );
        let columns: Columns = self.described(&operation, &path).await?;
        let definition = Arc::new(Definition { table, attributes: columns.attributes });
        known.insert(entity_set.to_owned(), Arc::clone(&definition));
        Ok(Some(definition))
    }

    /// Names the date columns whose values are what a clock on the wall showed,
    /// although a `Z` stands behind them.
    pub(super) async fn wall_clocks(&self, table: &Table) -> Result<BTreeSet<String>, Error> {
        let path = format!(
            "{}/Attributes/{NAMESPACE}DateTimeAttributeMetadata?$select=LogicalName,DateTimeBehavior",
            path_of(table)
        );
        let found: List<DateColumn> = self.described(&definition_of(&table.logical_name), &path).await?;
        let behavior = |column: &DateColumn| column.date_time_behavior.as_ref().and_then(|name| name.value.clone());
        let wall = found.value.into_iter().filter(|column| behavior(column).as_deref() == Some("TimeZoneIndependent"));
        Ok(wall.map(|column| column.logical_name).collect())
    }

    /// Reads the labels of all columns of one kind, in a language where it is
    /// there. Labels beside the values are in the application user's language,
    /// which anybody may change; these are not.
    pub(super) async fn labels(
        &self,
        table: &Table,
        kind: &str,
        language: Option<u32>,
    ) -> Result<BTreeMap<String, Labels>, Error> {
        let path = format!(
            "{}/Attributes/{NAMESPACE}{kind}AttributeMetadata?$select=LogicalName&$expand=OptionSet,GlobalOptionSet",
            path_of(table)
        );
        let found: List<ChoiceColumn> = self.described(&definition_of(&table.logical_name), &path).await?;
        let language = language.unwrap_or(ENGLISH);
        let labelled = found.value.into_iter().map(|column| {
            let set = column.option_set.filter(|set| !set.is_null()).or(column.global_option_set);
            (column.logical_name, set.map(|set| labels_of(&set, language)).unwrap_or_default())
        });
        Ok(labelled.collect())
    }

    async fn described<T: DeserializeOwned>(&self, operation: &str, path: &str) -> Result<T, Error> {
        let request = prepared(self.service.request(operation, Method::GET, path)?);
        let response = self.ask(operation, request).await?;
        match response.status.as_u16() {
            200 => read(operation, &response.body),
            _ => Err(refusal(operation, &response)),
        }
    }

    /// Asks what a query would meet, reading one row at most: a missing table,
    /// missing columns. An empty answer means that it would work.
    ///
    /// # Errors
    /// When the service cannot be asked, or a right is missing.
    pub async fn check(&self, query: &TableQuery) -> Result<Vec<String>, Error> {
        query.validate()?;
        let set = &query.entity_set;
        let Some(definition) = self.definition(set).await? else {
            return Ok(vec![format!("there is no table whose entity set is called `{set}`")]);
        };
        match resolve(query, &definition) {
            Err(problems) => Ok(problems),
            Ok(columns) => {
                self.probe(&Reading::of(query, columns, Some(&definition))).await?;
                Ok(Vec::new())
            }
        }
    }
}

fn definition_of(table: &str) -> String {
    format!("read the definition of table `{table}`")
}

fn path_of(table: &Table) -> String {
    format!("/api/data/v9.2/EntityDefinitions(LogicalName='{}')", encoded(&table.logical_name))
}

/// Reads an option set: a list of options, or the two of a yes and no.
fn labels_of(set: &Value, language: u32) -> Labels {
    let mut labels = Labels::new();
    for option in set["Options"].as_array().into_iter().flatten() {
        if let (Some(value), Some(label)) = (option["Value"].as_i64(), label_of(&option["Label"], language)) {
            labels.insert(value.to_string(), label);
        }
    }
    for (name, value) in [("TrueOption", "true"), ("FalseOption", "false")] {
        if let Some(label) = label_of(&set[name]["Label"], language) {
            labels.insert(value.to_owned(), label);
        }
    }
    labels
}

fn label_of(label: &Value, language: u32) -> Option<String> {
    let all = || label["LocalizedLabels"].as_array().into_iter().flatten();
    let wanted = all().find(|one| one["LanguageCode"] == language);
    let found = wanted.or_else(|| all().min_by_key(|one| one["LanguageCode"].as_u64()));
    found?["Label"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_label_is_in_the_language_asked_for_where_it_is_there() {
        let label = |labels: &[(&str, u32)]| {
            let all: Vec<Value> =
                labels.iter().map(|(text, code)| json!({"Label": text, "LanguageCode": code})).collect();
            json!({"LocalizedLabels": all, "UserLocalizedLabel": {"Label": "of the user", "LanguageCode": 1036}})
        };
        let set = json!({"Options": [
            {"Value": 1, "Label": label(&[("Offen", 1031), ("Open", 1033)])},
            {"Value": 2, "Label": label(&[("Geschlossen", 1031)])},
            {"Value": 3, "Label": label(&[])},
        ]});
        let shown = |language| labels_of(&set, language).into_iter().collect::<Vec<_>>();
        let pair = |value: &str, label: &str| (value.to_owned(), label.to_owned());
        assert_eq!(shown(ENGLISH), [pair("1", "Open"), pair("2", "Geschlossen")]);
        assert_eq!(shown(1031), [pair("1", "Offen"), pair("2", "Geschlossen")]);
        let flag = json!({"TrueOption": {"Value": 1, "Label": label(&[("Yes", 1033)])}, "FalseOption": null});
        assert_eq!(labels_of(&flag, ENGLISH).into_iter().collect::<Vec<_>>(), [pair("true", "Yes")]);
    }

    #[test]
    fn a_kind_is_told_by_its_name_where_the_type_says_virtual() {
        let attribute: Attribute = serde_json::from_value(json!({
            "LogicalName": "a", "AttributeType": "Virtual", "AttributeTypeName": {"Value": "MultiSelectPicklistType"},
        }))
        .unwrap();
        assert_eq!(attribute.kind(), "MultiSelectPicklist");
        assert!(attribute.readable() && !attribute.secured());
    }
}
