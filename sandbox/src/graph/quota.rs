//! SharePoint's resource units: what a request costs, and what an answer says of them.

use super::state::Problem;
use crate::faults::Spent;
use crate::wire::{Request, Response};

/// From this share of the allowance on, answers tell what is left.
const TOLD_FROM_PERCENT: u32 = 80;

/// Resource units of a request: one for a single item, a download and a delta with a token,
/// two for what lists or writes.
pub(super) fn cost(request: &Request) -> u32 {
    let path = request.path();
    let delta = path.ends_with("delta") || path.ends_with("delta()");
    let lists = path.ends_with("/children") || (delta && !request.query().contains("token="));
    if request.method != "GET" || lists { 2 } else { 1 }
}

/// The refusal of a request past the allowance.
pub(super) fn refusal(spent: Spent) -> Option<Problem> {
    (spent.wait_seconds > 0).then(|| {
        Problem::new(429, "activityLimitReached", "The request has been throttled")
            .inner("throttledRequest")
            .with("Retry-After", spent.wait_seconds.to_string())
    })
}

/// Adds the headers that come once most of the allowance is used.
pub(super) fn noted(response: Response, spent: Option<Spent>) -> Response {
    let told = |spent: &Spent| {
        let used = spent.allowance.units.saturating_sub(spent.left);
        u64::from(used) * 100 >= u64::from(spent.allowance.units) * u64::from(TOLD_FROM_PERCENT)
    };
    match spent.filter(told) {
        None => response,
        Some(spent) => response
            .with("RateLimit-Limit", spent.allowance.units.to_string())
            .with("RateLimit-Remaining", spent.left.to_string())
            .with("RateLimit-Reset", spent.reset_seconds.to_string()),
    }
}
