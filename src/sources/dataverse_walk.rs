//! Walks the pages of a table, or of its changes, into a file of lines.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::dataverse::{Dataverse, prepared};
use super::dataverse_columns::{Picked, Reading, Row};
use super::error::Error;
use super::file::{Fetched, Intake};
use super::service::{Problem, read};
use crate::http::Request;

/// What Dataverse says of a change link that is too old, or older than the
/// table's definition.
const EXPIRED: &str = "0x80044352";

/// One page. Without `value` it is none, and surely not an empty one.
#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    value: Vec<Row<'a>>,
    #[serde(rename = "@odata.nextLink")]
    next_link: Option<String>,
    #[serde(rename = "@odata.deltaLink")]
    delta_link: Option<String>,
}

/// Rows on their way into a file. Of a row that comes twice the last word counts.
pub(super) struct Walk<'a> {
    dataverse: &'a Dataverse,
    reading: &'a Reading,
    operation: String,
    into: PathBuf,
    limit_bytes: u64,
    intake: Intake,
    lines: u64,
    /// The line that holds each row, by the row's id.
    at: BTreeMap<u128, u64>,
    /// Lines that a later one made void.
    void: HashSet<u64>,
    deleted: BTreeSet<u128>,
    filled: Vec<bool>,
}

/// What a walk came to.
pub(super) struct Walked {
    pub(super) fetched: Fetched,
    /// The ids of the file's rows, by line from 1.
    pub(super) ids: Vec<(i64, String)>,
    pub(super) deleted: Vec<String>,
}

/// How a walk along changes ended.
pub(super) enum Told {
    /// With the link to go on from.
    All(String),
    /// Nowhere: the link is of no use any more, for this reason.
    Lost(String),
}

impl<'a> Walk<'a> {
    pub(super) async fn new(
        dataverse: &'a Dataverse,
        reading: &'a Reading,
        into: &Path,
        limit_bytes: u64,
    ) -> Result<Self, Error> {
        let intake = Intake::new(&format!("{}.jsonl", reading.entity_set), limit_bytes, into).await?;
        Ok(Self {
            dataverse,
            reading,
            operation: format!("read table `{}`", reading.entity_set),
            into: into.to_owned(),
            limit_bytes,
            intake,
            lines: 0,
            at: BTreeMap::new(),
            void: HashSet::new(),
            deleted: BTreeSet::new(),
            filled: vec![false; reading.columns.len()],
        })
    }

    /// Reads every row; with `track` answers with the link to later changes.
    pub(super) async fn whole(&mut self, path: &str, track: bool) -> Result<Option<String>, Error> {
        let request = self.dataverse.service.request(&self.operation, Method::GET, path)?;
        let link = self.pages(request, track, None).await?;
        match self.withheld().next() {
            None => Ok(link),
            Some(column) => {
                let (entity_set, column) = (self.reading.entity_set.clone(), column.name.clone());
                Err(Error::ColumnSecured { entity_set, column })
            }
        }
    }

    /// The secured columns that none of the rows so far had a value of: those that may not be
    /// read come empty, like those that are.
    pub(super) fn withheld(&self) -> impl Iterator<Item = &'a Picked> {
        let columns = self.reading.columns.iter().zip(&self.filled);
        let missed = |(column, filled): &(&Picked, &bool)| column.secured && !column.optional && !**filled;
        columns.filter(move |_| self.lines > 0).filter(missed).map(|(column, _)| column)
    }

    /// Reads what changed since a link was handed out.
    pub(super) async fn changes(&mut self, link: &str) -> Result<Told, Error> {
        let request = self.dataverse.service.follow(&self.operation, link)?;
        let mut lost = None;
        let outcome = self.pages(request, false, Some(&mut lost)).await?;
        Ok(match (outcome, lost) {
            (Some(link), None) => Told::All(link),
            (None, None) => Told::Lost("the changes came without a link to go on from".to_owned()),
            (_, Some(reason)) => Told::Lost(reason),
        })
    }

    /// Follows the pages to the last one. A refusal of a change link is kept in
    /// `lost` where there is one to keep it.
    async fn pages(
        &mut self,
        mut request: Request,
        track: bool,
        mut lost: Option<&mut Option<String>>,
    ) -> Result<Option<String>, Error> {
        let (dataverse, reading) = (self.dataverse, self.reading);
        let mut seen = HashSet::new();
        // The first page may shrink until it comes; the others want the same preference.
        let mut size = None;
        loop {
            let mut asked = 0;
            let page = || {
                asked = size.unwrap_or_else(|| dataverse.flow.page_size(dataverse.page_size));
                prepared(request.clone()).header("prefer", &reading.preference(asked, track))
            };
            let response = dataverse.ask_again(&self.operation, page).await?;
            size = Some(asked);
            match response.status.as_u16() {
                200 => {}
                // A stored link that is refused would be refused for ever.
                400 | 404 | 410 if lost.is_some() => {
                    let problem = Problem::of(&response);
                    let expired = problem.is(EXPIRED);
                    if let Some(lost) = &mut lost {
                        **lost = Some(if expired { "the change link has expired".to_owned() } else { problem.message });
                    }
                    return Ok(None);
                }
                _ => return Err(self.reading.refusal(&self.operation, &response)),
            }
            let page: Page<'_> = read(&self.operation, &response.body)?;
            let mut lines = Vec::new();
            for row in &page.value {
                self.take(row, &mut lines)?;
            }
            self.intake.write(&lines).await?;
            let Some(link) = page.next_link else { return Ok(page.delta_link) };
            request = self.dataverse.service.follow(&self.operation, &link)?;
            if !seen.insert(link) {
                return Err(Error::RepeatingLink { operation: self.operation.clone() });
            }
        }
    }

    fn take(&mut self, row: &Row<'_>, lines: &mut Vec<u8>) -> Result<(), Error> {
        let text = |name: &str| serde_json::from_str::<String>(row.get(name)?.get()).ok();
        if text("@odata.context").is_some_and(|context| context.ends_with("/$deletedEntity")) {
            let id = text("id").and_then(|id| bits(&id)).ok_or_else(|| self.without_id())?;
            self.void.extend(self.at.remove(&id));
            self.deleted.insert(id);
            return Ok(());
        }
        if let Some(link) = row.keys().find(|name| name.ends_with("@odata.nextLink")) {
            let message = format!("a row holds a list that goes on elsewhere (`{link}`)");
            return Err(Error::Query { entity_set: self.reading.entity_set.clone(), message });
        }
        self.lines += 1;
        self.reading.write_line(row, lines, &mut self.filled);
        if let Some(name) = &self.reading.primary_id {
            let id = text(name).and_then(|id| bits(&id)).ok_or_else(|| self.without_id())?;
            self.deleted.remove(&id);
            self.void.extend(self.at.insert(id, self.lines));
        }
        Ok(())
    }

    fn without_id(&self) -> Error {
        let message = "a row came without its id".to_owned();
        Error::Query { entity_set: self.reading.entity_set.clone(), message }
    }

    /// Gives the file its place, without the lines that are void.
    pub(super) async fn finish(self) -> Result<Walked, Error> {
        let mut fetched = self.intake.finish().await?;
        let mut lines: Vec<(u64, u128)> = self.at.into_iter().map(|(id, line)| (line, id)).collect();
        lines.sort_unstable();
        if !self.void.is_empty() {
            fetched = without(&fetched, &self.void, &self.into, self.limit_bytes).await?;
            lines.iter_mut().zip(1..).for_each(|(line, number)| line.0 = number);
        }
        let ids = lines.into_iter().map(|(line, id)| (i64::try_from(line).unwrap_or(i64::MAX), guid(id))).collect();
        Ok(Walked { fetched, ids, deleted: self.deleted.into_iter().map(guid).collect() })
    }
}

/// Writes a file again without some of its lines.
async fn without(fetched: &Fetched, void: &HashSet<u64>, into: &Path, limit_bytes: u64) -> Result<Fetched, Error> {
    let failed = |source| Error::Read { path: fetched.path.clone(), source };
    let file = tokio::fs::File::open(&fetched.path).await.map_err(failed)?;
    let mut old = BufReader::new(file);
    let mut intake = Intake::new(&fetched.name, limit_bytes, into).await?;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if old.read_until(b'\n', &mut line).await.map_err(failed)? == 0 {
            break;
        }
        if !void.contains(&number) {
            intake.write(&line).await?;
        }
    }
    intake.finish().await
}

/// Reads a GUID: half the room of its text, and one spelling.
fn bits(text: &str) -> Option<u128> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok())?
}

fn guid(bits: u128) -> String {
    let digits = format!("{bits:032x}");
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guid_is_read_in_any_case_and_written_in_one() {
        let text = "49B0BE2E-d01c-ed11-b83e-000d3a572421";
        assert_eq!(guid(bits(text).unwrap()), text.to_lowercase());
        assert_eq!(guid(bits("00000000-0000-0000-0000-00000000000a").unwrap()), "00000000-0000-0000-0000-00000000000a");
        assert!(bits("49b0be2e").is_none() && bits("+9b0be2e-d01c-ed11-b83e-000d3a57242!").is_none());
    }
}
