//! Reads a table page by page.

use std::cmp::Ordering;

use super::cell::Cell;
use super::filter::{Filter, Invalid};
use super::render::{Shape, member};
use super::service::Refusal;
use super::store::{Row, Store, Stored};
use crate::wire::Request;

/// The most rows a page has, and the most that are counted.
const PAGE_LIMIT: usize = 5000;

/// Where a next link goes on: behind the row with these values in the order asked for.
#[derive(Debug, Clone)]
pub(super) struct PageLink {
    after: Vec<Cell>,
    number: u32,
    /// For a first read with change tracking: the version its change link starts from.
    pub(super) tracked_from: Option<u64>,
}

/// What a request wants of a table.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) shape: Shape,
    filter: Option<Filter>,
    order: Vec<(usize, bool)>,
    top: Option<usize>,
    count: bool,
    page_size: Option<usize>,
    pub(super) track_changes: bool,
    has_skip_token: bool,
}

impl Query {
    /// Reads the query options and `Prefer` values of a request.
    pub(super) fn read(request: &Request, table: &Stored) -> Result<Self, Refusal> {
        let mut query = Self {
            shape: Shape::default(),
            filter: None,
            order: Vec::new(),
            top: None,
            count: false,
            page_size: None,
            track_changes: false,
            has_skip_token: false,
        };
        query.read_preferences(request)?;
        let options = request.parameters().ok_or_else(|| Refusal::bad_request("The query string is malformed."))?;
        for (name, value) in options {
            if query.track_changes && matches!(name.as_str(), "$filter" | "$orderby" | "$expand" | "$top") {
                return Err(Refusal::bad_request(format!(
                    "The \"{name}\" query parameter isn't supported when Change Tracking is enabled."
                )));
            }
            match name.as_str() {
                "$select" => query.shape.select = Some(select(&value, table)?),
                "$filter" => {
                    let filter = Filter::parse(&value, &table.columns);
                    query.filter = Some(filter.map_err(|invalid| explain(invalid, table))?);
                }
                "$orderby" => query.order = order_by(&value, table)?,
                "$top" => {
                    let top = value.parse().map_err(|_| {
                        let text = format!("Invalid value '{value}' for $top query option found.");
                        Refusal::bad_request(text)
                    })?;
                    query.top = Some(top);
                }
                "$count" => query.count = value == "true",
                "$skiptoken" => query.has_skip_token = true,
                "$deltatoken" => {}
                "$expand" => return Err(unexpanded(&value, table)),
                other => return Err(unsupported(other)),
            }
        }
        Ok(query)
    }

    fn read_preferences(&mut self, request: &Request) -> Result<(), Refusal> {
        for preference in request.header_parts("prefer") {
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let value = value.trim_matches('"');
            match name {
                "odata.maxpagesize" => {
                    let size =
                        value.parse().ok().filter(|size| *size > 0).ok_or_else(|| {
                            Refusal::bad_request("The odata.maxpagesize preference has no valid value.")
                        })?;
                    self.page_size = Some(size);
                }
                "odata.include-annotations" => {
                    let asked = |names: &[&str]| value.split(',').any(|name| names.contains(&name.trim()));
                    self.shape.formatted =
                        asked(&["*", "OData.Community.Display.V1.*", "OData.Community.Display.V1.FormattedValue"]);
                    self.shape.lookup_tables =
                        asked(&["*", "Microsoft.Dynamics.CRM.*", "Microsoft.Dynamics.CRM.lookuplogicalname"]);
                }
                "odata.track-changes" => self.track_changes = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// The preferences that had an effect, as the answer repeats them.
    pub(super) fn applied(&self) -> Vec<String> {
        let mut applied = Vec::new();
        if self.track_changes {
            applied.push("odata.track-changes".to_owned());
        }
        if let Some(size) = self.page_size {
            applied.push(format!("odata.maxpagesize={size}"));
        }
        let annotations = [
            (self.shape.formatted, "OData.Community.Display.V1.FormattedValue"),
            (self.shape.lookup_tables, "Microsoft.Dynamics.CRM.lookuplogicalname"),
        ];
        let names: Vec<&str> = annotations.iter().filter(|(asked, _)| *asked).map(|(_, name)| *name).collect();
        if !names.is_empty() {
            applied.push(format!("odata.include-annotations=\"{}\"", names.join(",")));
        }
        applied
    }

    pub(super) fn page_size(&self) -> usize {
        self.page_size.unwrap_or(PAGE_LIMIT).min(PAGE_LIMIT)
    }

    /// Answers one page of the table as JSON text.
    pub(super) fn run(&self, store: &mut Store, at: usize, request: &Request, base: &str) -> Result<String, Refusal> {
        let link = match store.page_links.get(&request.target) {
            Some(link) => Some(link.clone()),
            None if self.has_skip_token => {
                return Err(Refusal::bad_request("Malformed XML in the Paging Cookie"));
            }
            None => None,
        };
        let table = &store.tables[at];
        let filter = self.filter.as_ref();
        let mut rows: Vec<(Vec<&Cell>, &Row)> = table
            .rows
            .values()
            .filter(|row| filter.is_none_or(|filter| filter.holds(&row.cells)))
            .map(|row| (self.place(table, row), row))
            .collect();
        let counted = rows.len().min(PAGE_LIMIT);
        rows.sort_by(|(one, _), (two, _)| self.compare(one, two));
        if let Some(link) = &link {
            rows.retain(|(place, _)| self.compare(place, &link.after).is_gt());
        }
        // `$top` is ignored where a page size is asked for.
        let limit = match (self.page_size, self.top) {
            (None, Some(top)) => top.min(PAGE_LIMIT),
            _ => self.page_size(),
        };
        let more = rows.len() > limit && (self.page_size.is_some() || self.top.is_none());
        rows.truncate(limit);

        let context = format!("{base}/$metadata#{}{}", table.entity_set, self.shape.fragment(table));
        let mut members = vec![member("@odata.context", &context)];
        if self.count {
            members.push(format!("\"@odata.count\":{counted}"));
        }
        let printed: Vec<String> = rows.iter().map(|(_, row)| self.shape.print(table, row, None)).collect();
        let tracked_from = match &link {
            Some(link) => link.tracked_from,
            None => self.track_changes.then_some(store.version),
        };
        let ends = rows.first().zip(rows.last()).filter(|_| more);
        let next = ends.map(|((_, first), (place, last))| {
            let number = link.as_ref().map_or(1, |link| link.number) + 1;
            let target = next_target(request, table, number, first, last, tracked_from.is_some());
            let after = place.iter().map(|cell| (*cell).clone()).collect();
            (target, PageLink { after, number, tracked_from })
        });
        let origin = base.trim_end_matches("/api/data/v9.2");
        match (next, tracked_from) {
            (Some((target, link)), _) => {
                let url = format!("{origin}{target}");
                store.page_links.insert(target, link);
                members.push(format!("\"value\":[{}]", printed.join(",")));
                members.push(member("@odata.nextLink", &url));
            }
            (None, Some(version)) => {
                let target = super::changes::add_link(store, request, version);
                members.push(member("@odata.deltaLink", &format!("{origin}{target}")));
                members.push(format!("\"value\":[{}]", printed.join(",")));
            }
            (None, None) => members.push(format!("\"value\":[{}]", printed.join(","))),
        }
        Ok(format!("{{{}}}", members.join(",")))
    }

    /// The values a row is placed by; the GUID comes last and makes the place unique.
    fn place<'a>(&self, table: &Stored, row: &'a Row) -> Vec<&'a Cell> {
        let primary = table.primary();
        self.order.iter().map(|(column, _)| *column).chain([primary]).map(|column| &row.cells[column]).collect()
    }

    fn compare<A, B>(&self, one: &[A], two: &[B]) -> Ordering
    where
        A: std::borrow::Borrow<Cell>,
        B: std::borrow::Borrow<Cell>,
    {
        let descending = self.order.iter().map(|(_, descending)| *descending).chain([false]);
        one.iter()
            .zip(two)
            .zip(descending)
            .map(|((one, two), descending)| {
                let order = one.borrow().order(two.borrow());
                if descending { order.reverse() } else { order }
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// Reads `$select`; a name that is no column is refused by name.
pub(super) fn select(value: &str, table: &Stored) -> Result<Vec<usize>, Refusal> {
    value
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| table.column(name).ok_or_else(|| unknown_column(name, table)))
        .collect()
}

fn order_by(value: &str, table: &Stored) -> Result<Vec<(usize, bool)>, Refusal> {
    value
        .split(',')
        .map(|part| {
            let mut words = part.split_whitespace();
            let name = words.next().unwrap_or_default();
            let column = table.column(name).ok_or_else(|| unknown_column(name, table))?;
            match (words.next(), words.next()) {
                (None | Some("asc"), None) => Ok((column, false)),
                (Some("desc"), None) => Ok((column, true)),
                _ => Err(Refusal::bad_request(format!("Syntax error in '{value}'."))),
            }
        })
        .collect()
}

fn unknown_column(name: &str, table: &Stored) -> Refusal {
    Refusal::bad_request(format!(
        "Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.{}'.",
        table.logical_name
    ))
}

/// The refusal of a query option, in the words of the service.
pub(super) fn unsupported(name: &str) -> Refusal {
    Refusal::bad_request(format!("The query parameter {name} is not supported."))
}

/// The refusal of an expansion: nothing storekeeper reads lies behind one.
fn unexpanded(value: &str, table: &Stored) -> Refusal {
    let name = value.split([',', '(']).next().unwrap_or_default().trim();
    match table.column(&format!("_{name}_value")) {
        Some(_) => Refusal::bad_request(format!("The stand-in does not expand '{name}'.")),
        None => unknown_column(name, table),
    }
}

fn explain(invalid: Invalid, table: &Stored) -> Refusal {
    match invalid {
        Invalid::Syntax(text) => Refusal::bad_request(format!("Syntax error: {text}")),
        Invalid::Column(name) => unknown_column(&name, table),
        Invalid::Type { column, operator } => Refusal::bad_request(format!(
            "A binary operator with incompatible types was detected. Found operand types '{column}' \
             and another for operator kind '{operator}'."
        )),
        Invalid::OutsideContract(what) => Refusal::bad_request(format!("The filter cannot be used: {what}.")),
    }
}

/// The raw query without the tokens that earlier links added.
pub(super) fn bare_query(request: &Request) -> String {
    let pairs = request.query().split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default().replace("%24", "$");
        !pair.is_empty() && name != "$skiptoken" && name != "$deltatoken"
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// Path and query of the next page: XML in the query, and in it a cookie encoded twice.
fn next_target(request: &Request, table: &Stored, number: u32, first: &Row, last: &Row, tracking: bool) -> String {
    let id = |row: &Row| match &row.cells[table.primary()] {
        Cell::Guid(id) => format!("{{{}}}", id.to_uppercase()),
        _ => String::new(),
    };
    let cookie = format!(
        "<cookie page=\"{}\"><{name} last=\"{}\" first=\"{}\" /></cookie>",
        number - 1,
        id(last),
        id(first),
        name = table.primary_id,
    );
    let twice = encode_lower(&cookie).replace('%', "%25");
    let tracking = if tracking { "True" } else { "False" };
    let token = format!(
        "%3Ccookie%20pagenumber=%22{number}%22%20pagingcookie=%22{twice}%22%20istracking=%22{tracking}%22%20/%3E"
    );
    let query = bare_query(request);
    let and = if query.is_empty() { "" } else { "&" };
    format!("{}?{query}{and}$skiptoken={token}", request.path())
}

/// Percent-encodes with the lower-case digits of the real cookie.
fn encode_lower(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02x}")
            }
        })
        .collect()
}
