//! The script: which request goes wrong, and how.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};

use super::log::Recorded;
use crate::wire::{Delivery, Reply, Request, Response, locked};

/// Enough for every test; a daemon left running against the sandbox stays bounded.
const LOG_LIMIT: usize = 20_000;

/// The fault script and request log of one stand-in; clones share both.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    rules_made: usize,
    log: VecDeque<Recorded>,
}

#[derive(Debug)]
struct Rule {
    id: RuleId,
    route: String,
    when: When,
    outcome: Outcome,
    seen: u32,
    fired: u32,
}

/// Names a scripted fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleId(usize);

/// Which of the requests that match a route go wrong, counted from when it was scripted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// All of them.
    Every,
    /// The next so many.
    Next(u32),
    /// Only this one; the first is 1.
    Nth(u32),
    /// One in so many: with 20, the 20th, the 40th and so on.
    OneIn(u32),
    /// So many of a thousand, by chance; the same seed, the same ones.
    Chance {
        /// Where chance starts from.
        seed: u64,
        /// How many of a thousand.
        permille: u32,
        /// The most that go wrong; what comes later goes right.
        limit: u32,
    },
}

impl When {
    fn includes(self, seen: u32, fired: u32) -> bool {
        match self {
            Self::Every => true,
            Self::Next(count) => seen <= count,
            Self::Nth(number) => seen == number,
            Self::OneIn(count) => count > 0 && seen.is_multiple_of(count),
            Self::Chance { seed, permille, limit } => fired < limit && drawn(seed, seen) < permille,
        }
    }
}

/// Changes a stand-in's answer.
pub type Edit = Arc<dyn Fn(&Request, &mut Response) + Send + Sync>;

/// What happens to a request that goes wrong.
#[derive(Clone)]
pub enum Outcome {
    /// It is answered so, and the stand-in never sees it.
    Answer(Response),
    /// It is carried out, and its answer changed.
    Rewrite(Edit),
    /// It is carried out, and the connection closes after so many bytes of the body.
    Truncate(usize),
    /// It is not carried out, and the connection closes.
    Close,
    /// It is carried out, and the connection closes without an answer.
    LoseAnswer,
    /// It is not carried out, and the connection stays silent.
    Hang,
}

impl fmt::Debug for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(response) => write!(formatter, "Answer({})", response.status),
            Self::Rewrite(_) => formatter.write_str("Rewrite"),
            Self::Truncate(length) => write!(formatter, "Truncate({length})"),
            Self::Close => formatter.write_str("Close"),
            Self::LoseAnswer => formatter.write_str("LoseAnswer"),
            Self::Hang => formatter.write_str("Hang"),
        }
    }
}

impl From<Response> for Outcome {
    fn from(response: Response) -> Self {
        Self::Answer(response)
    }
}

impl Outcome {
    /// Makes an outcome that carries the request out and changes its answer.
    pub fn rewrite(edit: impl Fn(&Request, &mut Response) + Send + Sync + 'static) -> Self {
        Self::Rewrite(Arc::new(edit))
    }
}

impl Faults {
    /// Makes an empty script and log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Scripts a fault.
    ///
    /// `route` is a method and a raw path with query, such as
    /// `GET /v1.0/drives/*/root/delta*`; a `*` stands for any run of characters.
    /// Of several faults that match one request, the one scripted first happens.
    pub fn script(&self, route: &str, when: When, outcome: impl Into<Outcome>) -> RuleId {
        let mut state = locked(&self.state);
        let id = RuleId(state.rules_made);
        state.rules_made += 1;
        state.rules.push(Rule { id, route: route.to_owned(), when, outcome: outcome.into(), seen: 0, fired: 0 });
        id
    }

    /// Takes one fault out of the script.
    pub fn remove(&self, rule: RuleId) {
        locked(&self.state).rules.retain(|other| other.id != rule);
    }

    /// Takes every fault out of the script; the log stays.
    pub fn clear(&self) {
        locked(&self.state).rules.clear();
    }

    /// Says how often a fault has happened; 0 once it was taken out.
    pub fn fired(&self, rule: RuleId) -> u32 {
        let state = locked(&self.state);
        state.rules.iter().find(|other| other.id == rule).map_or(0, |found| found.fired)
    }

    /// Lists the requests so far, oldest first.
    pub fn requests(&self) -> Vec<Recorded> {
        locked(&self.state).log.iter().cloned().collect()
    }

    /// Lists the requests so far that match a route (as in [`Faults::script`]).
    pub fn requests_to(&self, route: &str) -> Vec<Recorded> {
        let mut found = self.requests();
        found.retain(|request| matches(route, &request.line()));
        found
    }

    /// Empties the log.
    pub fn forget_requests(&self) {
        locked(&self.state).log.clear();
    }

    /// Logs a request and lets it be handled, or go wrong.
    pub fn pass(
        &self,
        origin: &str,
        now: DateTime<Utc>,
        token: Option<&str>,
        request: &Request,
        handle: impl FnOnce(&Request) -> Response,
    ) -> Reply {
        let mut recorded = Recorded::new(origin, now, token, request);
        let outcome = self.outcome_for(&recorded.line());
        let faulted = outcome.is_some();
        // Not under the lock: a handler may take its time.
        let reply = carry_out(outcome, request, handle);
        recorded.settle(&reply, faulted);
        let mut state = locked(&self.state);
        if state.log.len() == LOG_LIMIT {
            state.log.pop_front();
        }
        state.log.push_back(recorded);
        reply
    }

    fn outcome_for(&self, line: &str) -> Option<Outcome> {
        let mut state = locked(&self.state);
        let mut chosen = None;
        for rule in state.rules.iter_mut().filter(|rule| matches(&rule.route, line)) {
            rule.seen += 1;
            if chosen.is_none() && rule.when.includes(rule.seen, rule.fired) {
                rule.fired += 1;
                chosen = Some(rule.outcome.clone());
            }
        }
        chosen
    }
}

/// A number below 1000 that only the seed and the request's place decide.
fn drawn(seed: u64, seen: u32) -> u32 {
    use rand::{Rng as _, SeedableRng as _};
    let mut chance = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    chance.set_stream(seen.into());
    chance.random_range(0..1000)
}

fn carry_out(outcome: Option<Outcome>, request: &Request, handle: impl FnOnce(&Request) -> Response) -> Reply {
    match outcome {
        None => handle(request).into(),
        Some(Outcome::Answer(response)) => response.into(),
        Some(Outcome::Rewrite(edit)) => {
            let mut response = handle(request);
            edit(request, &mut response);
            response.into()
        }
        Some(Outcome::Truncate(length)) => Reply { response: handle(request), delivery: Delivery::Truncated(length) },
        Some(Outcome::LoseAnswer) => Reply { response: handle(request), delivery: Delivery::Lost },
        Some(Outcome::Close) => Reply { response: Response::empty(0), delivery: Delivery::Lost },
        Some(Outcome::Hang) => Reply { response: Response::empty(0), delivery: Delivery::Withheld },
    }
}

/// Compares a request line with a route in which `*` stands for any run of characters.
fn matches(route: &str, line: &str) -> bool {
    let mut parts = route.split('*');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(faults: &Faults, target: &str) -> Reply {
        let request = Request {
            method: "GET".to_owned(),
            target: target.to_owned(),
            headers: vec![("Authorization".to_owned(), "Bearer abc".to_owned())],
            body: Vec::new(),
        };
        faults.pass("test", DateTime::default(), Some("token 1"), &request, |_| Response::empty(200))
    }

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        assert!(matches("GET /a/*/c", "GET /a/b/c"));
        assert!(matches("GET *delta*", "GET /root/delta?token=1"));
        assert!(matches("* /x", "PATCH /x"));
        assert!(!matches("GET /a/*/c", "GET /a/b/c/d"));
        assert!(!matches("GET /a", "GET /ab"));
        assert!(!matches("GET /aa*aa", "GET /aaa"));
    }

    #[test]
    fn faults_happen_in_the_calls_they_were_scripted_for() {
        let faults = Faults::new();
        faults.script("GET /x*", When::Nth(2), Response::empty(503));
        let next = faults.script("GET /x*", When::Next(3), Response::empty(429));
        let statuses: Vec<u16> = (0..5).map(|number| ask(&faults, &format!("/x{number}")).response.status).collect();
        assert_eq!(statuses, [429, 503, 429, 200, 200]);
        assert_eq!(faults.fired(next), 2);
        assert_eq!(ask(&faults, "/other").response.status, 200);
    }

    #[test]
    fn chance_is_the_same_for_the_same_seed_and_ends_at_its_limit() {
        let played = |seed, limit| {
            let faults = Faults::new();
            faults.script("GET /x", When::Chance { seed, permille: 300, limit }, Response::empty(503));
            (0..200).map(|_| ask(&faults, "/x").response.status == 503).collect::<Vec<_>>()
        };
        let count = |played: &[bool]| played.iter().filter(|wrong| **wrong).count();
        assert_eq!(played(1, 200), played(1, 200));
        assert_ne!(played(1, 200), played(2, 200));
        assert!((30..90).contains(&count(&played(1, 200))));
        assert_eq!(count(&played(1, 4)), 4);
    }

    #[test]
    fn the_log_keeps_the_label_of_a_token_and_not_its_value() {
        let faults = Faults::new();
        faults.script("GET /gone", When::Every, Outcome::LoseAnswer);
        ask(&faults, "/gone");
        ask(&faults, "/here?a=%2f");
        let log = faults.requests();
        assert_eq!(log[0].header("authorization"), Some("Bearer <token 1>"));
        assert_eq!((log[0].status, log[0].faulted), (None, true));
        assert_eq!((log[1].line().as_str(), log[1].status), ("GET /here?a=%2f", Some(200)));
        assert_eq!(faults.requests_to("GET /here*").len(), 1);
    }
}
