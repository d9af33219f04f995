//! Tables of a Dataverse environment, through its Web API.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::warn;

use super::error::Error;
use super::file::{Fetched, Intake};
use super::service::{Problem, Service, encoded, read};
use crate::http::{Client, Request, Response, Tokens};

/// Which rows and columns of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableQuery {
    /// Name under which the rows are asked for, often the table's plural.
    pub entity_set: String,
    /// Columns, a lookup `x` as `_x_value`; lines hold them in this order.
    pub select: Vec<String>,
    /// An OData condition such as `statecode eq 0`.
    #[serde(default)]
    pub filter: Option<String>,
    /// OData order such as `modifiedon,contactid desc`; the primary id breaks
    /// ties, and is the order where none is given.
    #[serde(default)]
    pub order_by: Option<String>,
}

/// Who we are to Dataverse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoAmI {
    /// The application user.
    #[serde(rename(deserialize = "UserId"))]
    pub user_id: String,
    /// The organisation.
    #[serde(rename(deserialize = "OrganizationId"))]
    pub organization_id: String,
}

/// Reads tables of one environment.
#[derive(Debug)]
pub struct Dataverse {
    pub(super) service: Service,
    page_size: u32,
}

impl Dataverse {
    /// Prepares; nothing is asked before it is needed. `url` is the
    /// environment's, such as `https://contoso.crm.dynamics.com`.
    ///
    /// # Errors
    /// When the address makes no sense.
    pub fn new(client: &Client, tokens: &Tokens, url: &str, page_size: u32) -> Result<Self, Error> {
        let (name, what) = ("Dataverse", "`dataverse_url`");
        Ok(Self { service: Service::new(name, what, client, tokens, url)?, page_size: page_size.clamp(1, 5000) })
    }

    /// Asks the cheapest question, to see whether we are let in.
    ///
    /// # Errors
    /// When we are not.
    pub async fn who_am_i(&self) -> Result<WhoAmI, Error> {
        let operation = "ask Dataverse who we are";
        let path = "/api/data/v9.2/WhoAmI";
        let request = self.service.request(operation, Method::GET, path)?;
        let response = self.service.send(operation, prepared(request)).await?;
        match response.status.as_u16() {
            200 => read(operation, &response.body),
            _ => Err(refusal(operation, &response)),
        }
    }

    /// Writes a table's rows into a file of one JSON object a line: only the
    /// selected columns, numbers digit by digit as they were received. The same
    /// rows make the same file, and so the same hash.
    ///
    /// # Errors
    /// When a page did not come, is none, or leads elsewhere.
    pub async fn fetch_table(&self, query: &TableQuery, into: &Path, limit_bytes: u64) -> Result<Fetched, Error> {
        query.validate()?;
        let operation = format!("read table `{}`", query.entity_set);
        let order = self.stable_order(query).await?;
        let name = format!("{}.jsonl", query.entity_set);
        let mut intake = Intake::new(&name, limit_bytes, into).await?;
        let path = query.path(order.as_deref());
        let mut request = self.service.request(&operation, Method::GET, &path)?;
        let mut seen = HashSet::new();
        loop {
            // Every page wants the same preference, or the size changes midway.
            let preference = format!("odata.maxpagesize={}", self.page_size);
            let request_of_page = prepared(request).header("prefer", &preference);
            let response = self.service.send(&operation, request_of_page).await?;
            if response.status.as_u16() != 200 {
                return Err(query.refusal(&operation, &response));
            }
            let page: Page<'_> = read(&operation, &response.body)?;
            let mut lines = Vec::new();
            for row in &page.value {
                write_line(&mut lines, &query.select, row);
            }
            intake.write(&lines).await?;
            let Some(link) = page.next_link else { break };
            request = self.service.follow(&operation, &link)?;
            if !seen.insert(link) {
                return Err(Error::RepeatingLink { operation });
            }
        }
        intake.finish().await
    }

    /// Reads one row, to see whether the rows may be read.
    pub(super) async fn probe(&self, query: &TableQuery) -> Result<(), Error> {
        let operation = format!("read table `{}`", query.entity_set);
        let path = format!("{}&$top=1", query.path(query.order_by.as_deref()));
        let request = self.service.request(&operation, Method::GET, &path)?;
        let response = self.service.send(&operation, prepared(request)).await?;
        match response.status.as_u16() {
            200 => Ok(()),
            _ => Err(query.refusal(&operation, &response)),
        }
    }

    /// Pages are no snapshot: only an order without ties keeps rows from being
    /// passed over, and gives an unchanged table an unchanged file.
    async fn stable_order(&self, query: &TableQuery) -> Result<Option<String>, Error> {
        let primary_id = match self.table(&query.entity_set).await {
            Ok(Some(table)) => table.primary_id_attribute,
            Ok(None) => {
                let entity_set = query.entity_set.clone();
                return Err(Error::TableNotFound { entity_set });
            }
            // Some may read rows but no definitions; without an order the
            // service itself takes the primary id.
            Err(Error::Refused { .. } | Error::TableForbidden { .. }) => {
                warn!(table = query.entity_set, "table definition was not given");
                return Ok(query.order_by.clone());
            }
            Err(error) => return Err(error),
        };
        let Some(order) = &query.order_by else {
            return Ok(Some(primary_id));
        };
        let named = order.split(',').any(|part| part.split_whitespace().next() == Some(&primary_id));
        Ok(Some(if named { order.clone() } else { format!("{order},{primary_id}") }))
    }
}

impl TableQuery {
    /// Checks what can be checked without asking the service.
    pub(super) fn validate(&self) -> Result<(), Error> {
        let wrong = |message: String| Err(Error::Query { entity_set: self.entity_set.clone(), message });
        let is_name = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name(&self.entity_set) {
            return wrong("the entity set's name is a word of letters, digits and `_`".to_owned());
        }
        if self.select.is_empty() {
            return wrong("`select` names no column".to_owned());
        }
        if let Some(column) = self.select.iter().find(|column| !is_name(column)) {
            return wrong(format!("`{column}` is no column's name"));
        }
        let mut columns = HashSet::new();
        if let Some(column) = self.select.iter().find(|column| !columns.insert(*column)) {
            return wrong(format!("`{column}` is selected twice"));
        }
        Ok(())
    }

    fn path(&self, order: Option<&str>) -> String {
        let mut path = format!("/api/data/v9.2/{}?$select={}", self.entity_set, self.select.join(","));
        for (option, value) in [("$filter", self.filter.as_deref()), ("$orderby", order)] {
            if let Some(value) = value {
                path.push_str(&format!("&{option}={}", encoded(value)));
            }
        }
        path
    }

    fn refusal(&self, operation: &str, response: &Response) -> Error {
        match response.status.as_u16() {
            404 => Error::TableNotFound { entity_set: self.entity_set.clone() },
            // A column that is not there, or a condition that makes no sense.
            400 => Error::Query { entity_set: self.entity_set.clone(), message: Problem::of(response).message },
            _ => refusal(operation, response),
        }
    }
}

/// A request with what Dataverse wants on each.
pub(super) fn prepared(request: Request) -> Request {
    request
        .header("accept", "application/json")
        .header("odata-version", "4.0")
        .header("odata-maxversion", "4.0")
        // Keeps caches on the way from answering.
        .header("if-none-match", "null")
}

/// What a status means that means the same everywhere.
pub(super) fn refusal(operation: &str, response: &Response) -> Error {
    let problem = Problem::of(response);
    let operation = operation.to_owned();
    match response.status.as_u16() {
        403 if problem.is("0x80072560") => Error::NotAMember { operation },
        403 => {
            Error::TableForbidden { operation, message: missing_privilege(&problem.message).unwrap_or(problem.message) }
        }
        status => problem.refused(&operation, status),
    }
}

/// Names the privilege in "Principal user (Id=…) is missing prvReadX privilege on …".
fn missing_privilege(message: &str) -> Option<String> {
    let rest = message.split_once("is missing ")?.1;
    let privilege = rest.split_whitespace().next()?;
    privilege.starts_with("prv").then(|| format!("its security role lacks `{privilege}`"))
}

/// One page of rows. Without `value` it is none, and surely not an empty one.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    value: Vec<BTreeMap<String, &'a RawValue>>,
    #[serde(rename = "@odata.nextLink")]
    next_link: Option<String>,
}

/// Writes the selected columns of a row as one line, values as they stand.
fn write_line(lines: &mut Vec<u8>, select: &[String], row: &BTreeMap<String, &RawValue>) {
    lines.push(b'{');
    for (i, column) in select.iter().enumerate() {
        if i > 0 {
            lines.push(b',');
        }
        lines.extend_from_slice(format!("\"{column}\":").as_bytes());
        let value = row.get(column).map_or("null", |value| value.get());
        // Between tokens only; inside a text JSON has no raw line break.
        lines.extend(value.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r')));
    }
    lines.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> TableQuery {
        TableQuery {
            entity_set: "metrics".to_owned(),
            select: vec!["store".to_owned(), "net_sales".to_owned()],
            filter: Some("store eq 'A&B + 1'".to_owned()),
            order_by: None,
        }
    }

    #[test]
    fn a_line_holds_the_selected_columns_digit_by_digit() {
        let body = br#"{"@odata.context":"c","value":[{"@odata.etag":"W/\"1\"",
            "net_sales@OData.Community.Display.V1.FormattedValue":"$1","net_sales":20000.0000,
            "id":"x","store":"\u00e9\n"},{"net_sales":null,"store":""}],"@odata.nextLink":"l"}"#;
        let page: Page<'_> = read("read", body).unwrap();
        let mut lines = Vec::new();
        for row in &page.value {
            write_line(&mut lines, &query().select, row);
        }
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            "{\"store\":\"\\u00e9\\n\",\"net_sales\":20000.0000}\n{\"store\":\"\",\"net_sales\":null}\n"
        );
        assert_eq!(page.next_link.as_deref(), Some("l"));
        assert!(read::<Page<'_>>("read", b"{}").is_err());
    }

    #[test]
    fn a_query_is_encoded_value_by_value() {
        assert_eq!(
            query().path(Some("metricid")),
            "/api/data/v9.2/metrics?$select=store,net_sales&$filter=store%20eq%20%27A%26B%20%2B%201%27&$orderby=metricid"
        );
    }

    #[test]
    fn a_query_that_makes_no_sense_is_not_asked() {
        let wrong = |change: fn(&mut TableQuery)| {
            let mut query = query();
            change(&mut query);
            query.validate().is_err()
        };
        assert!(!wrong(|_| ()));
        assert!(wrong(|query| query.entity_set = "a/b".to_owned()));
        assert!(wrong(|query| query.select.clear()));
        assert!(wrong(|query| query.select.push("a&$top=1".to_owned())));
        assert!(wrong(|query| query.select.push("store".to_owned())));
    }

    #[test]
    fn a_missing_privilege_is_named() {
        let message =
            "Principal user (Id=d93e, type=8) is missing prvReadAccount privilege on OTC=1 for entity 'account'.";
        assert_eq!(missing_privilege(message).as_deref(), Some("its security role lacks `prvReadAccount`"));
        assert_eq!(missing_privilege("Access is denied."), None);
    }
}
