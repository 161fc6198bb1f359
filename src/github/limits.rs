//! GitHub's limits, as its answers tell them. Pure: moments come in as arguments.
//!
//! GitHub's docs, "Rate limits for the REST API" and "Best practices": after a refusal wait for `Retry-After`; else, with
//! `x-ratelimit-remaining: 0`, until `x-ratelimit-reset`; else at least a minute, and longer each time. Going on
//! regardless can get an App banned.

use super::error::message;
use super::transport::{Answer, http_date};
use crate::model::after;
use http::StatusCode;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// The least wait after a refusal that names no time.
const UNTOLD: Duration = Duration::from_secs(60);

/// GitHub's windows last an hour. A header that says more than this is wrong, and must not stop us for days.
const WAIT_MAX: Duration = Duration::from_secs(2 * 60 * 60);

/// What is left of one of GitHub's budgets, as its last answer told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Left {
    /// Requests in a window.
    pub limit: u64,
    /// Of these, what is left.
    pub remaining: u64,
    /// When it is full again, by our clock.
    pub reset: Timestamp,
}

/// What one account may still ask. GitHub counts for each account (the App itself, an installation, the owner of a
/// token), and there for each resource.
#[derive(Debug, Default)]
pub(super) struct Budget {
    resources: BTreeMap<String, Timestamp>,
    left: BTreeMap<String, Left>,
    everything: Option<Timestamp>,
    /// How often in a row we were refused without being told a time.
    strikes: u32,
}

/// What one answer says of the limits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) resource: Option<String>,
    left: Option<Left>,
    exhausted_until: Option<Timestamp>,
    retry_at: Option<Timestamp>,
    refused: bool,
    success: bool,
}

impl Reading {
    /// Reads the headers. Times are counted from GitHub's own clock, so that a wrong clock here does no harm.
    pub(super) fn of(answer: &Answer, now: Timestamp) -> Self {
        let github_now = answer.date().unwrap_or(now);
        let from_now = |moment: Timestamp| {
            let ahead = Duration::try_from(moment.duration_since(github_now)).unwrap_or(Duration::ZERO);
            after(now, ahead.min(WAIT_MAX))
        };
        let number = |name: &str| answer.header(name).and_then(|text| text.trim().parse::<u64>().ok());
        let reset = number("x-ratelimit-reset")
            .and_then(|reset| Timestamp::from_second(i64::try_from(reset).ok()?).ok())
            .map(from_now);
        let remaining = number("x-ratelimit-remaining");
        let exhausted_until = reset.filter(|_| remaining == Some(0));
        let left = match (number("x-ratelimit-limit"), remaining, reset) {
            (Some(limit), Some(remaining), Some(reset)) => Some(Left { limit, remaining, reset }),
            _ => None,
        };
        let retry_at = answer.header("retry-after").and_then(|text| match text.trim().parse::<u64>() {
            Ok(secs) => Some(after(now, Duration::from_secs(secs).min(WAIT_MAX))),
            Err(_) => http_date(text).map(from_now),
        });
        let refused = match answer.status {
            StatusCode::TOO_MANY_REQUESTS => true,
            StatusCode::FORBIDDEN => {
                let said = message(answer).to_ascii_lowercase();
                retry_at.is_some()
                    || exhausted_until.is_some()
                    || said.contains("rate limit")
                    || said.contains("abuse detection")
            }
            _ => false,
        };
        Self {
            resource: answer.header("x-ratelimit-resource").map(str::to_owned),
            left,
            exhausted_until,
            retry_at: retry_at.filter(|_| refused),
            refused,
            success: answer.status.is_success(),
        }
    }
}

impl Budget {
    /// Takes an answer in. `resource` is what the request was counted under as far as we know, for answers that do not
    /// say. Returns until when to wait, where the answer was a refusal.
    pub(super) fn take(&mut self, reading: &Reading, resource: &str, now: Timestamp) -> Option<Timestamp> {
        let resource = reading.resource.as_deref().unwrap_or(resource);
        if let Some(left) = reading.left {
            // Of answers that overtook each other the lower one is the later; a later reset is another window.
            let held = self.left.entry(resource.to_owned()).or_insert(left);
            *held = if left.reset > held.reset {
                left
            } else {
                Left { remaining: left.remaining.min(held.remaining), ..left }
            };
        }
        if let Some(until) = reading.exhausted_until {
            // The last call of a window succeeds with `remaining: 0`; the next one would be refused.
            let until = if reading.refused { reading.retry_at.unwrap_or(until) } else { until };
            let held = self.resources.entry(resource.to_owned()).or_insert(until);
            *held = (*held).max(until);
        } else if reading.refused {
            self.strike(reading.retry_at, now);
        } else if reading.success && self.everything.is_none_or(|until| until <= now) {
            self.strikes = 0;
        }
        if reading.refused { self.blocked(resource, now).or(Some(after(now, UNTOLD))) } else { None }
    }

    /// A secondary limit: it holds for all that the account asks. Requests that were under way when it began are
    /// refused as well; they are no further strike.
    fn strike(&mut self, retry_at: Option<Timestamp>, now: Timestamp) {
        let standing = self.everything.filter(|until| *until > now);
        let until = retry_at.unwrap_or_else(|| {
            standing.unwrap_or_else(|| {
                let wait = UNTOLD.saturating_mul(2_u32.saturating_pow(self.strikes)).min(WAIT_MAX);
                self.strikes = self.strikes.saturating_add(1);
                after(now, wait)
            })
        });
        self.everything = Some(standing.map_or(until, |standing| standing.max(until)));
    }

    /// What is left for requests that count under `resource`; none where no answer told, or the window is over.
    pub(super) fn left(&self, resource: &str, now: Timestamp) -> Option<Left> {
        self.left.get(resource).copied().filter(|left| left.reset > now)
    }

    /// Until when a request that counts under `resource` must wait.
    pub(super) fn blocked(&self, resource: &str, now: Timestamp) -> Option<Timestamp> {
        self.resources.get(resource).copied().max(self.everything).filter(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn reading(status: u16, headers: &[(&'static str, &str)], body: &str) -> Reading {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        let answer =
            Answer { status: StatusCode::from_u16(status).unwrap(), headers: map, body: body.to_owned().into() };
        Reading::of(&answer, NOW)
    }

    fn secs(by: u64) -> Timestamp {
        after(NOW, Duration::from_secs(by))
    }

    #[test]
    fn the_last_call_of_a_window_blocks_its_resource_only() {
        let mut budget = Budget::default();
        let last = reading(
            201,
            &[
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1800000090"),
                ("x-ratelimit-resource", "actions_runner_registration"),
            ],
            "",
        );
        assert_eq!(budget.take(&last, "core", NOW), None);
        assert_eq!(budget.blocked("actions_runner_registration", NOW), Some(secs(90)));
        assert_eq!(budget.blocked("core", NOW), None);
        assert_eq!(budget.blocked("actions_runner_registration", secs(90)), None);
    }

    #[test]
    fn what_is_left_is_the_lowest_of_a_window_and_lapses_with_it() {
        let told = |remaining: &str, reset: &str| {
            let headers =
                [("x-ratelimit-limit", "5000"), ("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", reset)];
            reading(200, &headers, "")
        };
        let mut budget = Budget::default();
        assert_eq!(budget.left("core", NOW), None);
        for (remaining, reset) in [("100", "1800000090"), ("98", "1800000090"), ("99", "1800000090")] {
            budget.take(&told(remaining, reset), "core", NOW);
        }
        assert_eq!(budget.left("core", NOW), Some(Left { limit: 5000, remaining: 98, reset: secs(90) }));
        assert_eq!(budget.left("core", secs(90)), None);
        budget.take(&told("4999", "1800003700"), "core", secs(91));
        assert_eq!(budget.left("core", secs(91)).map(|left| left.remaining), Some(4999));
    }

    #[test]
    fn a_wrong_clock_here_does_not_change_the_wait() {
        let mut budget = Budget::default();
        let skewed = reading(
            403,
            &[
                ("date", "Fri, 15 Jan 2027 07:00:00 GMT"), // an hour behind NOW
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "1799996430"),
            ],
            "",
        );
        assert_eq!(budget.take(&skewed, "core", NOW), Some(secs(30)));
    }

    #[test]
    fn an_absurd_header_does_not_stop_us_for_days() {
        let mut budget = Budget::default();
        assert_eq!(
            budget.take(&reading(429, &[("retry-after", "99999999999")], ""), "core", NOW),
            Some(after(NOW, WAIT_MAX))
        );
    }

    #[test]
    fn secondary_limits_hold_for_everything_and_double() {
        let mut budget = Budget::default();
        let refused = reading(403, &[], r#"{"message":"You have exceeded a secondary rate limit"}"#);
        assert_eq!(budget.take(&refused, "core", NOW), Some(secs(60)));
        // Those that were under way.
        assert_eq!(budget.take(&refused, "core", secs(1)), Some(secs(60)));
        assert_eq!(budget.blocked("anything", secs(59)), Some(secs(60)));
        assert_eq!(budget.take(&refused, "core", secs(60)), Some(secs(180)));
        // A success that was under way does not lift it; one after it does.
        let success = reading(200, &[], "");
        assert_eq!(budget.take(&success, "core", secs(61)), None);
        assert_eq!(budget.take(&refused, "core", secs(180)), Some(secs(420)));
        budget.take(&success, "core", secs(420));
        assert_eq!(budget.take(&refused, "core", secs(421)), Some(secs(481)));
    }

    #[test]
    fn a_missing_permission_is_no_limit() {
        let denied = reading(403, &[("x-ratelimit-remaining", "12")], r#"{"message":"Resource not accessible"}"#);
        assert_eq!(Budget::default().take(&denied, "core", NOW), None);
    }

    #[test]
    fn retry_after_may_be_a_date() {
        let dated = reading(
            429,
            &[("date", "Fri, 15 Jan 2027 08:00:00 GMT"), ("retry-after", "Fri, 15 Jan 2027 08:00:07 GMT")],
            "",
        );
        assert_eq!(Budget::default().take(&dated, "core", NOW), Some(secs(7)));
    }
}
