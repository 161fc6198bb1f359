//! Whether a run is due. Pure: the schedule, what is written down, the moment.
//!
//! Runs have slots: the moments for which they are due, at least one interval apart. A run begins at its slot (a little
//! later with `jitter`), never outside the window and the days. Slots that nobody was there for are not made up for: one run
//! comes instead of all of them. A run that failed is tried again a few times, each try after a longer wait, and gives up to
//! the next slot: nothing stops for good.

use super::calendar::{first_allowed, is_allowed};
use super::state::{Run, State};
use crate::config::Schedule;
use crate::model::{HostId, after, age};
use jiff::Timestamp;
use std::fmt;
use std::time::Duration;

/// A run of which nothing is heard for so long was cut off.
pub(super) const CLAIM: Duration = Duration::from_secs(120);

/// A run that begins so much after its moment counts as on time, and the next one is due one interval after that moment;
/// otherwise one interval after its beginning.
const LATE: Duration = Duration::from_secs(60);

/// The wait before the second try, and the longest.
const FIRST_RETRY: Duration = Duration::from_secs(60);
const LONGEST_RETRY: Duration = Duration::from_secs(3600);

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Run.
    Run(Due),
    /// Nothing before that moment.
    Wait {
        /// When to look again.
        until: Timestamp,
        /// Why not now.
        why: Why,
    },
}

/// A run that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The moment that it is for.
    pub slot: Timestamp,
    /// 0 for the first try.
    pub attempt: u32,
}

/// Why nothing is done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The next run is due then.
    NotDue,
    /// A run is overdue, and this is not the time for it.
    OutsideWindow,
    /// A run is under way.
    UnderWay {
        /// There.
        by: HostId,
    },
    /// The last run failed and is tried again then.
    Retry {
        /// Which try comes.
        attempt: u32,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDue => f.write_str("the next run is due then"),
            Self::OutsideWindow => f.write_str("a run is due, and waits for the next time window (time_window, days)"),
            Self::UnderWay { by } => write!(f, "a run is under way on {by}"),
            Self::Retry { attempt } => write!(f, "the last run failed; try {} comes then", attempt + 1),
        }
    }
}

/// Whether a run is due.
pub fn plan(schedule: &Schedule, state: &State, now: Timestamp) -> Decision {
    let last = state.last.as_ref();
    if let Some(run) = last
        && run.end.is_none()
        && run.lapses > now
        // From a clock that was far ahead: nobody wrote that.
        && age(run.lapses, now) <= CLAIM * 2
    {
        return Decision::Wait { until: run.lapses, why: Why::UnderWay { by: run.by.clone() } };
    }
    if state.asked.is_some() {
        return Decision::Run(Due { slot: now, attempt: 0 });
    }
    // A slot that is far ahead is of a clock that was wrong; it must not stop everything until then.
    let Some(last) = last.filter(|last| last.slot <= after(now, schedule.every)) else {
        return due(schedule, now, now, now);
    };
    let slot = first_allowed(schedule, after(last.slot, schedule.every));
    let begin = Some(after(slot, jitter(schedule, state.seed, slot)))
        .filter(|begin| is_allowed(schedule, *begin))
        .unwrap_or(slot);
    if let Some(retry) = retry_at(schedule, last) {
        let retry = first_allowed(schedule, retry.max(now));
        if retry < begin {
            let attempt = last.attempt + 1;
            return if retry <= now {
                Decision::Run(Due { slot: last.slot, attempt })
            } else {
                Decision::Wait { until: retry, why: Why::Retry { attempt } }
            };
        }
    }
    due(schedule, slot, begin, now)
}

/// The run of a slot that is to begin at `begin`.
fn due(schedule: &Schedule, slot: Timestamp, begin: Timestamp, now: Timestamp) -> Decision {
    if begin > now {
        return Decision::Wait { until: begin, why: Why::NotDue };
    }
    if !is_allowed(schedule, now) {
        return Decision::Wait { until: first_allowed(schedule, now), why: Why::OutsideWindow };
    }
    let on_time = age(now, begin) <= LATE.min(schedule.every / 10);
    Decision::Run(Due { slot: if on_time { slot } else { now }, attempt: 0 })
}

/// When a run that failed is to be tried again; none if it is not.
fn retry_at(schedule: &Schedule, last: &Run) -> Option<Timestamp> {
    let failed_at = match &last.end {
        Some(end) if end.error.is_some() => end.at,
        Some(_) => return None,
        None => last.lapses,
    };
    (last.attempt < schedule.max_retries).then(|| {
        let doubled = FIRST_RETRY.saturating_mul(1_u32.checked_shl(last.attempt).unwrap_or(u32::MAX));
        after(failed_at, doubled.min(LONGEST_RETRY).min(schedule.every / 2))
    })
}

/// How much later the run of a slot begins: the same each time it is asked for.
fn jitter(schedule: &Schedule, seed: u64, slot: Timestamp) -> Duration {
    let most = u64::try_from(schedule.jitter.as_millis()).unwrap_or(u64::MAX);
    if most == 0 {
        return Duration::ZERO;
    }
    // SplitMix64: each seed and slot gives a number of its own.
    let mut mixed = seed ^ slot.as_millisecond().cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    Duration::from_millis((mixed ^ (mixed >> 31)) % (most + 1))
}

#[cfg(test)]
mod tests;
