//! `$select`, `$expand` and `$filter` of metadata, nested as they come.

use serde_json::{Map, Value};

use super::metadata::unknown;
use super::query::unsupported;
use super::service::Refusal;
use crate::wire::Request;

/// `$select`, `$expand` and `$filter`, at the top or inside an expansion.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) select: Option<Vec<String>>,
    pub(super) expand: Vec<Expansion>,
    pub(super) filter: Option<String>,
}

#[derive(Debug)]
pub(super) struct Expansion {
    pub(super) name: String,
    pub(super) options: Options,
}

impl Options {
    pub(super) fn read(request: &Request) -> Result<Self, Refusal> {
        let pairs = request.parameters().ok_or_else(|| Refusal::bad_request("The query string is malformed."))?;
        Self::from_pairs(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    fn from_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for (name, value) in pairs {
            match name {
                "$select" => {
                    options.select = Some(value.split(',').map(|name| name.trim().to_owned()).collect());
                }
                "$filter" => options.filter = Some(value.to_owned()),
                "$expand" => {
                    options.expand = split(value, ',').map(Expansion::parse).collect::<Result<_, _>>()?;
                }
                other => return Err(unsupported(other)),
            }
        }
        Ok(options)
    }

    /// Keeps what was selected; a member that does not exist is refused by name.
    pub(super) fn apply(&self, mut members: Map<String, Value>, kind: &str) -> Result<Map<String, Value>, Refusal> {
        if let Some(select) = &self.select {
            if let Some(name) = select.iter().find(|name| !members.contains_key(name.as_str())) {
                // Columns of different types do not have the same members.
                if kind != "AttributeMetadata" {
                    return Err(unknown(name, kind));
                }
            }
            members.retain(|name, _| {
                name == "MetadataId" || name == "@odata.type" || select.iter().any(|wanted| wanted == name)
            });
        }
        Ok(members)
    }
}

impl Expansion {
    fn parse(text: &str) -> Result<Self, Refusal> {
        let (name, inner) = super::key::split(text.trim());
        let pairs = split(inner.unwrap_or_default(), ';').filter_map(|part| part.split_once('='));
        Ok(Self { name: name.to_owned(), options: Options::from_pairs(pairs)? })
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
