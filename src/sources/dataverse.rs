//! Tables of a Dataverse environment, through its Web API.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::sync::Arc;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::dataverse_columns::{Reading, is_name};
use super::dataverse_flow::{Flow, Limit};
use super::dataverse_walk::Walk;
use super::error::Error;
use super::file::Fetched;
use super::metadata::Definition;
use super::service::{Problem, Service, read};
use crate::http::{Client, Request, Response, Tokens};

/// Which rows and columns of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableQuery {
    /// Name under which the rows are asked for, often the table's plural.
    pub entity_set: String,
    /// Columns, a lookup `x` as `_x_value`, a choice's label as `x@label`; lines
    /// hold them in this order.
    pub select: Vec<String>,
    /// Further names of a selected column, tried in turn where the table lacks the first;
    /// lines call it by the first all the same.
    #[serde(default)]
    pub aliases: BTreeMap<String, Vec<String>>,
    /// Selected columns that the table may lack; lines do not have them then.
    #[serde(default)]
    pub optional: BTreeSet<String>,
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
    pub(super) page_size: u32,
    pub(super) flow: Flow,
    /// Tables asked about so far, by entity set.
    pub(super) definitions: Mutex<BTreeMap<String, Arc<Definition>>>,
}

impl Dataverse {
    /// Prepares; nothing is asked before it is needed. `url` is the
    /// environment's, such as `https://contoso.crm.dynamics.com`.
    ///
    /// # Errors
    /// When the address makes no sense.
    pub fn new(client: &Client, tokens: &Tokens, url: &str, page_size: u32) -> Result<Self, Error> {
        let (name, what) = ("Dataverse", "`dataverse_url`");
        let service = Service::new(name, what, client, tokens, url)?;
        let flow = Flow::of(service.base());
        Ok(Self { service, page_size: page_size.clamp(1, 5000), flow, definitions: Mutex::default() })
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
        let reading = self.reading(query).await?;
        let mut walk = Walk::new(self, &reading, into, limit_bytes).await?;
        walk.whole(&reading.path(), false).await?;
        Ok(walk.finish().await?.fetched)
    }

    /// Sends a request that may be repeated, as often as the service wants patience.
    pub(super) async fn ask(&self, operation: &str, request: Request) -> Result<Response, Error> {
        self.ask_again(operation, || request.clone()).await
    }

    /// The same for a request that is made anew each time, smaller perhaps.
    pub(super) async fn ask_again(
        &self,
        operation: &str,
        mut request: impl FnMut() -> Request,
    ) -> Result<Response, Error> {
        let mut attempt = 1;
        loop {
            let lane = self.flow.enter().await;
            let response = self.service.send(operation, request().refusals_final()).await?;
            drop(lane);
            let last = attempt >= self.service.client().attempts();
            match response.status.as_u16() {
                // The client has closed the gate for as long as it was asked to.
                429 => self.flow.met(Limit::of(&Problem::of(&response))),
                503 | 509 => {}
                408 | 425 | 500 | 502 | 504 if !last => self.service.client().back_off(attempt).await,
                _ => {
                    self.flow.passed(&response.headers);
                    return Ok(response);
                }
            }
            if last {
                return Ok(response);
            }
            attempt += 1;
        }
    }

    /// Reads one row, to see whether the rows may be read.
    pub(super) async fn probe(&self, reading: &Reading) -> Result<(), Error> {
        let operation = format!("read table `{}`", reading.entity_set);
        let path = format!("{}&$top=1", reading.path());
        let request = prepared(self.service.request(&operation, Method::GET, &path)?);
        let response = self.ask(&operation, request).await?;
        match response.status.as_u16() {
            200 => Ok(()),
            _ => Err(reading.refusal(&operation, &response)),
        }
    }
}

impl TableQuery {
    /// Checks what can be checked without asking the service.
    pub(super) fn validate(&self) -> Result<(), Error> {
        let wrong = |message: String| Err(Error::Query { entity_set: self.entity_set.clone(), message });
        if !is_name(&self.entity_set) || self.entity_set.contains('@') {
            return wrong("the entity set's name is a word of letters, digits and `_`".to_owned());
        }
        if self.select.is_empty() {
            return wrong("`select` names no column".to_owned());
        }
        let names = self.select.iter().chain(self.aliases.values().flatten());
        if let Some(column) = names.into_iter().find(|column| !is_name(column)) {
            return wrong(format!("`{column}` is no column's name"));
        }
        let mut columns = HashSet::new();
        if let Some(column) = self.select.iter().find(|column| !columns.insert(*column)) {
            return wrong(format!("`{column}` is selected twice"));
        }
        Ok(())
    }
}

impl Reading {
    pub(super) fn refusal(&self, operation: &str, response: &Response) -> Error {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn query() -> TableQuery {
        TableQuery {
            entity_set: "metrics".to_owned(),
            select: vec!["store".to_owned(), "net_sales".to_owned()],
            filter: Some("store eq 'A&B + 1'".to_owned()),
            ..TableQuery::default()
        }
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
