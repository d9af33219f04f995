//! When to ask again. Pure: the client does the waiting.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;

/// What an answer means for the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The answer is the caller's.
    Final,
    /// The service wants everybody to wait, as long as it says or as we think.
    Throttled(Option<Duration>),
    /// Only this request failed, and it may pass next time.
    Passing(Option<Duration>),
}

/// Judges an answer. A request that must not run twice is repeated only where
/// the service says that it did not run.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, repeatable: bool, now: DateTime<Utc>) -> Verdict {
    let asked = text(headers, "retry-after").and_then(|text| retry_after(text, now));
    match status.as_u16() {
        429 => Verdict::Throttled(asked),
        503 | 509 if repeatable || asked.is_some() => Verdict::Throttled(asked),
        408 | 425 | 500 | 502 | 504 if repeatable => Verdict::Passing(asked),
        _ => Verdict::Final,
    }
}

/// Reads the gap to leave before the next request from the `RateLimit` headers
/// that SharePoint sends once most of a minute's quota is used. A listing costs
/// two units, hence the factor.
pub(super) fn gap(headers: &HeaderMap) -> Option<Duration> {
    let number = |name| text(headers, name)?.trim().parse::<f64>().ok();
    let (remaining, reset) = (number("ratelimit-remaining")?, number("ratelimit-reset")?);
    let seconds = if remaining < 1.0 { reset } else { (2.0 * reset / remaining).min(reset) };
    Duration::try_from_secs_f64(seconds).ok().filter(|gap| *gap >= Duration::from_millis(50))
}

/// Doubles a first pause with every attempt, ten times at most.
pub(super) fn doubled(first: Duration, attempt: u32) -> Duration {
    first.saturating_mul(1 << attempt.saturating_sub(1).min(10))
}

/// Reads `Retry-After`: seconds, also fractional, or an HTTP date.
fn retry_after(text: &str, now: DateTime<Utc>) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let at = DateTime::parse_from_rfc2822(text.trim()).ok()?;
    Some((at.with_timezone(&Utc) - now).to_std().unwrap_or_default())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::parse_from_rfc3339("2025-11-29T11:00:00Z").unwrap().to_utc()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        assert_eq!(retry_after("2.128", now()), Some(Duration::from_millis(2128)));
        assert_eq!(retry_after("41", now()), Some(Duration::from_secs(41)));
        let date = "Sat, 29 Nov 2025 11:00:30 GMT";
        assert_eq!(retry_after(date, now()), Some(Duration::from_secs(30)));
        assert_eq!(retry_after("soon", now()), None);
        assert_eq!(retry_after("-5", now()), None);
        assert_eq!(retry_after("1e300", now()), None);
    }

    #[test]
    fn a_request_that_must_not_run_twice_is_repeated_only_when_refused() {
        let judge = |status: u16, pairs: &[_], repeatable| {
            let status = StatusCode::from_u16(status).unwrap();
            super::judge(status, &headers(pairs), repeatable, now())
        };
        let second = Some(Duration::from_secs(1));
        assert_eq!(judge(429, &[], false), Verdict::Throttled(None));
        assert_eq!(judge(503, &[], false), Verdict::Final);
        assert_eq!(judge(503, &[("retry-after", "1")], false), Verdict::Throttled(second));
        assert_eq!(judge(503, &[], true), Verdict::Throttled(None));
        assert_eq!(judge(502, &[], false), Verdict::Final);
        assert_eq!(judge(502, &[], true), Verdict::Passing(None));
        assert_eq!(judge(403, &[], true), Verdict::Final);
        assert_eq!(judge(507, &[], true), Verdict::Final);
    }

    #[test]
    fn a_quota_that_runs_out_widens_the_gap() {
        let gap = |remaining, reset| gap(&headers(&[("ratelimit-remaining", remaining), ("ratelimit-reset", reset)]));
        assert_eq!(gap("0", "41"), Some(Duration::from_secs(41)));
        assert_eq!(gap("10", "30"), Some(Duration::from_secs(6)));
        assert_eq!(gap("1", "30"), Some(Duration::from_secs(30)));
        assert_eq!(gap("1000", "20"), None);
        assert_eq!(gap("many", "20"), None);
        assert_eq!(super::gap(&HeaderMap::new()), None);
    }

    #[test]
    fn pauses_double_without_overflowing() {
        let first = Duration::from_millis(500);
        assert_eq!(doubled(first, 1), first);
        assert_eq!(doubled(first, 4), first * 8);
        assert_eq!(doubled(first, u32::MAX), first * 1024);
    }
}
