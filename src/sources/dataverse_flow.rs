//! How much an environment takes at once: shared by all that read from it and write to it.
//!
//! Dataverse has three limits, and each wants something else of us besides
//! waiting: fewer requests, smaller ones, or fewer at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use reqwest::header::HeaderMap;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::service::Problem;

/// Requests at once before anything is known of the environment.
const FIRST_LANES: usize = 2;
/// What the service takes of one user at most; its hint may allow less.
const MOST_LANES: usize = 52;
/// Answers in a row that must pass before more is tried again.
const CALM_ANSWERS: u32 = 20;
/// Requests shrink to this share of their size at most.
const SMALLEST_SHARE: u32 = 1024;

/// One environment's state; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Flow {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    freed: Notify,
}

/// How many requests may run, how large they are, and how many do run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    lanes: usize,
    most: usize,
    calm: u32,
    busy: usize,
    /// Of a page's full size.
    pages: Share,
}

/// How much of its full size a request has: less at once where it was too large, more again
/// only after several that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    divisor: u32,
    calm: u32,
    /// Requests in a row that must pass before the next one is larger.
    patience: u32,
}

impl Share {
    /// The whole of it, to begin with.
    pub(super) fn new(patience: u32) -> Self {
        Self { divisor: 1, calm: 0, patience }
    }

    /// Rows to put into a request that has `full` at most.
    pub(super) fn of(self, full: u32) -> u32 {
        (full / self.divisor).max(1)
    }

    /// Takes into account that a request was too large.
    pub(super) fn shrink(&mut self) {
        (self.divisor, self.calm) = ((self.divisor * 2).min(SMALLEST_SHARE), 0);
    }

    /// Takes into account that one passed.
    pub(super) fn passed(&mut self) {
        self.calm += 1;
        if self.calm >= self.patience {
            (self.divisor, self.calm) = ((self.divisor / 2).max(1), 0);
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self { lanes: FIRST_LANES, most: MOST_LANES, calm: 0, busy: 0, pages: Share::new(CALM_ANSWERS) }
    }
}

/// Which of the limits was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// Requests within five minutes: waiting is all that helps.
    Requests,
    /// Time spent on them: smaller ones.
    Time,
    /// Requests at once: fewer of them.
    Concurrency,
}

impl Limit {
    /// Tells by the code; one that nobody knows wants patience only.
    pub(super) fn of(problem: &Problem) -> Self {
        if problem.is("0x80072321") {
            Self::Time
        } else if problem.is("0x80072326") {
            Self::Concurrency
        } else {
            Self::Requests
        }
    }
}

impl State {
    fn met(&mut self, limit: Limit) {
        self.calm = 0;
        match limit {
            Limit::Requests => {}
            Limit::Time => self.pages.shrink(),
            Limit::Concurrency => self.lanes = (self.lanes / 2).max(1),
        }
    }

    fn passed(&mut self, hint: Option<usize>) {
        if let Some(hint) = hint {
            self.most = hint.clamp(1, MOST_LANES);
            self.lanes = self.lanes.min(self.most);
        }
        self.pages.passed();
        self.calm += 1;
        if self.calm >= CALM_ANSWERS {
            self.calm = 0;
            self.lanes = (self.lanes + 1).min(self.most);
        }
    }
}

/// The right to have one request under way; given back when dropped.
#[derive(Debug)]
pub(super) struct Lane<'a> {
    flow: &'a Flow,
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        self.flow.change(|state| state.busy = state.busy.saturating_sub(1));
        self.flow.shared.freed.notify_waiters();
    }
}

impl Flow {
    /// The state of an environment, by its address: the service counts all of
    /// this process's requests together, whichever pipeline sends them.
    pub(super) fn of(base: &str) -> Self {
        static KNOWN: LazyLock<Mutex<BTreeMap<String, Flow>>> = LazyLock::new(Mutex::default);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(base.to_owned()).or_default().clone()
    }

    /// Waits until one more request may run.
    pub(super) async fn enter(&self) -> Lane<'_> {
        loop {
            // Listening starts before the look, or a lane freed in between is missed.
            let freed = self.shared.freed.notified();
            let entered = self.change(|state| {
                let free = state.busy < state.lanes;
                state.busy += usize::from(free);
                free
            });
            if entered {
                return Lane { flow: self };
            }
            freed.await;
        }
    }

    /// Rows to ask for in a page that has `full` at most.
    pub(super) fn page_size(&self, full: u32) -> u32 {
        self.read().pages.of(full)
    }

    /// Requests that may run at once.
    pub(super) fn lanes(&self) -> usize {
        self.read().lanes
    }

    /// Takes a refusal into account.
    pub(super) fn met(&self, limit: Limit) {
        self.change(|state| state.met(limit));
        let State { lanes, pages, .. } = self.read();
        warn!(?limit, lanes, divisor = pages.divisor, "service limit was met");
    }

    /// Takes an answer into account, and the parallelism that it recommends.
    pub(super) fn passed(&self, headers: &HeaderMap) {
        let hint = headers.get("x-ms-dop-hint").and_then(|hint| hint.to_str().ok()?.trim().parse().ok());
        let before = self.read();
        self.change(|state| state.passed(hint));
        self.shared.freed.notify_waiters();
        let after = self.read();
        if (before.lanes, before.pages.divisor) != (after.lanes, after.pages.divisor) {
            info!(lanes = after.lanes, divisor = after.pages.divisor, "pace towards the service changed");
        }
    }

    fn read(&self) -> State {
        *self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.shared.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[test]
    fn each_limit_has_a_reaction_of_its_own() {
        let after = |limits: &[Limit]| {
            let mut state = State { lanes: 8, ..State::default() };
            limits.iter().for_each(|limit| state.met(*limit));
            (state.lanes, state.pages.divisor)
        };
        assert_eq!(after(&[Limit::Requests; 3]), (8, 1));
        assert_eq!(after(&[Limit::Time; 2]), (8, 4));
        assert_eq!(after(&[Limit::Concurrency; 2]), (2, 1));
        assert_eq!(after(&[Limit::Concurrency; 9]), (1, 1));
        assert_eq!(after(&[Limit::Time; 20]).1, SMALLEST_SHARE);
    }

    #[test]
    fn the_pace_quickens_slowly_and_never_past_the_hint() {
        let mut state = State::default();
        state.met(Limit::Time);
        for _ in 1..CALM_ANSWERS {
            state.passed(Some(3));
        }
        assert_eq!((state.lanes, state.pages.divisor), (FIRST_LANES, 2));
        for _ in 0..CALM_ANSWERS * 5 {
            state.passed(Some(3));
        }
        assert_eq!((state.lanes, state.pages.divisor), (3, 1));
        state.passed(Some(1));
        assert_eq!(state.lanes, 1);
    }

    #[test]
    fn a_request_shrinks_at_once_and_grows_slowly() {
        let mut share = Share::new(3);
        share.shrink();
        share.shrink();
        assert_eq!(share.of(1000), 250);
        for rows in [250, 250, 500, 500, 500, 1000, 1000, 1000, 1000] {
            share.passed();
            assert_eq!(share.of(1000), rows);
        }
        for _ in 0..30 {
            share.shrink();
        }
        assert_eq!(share.of(1000), 1);
        (0..30).for_each(|_| share.passed());
        assert_eq!(share.of(1000), 1000);
    }

    #[tokio::test]
    async fn a_lane_is_waited_for_and_handed_on() {
        let flow = Flow::default();
        let first = flow.enter().await;
        let second = flow.enter().await;
        assert!(flow.enter().now_or_never().is_none());
        drop(first);
        let third = flow.enter().await;
        flow.met(Limit::Concurrency);
        drop(second);
        assert!(flow.enter().now_or_never().is_none());
        drop(third);
        flow.enter().await;
    }
}
