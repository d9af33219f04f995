//! What is asked, and what it means for a table.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

use super::explainer::ExplainError;
use crate::contracts::{ColumnType, is_plain, spelled};
use crate::ids::BrandId;
use crate::pipelines::Pipeline;
use crate::warehouse::lineage::Relation;

/// A row that is to be explained.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The table or view; `mart_harbor.sales` says the brand too.
    pub table: String,
    /// Whose. Default: every brand that has such a row.
    #[serde(default)]
    pub brand: Option<BrandId>,
    /// The row: an object by column, or a list in the order of the table's key.
    #[serde(deserialize_with = "key")]
    pub key: Vec<KeyPart>,
    /// Only these columns.
    #[serde(default)]
    pub columns: Vec<String>,
    /// As it was known at that moment.
    #[serde(default)]
    pub as_of: Option<DateTime<Utc>>,
}

/// One value that the row has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPart {
    /// In a column; an empty value means that there is none.
    Named(String, String),
    /// In the next column of the key.
    Next(String),
}

impl KeyPart {
    /// Reads `column=value`, or a value alone.
    pub fn read(text: &str) -> Self {
        match text.split_once('=') {
            Some((column, value)) if is_plain(column) => Self::Named(column.to_owned(), value.to_owned()),
            _ => Self::Next(text.to_owned()),
        }
    }
}

fn key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<KeyPart>, D::Error> {
    use serde_json::Value;
    let text = |value: Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    match Value::deserialize(deserializer)? {
        Value::Object(parts) => Ok(parts.into_iter().map(|(name, value)| KeyPart::Named(name, text(value))).collect()),
        Value::Array(parts) => Ok(parts.into_iter().map(|value| KeyPart::Next(text(value))).collect()),
        _ => Err(serde::de::Error::custom("`key` is an object by column, or a list of values")),
    }
}

impl Question {
    /// The table's name alone, and the brand where the name or the question says it.
    pub(super) fn place(&self) -> (Option<BrandId>, &str) {
        match self.table.split_once('.') {
            Some(("mart_all", name)) => (self.brand.clone(), name),
            Some((schema, name)) => {
                let brand = schema.strip_prefix("mart_").or_else(|| schema.strip_prefix("history_"));
                (self.brand.clone().or_else(|| brand.map(BrandId::from)), name)
            }
            None => (self.brand.clone(), &self.table),
        }
    }

    /// What is asked, by column of a table. A store's number gets its zeros.
    pub(super) fn asked(
        &self,
        relation: &Relation,
        key: &[String],
        pipelines: &[Pipeline],
    ) -> Result<Vec<(String, Option<String>)>, ExplainError> {
        let mut next = key.iter();
        let mut asked: Vec<(String, Option<String>)> = Vec::new();
        for part in &self.key {
            let (column, value) = match part {
                KeyPart::Named(column, value) => (column.clone(), value),
                KeyPart::Next(value) => match next.next() {
                    Some(column) => (column.clone(), value),
                    None if relation.view => {
                        return Err(ExplainError::asked(
                            format!("view `{}` has no key, so `{value}` says nothing", relation.name),
                            format!("write column=value; it has {}", names(relation)),
                        ));
                    }
                    None => {
                        return Err(ExplainError::asked(
                            format!("`{value}` is one value more than the key of `{}` has", relation.name),
                            format!("the key is {}", if key.is_empty() { "empty".to_owned() } else { key.join(", ") }),
                        ));
                    }
                },
            };
            if relation.type_of(&column).is_none() {
                return Err(ExplainError::asked(
                    format!("`{}` has no column `{column}`", relation.name),
                    format!("it has {}", names(relation)),
                ));
            }
            let value = (!value.is_empty()).then(|| store_number(pipelines, &column, value));
            asked.push((column, value));
        }
        if let Some(column) = self.columns.iter().find(|column| relation.type_of(column).is_none()) {
            return Err(ExplainError::asked(
                format!("`{}` has no column `{column}`", relation.name),
                format!("it has {}", names(relation)),
            ));
        }
        if asked.is_empty() {
            return Err(ExplainError::asked(
                format!("which row of `{}` is not said", relation.name),
                if key.is_empty() {
                    format!("write column=value; it has {}", names(relation))
                } else {
                    format!("write column=value, or the values of its key in their order: {}", key.join(", "))
                },
            ));
        }
        Ok(asked)
    }
}

fn names(relation: &Relation) -> String {
    relation.columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
}

/// A store's number as tables have it: contracts say which columns are one.
fn store_number(pipelines: &[Pipeline], column: &str, value: &str) -> String {
    let contracts = pipelines.iter().map(|pipeline| &pipeline.definition.contract);
    let mut found = contracts.flat_map(|contract| contract.columns.iter().map(move |column| (contract, column)));
    let store = found.find(|(_, declared)| declared.name == column && declared.column_type == ColumnType::StoreId);
    store.and_then(|(contract, column)| spelled(contract, column, value)).unwrap_or_else(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_may_hold_an_equals_sign() {
        assert_eq!(KeyPart::read("daypart=Late Night"), KeyPart::Named("daypart".into(), "Late Night".into()));
        assert_eq!(KeyPart::read("a=b=c"), KeyPart::Named("a".into(), "b=c".into()));
        assert_eq!(KeyPart::read("Ünder=1"), KeyPart::Next("Ünder=1".into()));
        assert_eq!(KeyPart::read("000125"), KeyPart::Next("000125".into()));
    }

    #[test]
    fn a_question_is_read_from_json_by_column_or_in_order() {
        let read = |key: &str| serde_json::from_str::<Question>(&format!(r#"{{"table": "sales", "key": {key}}}"#));
        assert_eq!(read(r#"["000125", 7]"#).unwrap().key, [KeyPart::read("000125"), KeyPart::read("7")]);
        assert_eq!(read(r#"{"store_id": "1", "note": null}"#).unwrap().key[1], KeyPart::read("note="));
        assert!(read("7").is_err());
        assert!(serde_json::from_str::<Question>(r#"{"table": "sales", "key": [], "columm": "x"}"#).is_err());
    }
}
