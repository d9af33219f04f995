//! Writes rows to a table of Dataverse: many in one call, and where a call is
//! refused fewer and fewer, until the bad row stands alone with its reason.
//!
//! Invariants: a row is addressed by its key, so whatever is sent twice is
//! written once; no two calls hold the same key; nothing is created without one.

use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use reqwest::Method;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tracing::debug;

use super::dataverse::{Dataverse, prepared, refusal};
use super::dataverse_batch::{Operation, compose, parse_batch};
use super::dataverse_flow::{Limit, Share};
use super::dataverse_reaction::{Reaction, Reason, react, reason};
use super::dataverse_target::{Target, TargetRow};
use super::dataverse_value::addressable;
use super::error::Error;
use super::service::{Problem, encoded, read};
use crate::http::{Request, Response};

/// Operations in one batch: each is executed on its own, and all count towards the time limit.
const BATCH_ROWS: usize = 100;
/// Rows in a call that writes many, at most.
const BULK_ROWS: u32 = 1000;
/// Calls at once, at most: the service's hint may be far higher, but then others suffer.
const MOST_CALLS: usize = 4;
/// Calls in a row that must pass before one has more rows again.
const CALM_CALLS: u32 = 3;
const ROOT: &str = "/api/data/v9.2";

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is there as it was sent; for a delete, it is gone.
    Written,
    /// It was refused, for a reason of its own.
    Rejected(Reason),
}

/// What became of some rows that were sent together.
#[derive(Debug)]
pub struct Round {
    /// One for each row, in order; `None` for a row of which nothing is known:
    /// it may be written, and may be sent again.
    pub outcomes: Vec<Option<Outcome>>,
    /// Why not all is known.
    pub failure: Option<Error>,
}

/// Writes to one table.
#[derive(Debug)]
pub struct Writer<'a> {
    dataverse: &'a Dataverse,
    target: &'a Target,
    /// Of the rows in a call. How many calls there may be is the environment's matter.
    share: Mutex<Share>,
}

/// What a batch is to do with a row.
#[derive(Clone, Copy)]
enum Work<'a> {
    Upsert(&'a TargetRow),
    /// The key of a row that is to go.
    Delete(&'a str),
}

impl<'a> Writer<'a> {
    /// Begins with calls of the size that the service recommends to begin with.
    pub fn new(dataverse: &'a Dataverse, target: &'a Target) -> Self {
        Self { dataverse, target, share: Mutex::new(Share::new(CALM_CALLS)) }
    }

    /// How many rows go well into the next round.
    pub fn round_rows(&self) -> usize {
        self.rows() * self.calls()
    }

    /// Writes rows whose keys all differ.
    pub async fn upsert(&self, rows: &[TargetRow]) -> Round {
        let works: Vec<Work<'_>> = rows.iter().map(Work::Upsert).collect();
        self.round(&works).await
    }

    /// Deletes rows by their keys; one that is gone already is as good as deleted.
    pub async fn delete(&self, keys: &[String]) -> Round {
        let works: Vec<Work<'_>> = keys.iter().map(|key| Work::Delete(key)).collect();
        self.round(&works).await
    }

    async fn round(&self, works: &[Work<'_>]) -> Round {
        let calls: Vec<BoxFuture<'_, Round>> =
            works.chunks(self.rows()).map(|chunk| self.chunk(chunk).boxed()).collect();
        let chunks: Vec<Round> = futures::stream::iter(calls).buffered(self.calls()).collect().await;
        let mut round = Round { outcomes: Vec::with_capacity(works.len()), failure: None };
        for chunk in chunks {
            round.outcomes.extend(chunk.outcomes);
            round.failure = round.failure.or(chunk.failure);
        }
        round
    }

    async fn chunk(&self, works: &[Work<'_>]) -> Round {
        let mut outcomes = vec![None; works.len()];
        let failure = self.try_chunk(works, &mut outcomes).await.err();
        Round { outcomes, failure }
    }

    /// The ladder: many in one call, halves, single operations of a batch.
    async fn try_chunk(&self, works: &[Work<'_>], outcomes: &mut [Option<Outcome>]) -> Result<(), Error> {
        let (plain, odd): (Vec<usize>, Vec<usize>) = (0..works.len()).partition(|at| works[*at].addressable());
        let mut pending = vec![plain];
        let mut misses = 0;
        while let Some(mut slice) = pending.pop() {
            let rows: Option<Vec<&TargetRow>> = slice.iter().map(|at| works[*at].row()).collect();
            let most = if self.target.bulk && rows.is_some() { self.rows() } else { BATCH_ROWS };
            if slice.len() > most {
                let rest = slice.split_off(most);
                pending.extend([rest, slice]);
                continue;
            }
            let Some(rows) = rows.filter(|rows| self.target.bulk && !rows.is_empty()) else {
                self.batch(works, slice, outcomes).await?;
                continue;
            };
            let (reaction, response) = self.bulk(&rows).await?;
            let halves = |mut slice: Vec<usize>| {
                let rest = slice.split_off(slice.len() / 2);
                [rest, slice]
            };
            match reaction {
                Reaction::Done => {
                    misses = 0;
                    for at in slice {
                        outcomes[at] = Some(Outcome::Written);
                    }
                }
                Reaction::Isolate(_) if slice.len() <= BATCH_ROWS => self.batch(works, slice, outcomes).await?,
                Reaction::Isolate(_) => pending.extend(halves(slice)),
                Reaction::Smaller if slice.len() > 1 => pending.extend(halves(slice)),
                Reaction::Again | Reaction::Calmer | Reaction::Smaller => {
                    self.once_more(&mut misses, &response).await?;
                    pending.push(slice);
                }
                Reaction::Stop => return Err(refusal(&self.operation(), &response)),
            }
        }
        for at in odd {
            outcomes[at] = Some(self.apart(works[at]).await?);
        }
        Ok(())
    }

    /// All rows in one call: all are written, or none.
    async fn bulk(&self, rows: &[&TargetRow]) -> Result<(Reaction, Response), Error> {
        let (set, kind) = (&self.target.entity_set, &self.target.logical_name);
        let targets = rows.iter().map(|row| {
            // The key stands here alone: in the body as well, it fails while creating.
            let id = serde_json::Value::from(format!("{set}({})", row.address));
            let rest = row.body.strip_prefix('{').filter(|rest| *rest != "}");
            let comma = if rest.is_some() { "," } else { "" };
            let head = format!("\"@odata.type\":\"Microsoft.Dynamics.CRM.{kind}\",\"@odata.id\":{id}");
            format!("{{{head}{comma}{}", rest.unwrap_or("}"))
        });
        let body = format!("{{\"Targets\":[{}]}}", targets.collect::<Vec<_>>().join(","));
        let path = format!("{ROOT}/{set}/Microsoft.Dynamics.CRM.UpsertMultiple");
        let response = self.post(&path, "application/json; charset=utf-8", body.into_bytes(), None).await?;
        let reaction = self.noted(&response, rows.len());
        Ok((reaction, response))
    }

    /// One operation a row, each with an answer of its own.
    async fn batch(
        &self,
        works: &[Work<'_>],
        slice: Vec<usize>,
        outcomes: &mut [Option<Outcome>],
    ) -> Result<(), Error> {
        let mut left = slice;
        let (mut misses, mut most) = (0, BATCH_ROWS);
        while !left.is_empty() {
            let now = &left[..left.len().min(most)];
            let boundary = format!("batch_{}", uuid::Uuid::new_v4());
            let operations: Vec<Operation> = now.iter().map(|at| self.operation_of(works[*at])).collect();
            let kind = format!("multipart/mixed; boundary=\"{boundary}\"");
            let body = compose(&boundary, &operations);
            let response = self.post(&format!("{ROOT}/$batch"), &kind, body, Some("odata.continue-on-error")).await?;
            let content_type = response.header("content-type").unwrap_or_default();
            if !content_type.trim_start().to_ascii_lowercase().starts_with("multipart/") {
                // Without parts the whole batch was refused, and nothing of it done.
                match self.noted(&response, now.len()) {
                    Reaction::Smaller if most > 1 => most = (now.len() / 2).max(1),
                    Reaction::Again | Reaction::Calmer | Reaction::Smaller => {
                        self.once_more(&mut misses, &response).await?;
                    }
                    Reaction::Done | Reaction::Isolate(_) | Reaction::Stop => {
                        return Err(refusal(&self.operation(), &response));
                    }
                }
                continue;
            }
            let answers = parse_batch(content_type, &response.body)
                .map_err(|source| Error::Batch { operation: self.operation(), source })?;
            let before = left.len();
            let mut stopped = None;
            // A batch that stopped early has fewer answers: what has none is sent again.
            for (at, answer) in now.iter().zip(&answers) {
                let gone = matches!(works[*at], Work::Delete(_)) && answer.status == 404;
                outcomes[*at] = match react(answer.status, &answer.body) {
                    Reaction::Done => Some(Outcome::Written),
                    Reaction::Isolate(_) if gone => Some(Outcome::Written),
                    Reaction::Isolate(reason) => Some(Outcome::Rejected(reason)),
                    Reaction::Again | Reaction::Smaller | Reaction::Calmer => None,
                    Reaction::Stop => {
                        stopped = Some((answer.status, reason(answer.status, &Problem::parse(&answer.body))));
                        None
                    }
                };
            }
            left.retain(|at| outcomes[*at].is_none());
            if let Some((status, Reason { code, message })) = stopped {
                return Err(Error::Refused { operation: self.operation(), status, code, message });
            }
            if left.len() == before {
                self.once_more(&mut misses, &response).await?;
            } else {
                misses = 0;
            }
        }
        Ok(())
    }

    /// A row whose key no address can carry: found by a condition, written by its id.
    async fn apart(&self, work: Work<'_>) -> Result<Outcome, Error> {
        let set = &self.target.entity_set;
        let mut last = None;
        // Between looking and writing the row may come or go, by somebody else's hand.
        for _ in 0..3 {
            let found = self.look_up(work.key()).await?;
            let id = found.clone().unwrap_or_else(|| self.id_of(work.key()));
            let path = format!("{ROOT}/{set}({id})");
            let request = match (work, &found) {
                (Work::Delete(_), None) => return Ok(Outcome::Written),
                (Work::Delete(_), Some(_)) => self.request(Method::DELETE, &path)?,
                (Work::Upsert(row), Some(_)) => self
                    .request(Method::PATCH, &path)?
                    .header("if-match", "*")
                    .body("application/json", row.body.clone()),
                (Work::Upsert(row), None) => {
                    // The id is made from the key, so that a repeated creation meets itself.
                    let rest = row.body.strip_prefix('{').filter(|rest| *rest != "}");
                    let comma = if rest.is_some() { "," } else { "" };
                    let body = format!("{{{}{comma}{}", row.key_members, rest.unwrap_or("}"));
                    self.request(Method::PATCH, &path)?.body("application/json", body)
                }
            };
            let response = self.send(request.repeatable()).await?;
            match react(response.status.as_u16(), &response.body) {
                Reaction::Done => return Ok(Outcome::Written),
                Reaction::Isolate(reason) if matches!(response.status.as_u16(), 404 | 412) => last = Some(reason),
                Reaction::Isolate(reason) => return Ok(Outcome::Rejected(reason)),
                _ => return Err(refusal(&self.operation(), &response)),
            }
        }
        let reason =
            last.unwrap_or(Reason { code: "changed".to_owned(), message: "the row keeps changing".to_owned() });
        Ok(Outcome::Rejected(reason))
    }

    async fn look_up(&self, key: &str) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Rows {
            value: Vec<serde_json::Map<String, serde_json::Value>>,
        }
        let (set, id) = (&self.target.entity_set, &self.target.primary_id);
        let path = format!("{ROOT}/{set}?$select={id}&$filter={}&$top=1", encoded(&condition(key)));
        let request = prepared(self.dataverse.service.request(&self.operation(), Method::GET, &path)?);
        let response = self.send(request).await?;
        if response.status.as_u16() != 200 {
            return Err(refusal(&self.operation(), &response));
        }
        let rows: Rows = read(&self.operation(), &response.body)?;
        Ok(rows.value.first().and_then(|row| row.get(id)?.as_str().map(str::to_owned)))
    }

    fn id_of(&self, key: &str) -> String {
        let (set, key) = (&self.target.entity_set, key.to_lowercase());
        let digest = Sha256::digest(format!("{} {set} {key}", self.target.organization_id));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    fn operation_of(&self, work: Work<'_>) -> Operation {
        // Names and signs of a key stay as they are, values are encoded.
        let key = encoded(work.key()).replace("%3D", "=");
        let (method, body) = match work {
            Work::Upsert(row) => ("PATCH", row.body.clone()),
            Work::Delete(_) => ("DELETE", String::new()),
        };
        let target = format!("{ROOT}/{}({key})", self.target.entity_set);
        Operation { method, target, headers: Vec::new(), body }
    }

    async fn post(&self, path: &str, kind: &str, body: Vec<u8>, prefer: Option<&str>) -> Result<Response, Error> {
        let mut request = self.request(Method::POST, path)?.body(kind, body);
        if let Some(prefer) = prefer {
            request = request.header("prefer", prefer);
        }
        // Every row has its key: after a lost answer the same may be sent again.
        self.send(request.repeatable().refusals_final()).await
    }

    async fn send(&self, request: Request) -> Result<Response, Error> {
        let _lane = self.dataverse.flow.enter().await;
        self.dataverse.service.send(&self.operation(), request).await
    }

    fn request(&self, method: Method, path: &str) -> Result<Request, Error> {
        Ok(prepared(self.dataverse.service.request(&self.operation(), method, path)?))
    }

    fn operation(&self) -> String {
        format!("write to table `{}`", self.target.entity_set)
    }

    fn noted(&self, response: &Response, rows: usize) -> Reaction {
        let reaction = react(response.status.as_u16(), &response.body);
        let mut share = self.share.lock().unwrap_or_else(PoisonError::into_inner);
        match reaction {
            Reaction::Smaller => share.shrink(),
            Reaction::Done => share.passed(),
            Reaction::Again | Reaction::Calmer | Reaction::Isolate(_) | Reaction::Stop => {}
        }
        drop(share);
        match response.status.as_u16() {
            429 => self.dataverse.flow.met(Limit::of(&Problem::of(response))),
            _ => self.dataverse.flow.passed(&response.headers),
        }
        debug!(rows, status = response.status.as_u16(), ?reaction, "call was answered");
        reaction
    }

    fn rows(&self) -> usize {
        self.share.lock().unwrap_or_else(PoisonError::into_inner).of(BULK_ROWS) as usize
    }

    fn calls(&self) -> usize {
        self.dataverse.flow.lanes().min(MOST_CALLS)
    }

    /// Waits before the same is sent again, as often as a request may be repeated.
    async fn once_more(&self, misses: &mut u32, response: &Response) -> Result<(), Error> {
        let client = self.dataverse.service.client();
        *misses += 1;
        if *misses >= client.attempts() {
            return Err(refusal(&self.operation(), response));
        }
        // Where the service asked for patience, the gate keeps it.
        if response.status.as_u16() != 429 {
            client.back_off(*misses).await;
        }
        Ok(())
    }
}

impl<'a> Work<'a> {
    fn row(self) -> Option<&'a TargetRow> {
        match self {
            Self::Upsert(row) => Some(row),
            Self::Delete(_) => None,
        }
    }

    fn key(self) -> &'a str {
        match self {
            Self::Upsert(row) => &row.address,
            Self::Delete(key) => key,
        }
    }

    fn addressable(self) -> bool {
        addressable(self.key())
    }
}

/// A key as the condition of a filter: `a='x',b=2` as `a eq 'x' and b eq 2`.
fn condition(key: &str) -> String {
    let (mut text, mut quoted, mut in_value) = (String::new(), false, false);
    for character in key.chars() {
        match character {
            '\'' => {
                quoted = !quoted;
                text.push('\'');
            }
            '=' if !in_value => {
                in_value = true;
                text.push_str(" eq ");
            }
            ',' if !quoted => {
                in_value = false;
                text.push_str(" and ");
            }
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_makes_a_condition_whatever_its_text_holds() {
        assert_eq!(condition("a='x',b=2"), "a eq 'x' and b eq 2");
        assert_eq!(condition("a='it''s a=b, c',b=2025-11-28"), "a eq 'it''s a=b, c' and b eq 2025-11-28");
    }
}
