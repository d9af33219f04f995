//! What Dataverse says of its tables.

use std::fmt::Write as _;

use reqwest::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::dataverse::{Dataverse, TableQuery, prepared, refusal};
use super::error::Error;
use super::service::{encoded, read};

/// A table as far as we care.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Table {
    logical_name: String,
    pub(super) primary_id_attribute: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Columns {
    attributes: Vec<Attribute>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    logical_name: String,
    is_valid_for_read: Option<bool>,
    attribute_of: Option<String>,
}

#[derive(Deserialize)]
struct Found {
    value: Vec<Table>,
}

impl Dataverse {
    /// Finds a table by the name under which its rows are asked for.
    pub(super) async fn table(&self, entity_set: &str) -> Result<Option<Table>, Error> {
        let operation = definition_of(entity_set);
        let path = format!(
            "/api/data/v9.2/EntityDefinitions\
             ?$select=LogicalName,EntitySetName,PrimaryIdAttribute&$filter={}",
            encoded(&format!("EntitySetName eq '{entity_set}'"))
        );
        let found: Found = self.described(&operation, &path).await?;
        Ok(found.value.into_iter().next())
    }

    async fn described<T: DeserializeOwned>(&self, operation: &str, path: &str) -> Result<T, Error> {
        let request = self.service.request(operation, Method::GET, path)?;
        let response = self.service.send(operation, prepared(request)).await?;
        match response.status.as_u16() {
            200 => read(operation, &response.body),
            _ => Err(refusal(operation, &response)),
        }
    }

    /// Asks what a query would meet, without reading its rows: a missing table,
    /// missing columns. An empty answer means that it would work.
    ///
    /// # Errors
    /// When the service cannot be asked, or a right is missing.
    pub async fn check(&self, query: &TableQuery) -> Result<Vec<String>, Error> {
        query.validate()?;
        let set = &query.entity_set;
        let Some(table) = self.table(set).await? else {
            return Ok(vec![format!("there is no table whose entity set is called `{set}`")]);
        };
        let path = format!(
            "/api/data/v9.2/EntityDefinitions(LogicalName='{}')?$select=LogicalName\
             &$expand=Attributes($select=LogicalName,IsValidForRead,AttributeOf)",
            encoded(&table.logical_name)
        );
        let columns: Columns = self.described(&definition_of(set), &path).await?;
        let problems = columns.missing(&query.select);
        if problems.is_empty() {
            self.probe(query).await?;
        }
        Ok(problems)
    }
}

fn definition_of(entity_set: &str) -> String {
    format!("read the definition of table `{entity_set}`")
}

impl Columns {
    /// What of these columns cannot be read, in words.
    fn missing(&self, select: &[String]) -> Vec<String> {
        let mut problems = Vec::new();
        for column in select {
            // A lookup `x` is asked for as `_x_value`.
            let inner = column.strip_prefix('_').and_then(|rest| rest.strip_suffix("_value"));
            let known = |name: &str| self.attributes.iter().find(|known| known.logical_name == name);
            let Some(attribute) = known(inner.unwrap_or(column)).or_else(|| known(column)) else {
                let mut problem = format!("there is no column `{column}`");
                if let Some(near) = self.nearest(column) {
                    // Writing to a text cannot fail.
                    let _infallible = write!(problem, "; `{near}` is spelled most alike");
                }
                problems.push(problem);
                continue;
            };
            if attribute.is_valid_for_read == Some(false) || attribute.attribute_of.is_some() {
                problems.push(format!("column `{column}` cannot be read"));
            }
        }
        problems
    }

    fn nearest(&self, column: &str) -> Option<&str> {
        let names = self.attributes.iter().map(|attribute| attribute.logical_name.as_str());
        names
            .map(|name| (strsim::damerau_levenshtein(name, column), name))
            .min()
            .filter(|(distance, _)| *distance <= 3)
            .map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_columns_are_named_with_their_nearest_neighbour() {
        let columns: Columns = serde_json::from_str(
            r#"{"LogicalName":"t","Attributes":[
                {"LogicalName":"net_sales","IsValidForRead":true,"AttributeOf":null},
                {"LogicalName":"store","IsValidForRead":true},
                {"LogicalName":"storename","IsValidForRead":true,"AttributeOf":"store"}]}"#,
        )
        .unwrap();
        let missing = |column: &str| columns.missing(&[column.to_owned()]);
        assert!(missing("net_sales").is_empty());
        assert!(missing("_store_value").is_empty());
        assert_eq!(missing("net_sale"), ["there is no column `net_sale`; `net_sales` is spelled most alike"]);
        assert_eq!(missing("region_name"), ["there is no column `region_name`"]);
        assert_eq!(missing("storename"), ["column `storename` cannot be read"]);
    }
}
