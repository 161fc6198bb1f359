//! A pool whose runners fail is tried less and less often, and says why. So is a part that is away: the engine, GitHub, the
//! store.
//!
//! The counts come from the rows of ended runners, so they survive a restart; that of a pool is the same for every manager.

use super::Draft;
use super::naming::fnv;
use crate::config::Pool;
use crate::model::{PoolName, RegistrationStatus, Runner, RunnerName, StateName, after, age};
use jiff::Timestamp;
use std::time::Duration;

/// The wait after the first failure: a single runner that died is replaced almost at once.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait: a pool that is repaired works again after at most this time, and a broken one costs twelve calls an hour.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// The wait after a runner could not be made because a part did not answer. Each try costs a registration: without a wait, a
/// Docker that refuses one connection after the other was asked for a hundred runners a second. It begins short, since one
/// connection that breaks is nothing.
const AWAY_FIRST: Duration = Duration::from_millis(500);

/// The longest of these: a part that is back is used within this time.
const AWAY_LONGEST: Duration = Duration::from_secs(10);

/// What is older than this says nothing about now; the longest wait is reached within it.
const AWAY_COUNTS: Duration = Duration::from_secs(60);

/// After so many failures in a row, one runner at a time is tried until one takes a job, or waits for one in peace.
pub(super) const PROBE_FROM: u32 = 3;

/// An agent that is online so long after its start shows as much as a job would: whatever is counted here comes before that.
/// Without it the second spare of a pool that nobody needs just now was never made.
const STEADY: Duration = Duration::from_secs(60);

/// How a pool has been doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Failures {
    /// Failed waves in a row, the latest first. Runners that failed side by side are one wave.
    pub(super) count: u32,
    /// No runner before this moment.
    pub(super) until: Option<Timestamp>,
    /// What the last one said.
    pub(super) last: String,
}

/// Counts back from the latest ended runner of a pool to the last one that took a job, or waits for one in peace.
pub(super) fn failures(draft: &Draft<'_>, pool: &Pool) -> Failures {
    let granted = draft.world.granted.get(&pool.scope.account().to_lowercase()).copied();
    let pool = &pool.name;
    let mut shown: Vec<&Runner> = draft
        .world
        .runners
        .values()
        .map(AsRef::as_ref)
        .filter(|runner| runner.pool == *pool && !runner.blameless)
        .filter(|runner| is_good(draft, runner) || failure(runner).is_some())
        .collect();
    shown.sort_by_key(|runner| (failure(runner).map_or(runner.state.since, |(at, _)| at), &runner.name));
    let mut found = Failures::default();
    let mut latest = None;
    let mut wave_began = Timestamp::MAX;
    for runner in shown.into_iter().rev() {
        if is_good(draft, runner) {
            break;
        }
        let Some((at, cause)) = failure(runner) else { continue };
        // It may have been for the lack of what the account has granted since.
        if granted.is_some_and(|granted| runner.created_at <= granted) {
            break;
        }
        if latest.is_none() {
            latest = Some(at);
            cause.clone_into(&mut found.last);
        }
        if at <= wave_began {
            found.count += 1;
            wave_began = runner.created_at;
        }
    }
    found.until = latest.map(|at| after(at, wait(pool, found.count)));
    found
}

/// A part that did not answer when this manager wanted to make a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Away {
    /// No runner before this moment.
    pub(super) until: Timestamp,
    /// What the last try met.
    pub(super) last: String,
}

/// Counts back from this manager's latest try that met such a part to the last runner that could be made, over all pools:
/// they share the parts.
pub(super) fn away(draft: &Draft<'_>) -> Option<Away> {
    let now = draft.world.now;
    let recent = |at: Timestamp| age(now, at) <= AWAY_COUNTS;
    let mut tries: Vec<(Timestamp, Timestamp, Option<&str>)> = Vec::new();
    for runner in draft.world.runners.values().filter(|runner| draft.is_mine(runner)) {
        let failed = failure(runner).filter(|_| runner.blameless && !was_made(runner));
        match failed {
            Some((at, cause)) => tries.push((at, runner.created_at, Some(cause))),
            None => tries.extend(made_at(runner).map(|at| (at, at, None))),
        }
    }
    tries.retain(|(at, ..)| recent(*at));
    tries.sort_unstable();
    let (latest, _, last) = *tries.last()?;
    let last = last?.to_owned();
    let (mut count, mut wave_began) = (0, Timestamp::MAX);
    for (at, began, cause) in tries.into_iter().rev() {
        if cause.is_none() {
            break;
        }
        if at <= wave_began {
            count += 1;
            wave_began = began;
        }
    }
    let wait = doubled(AWAY_FIRST, AWAY_LONGEST, draft.world.host.as_str(), count);
    Some(Away { until: after(latest, wait), last })
}

fn made_at(runner: &Runner) -> Option<Timestamp> {
    runner.history.iter().find(|change| change.to == StateName::Started).map(|change| change.at)
}

fn was_made(runner: &Runner) -> bool {
    made_at(runner).is_some()
}

fn wait(pool: &PoolName, count: u32) -> Duration {
    doubled(FIRST, LONGEST, pool.as_str(), count)
}

/// The wait after so many failures: doubled each time, capped, and moved by up to a fifth so that those who failed together do
/// not come back together. The seed is a name: a replay gives the same.
fn doubled(first: Duration, longest: Duration, name: &str, count: u32) -> Duration {
    let doubled = first.saturating_mul(1_u32.checked_shl(count.saturating_sub(1)).unwrap_or(u32::MAX)).min(longest);
    let jitter = u32::try_from(fnv(&format!("{name}{count}")) % 21).unwrap_or(0);
    doubled + doubled.saturating_mul(jitter) / 100
}

/// Whether GitHub ever gave it a job: then it was a good runner, however it ended.
fn took_a_job(draft: &Draft<'_>, runner: &Runner) -> bool {
    runner.job.is_some() || draft.ran.contains_key(&runner.name)
}

fn is_good(draft: &Draft<'_>, runner: &Runner) -> bool {
    took_a_job(draft, runner) || waits_in_peace(draft, runner)
}

/// Whether it has been up for a while, and GitHub still sees its agent online.
fn waits_in_peace(draft: &Draft<'_>, runner: &Runner) -> bool {
    runner.state.name == StateName::Started
        && draft
            .listing(&runner.scope)
            .filter(|listing| listing.at >= peace_shows_at(runner))
            .and_then(|listing| listing.runners.get(&runner.name))
            .is_some_and(|listed| listed.registration.status == RegistrationStatus::Online)
}

fn peace_shows_at(runner: &Runner) -> Timestamp {
    after(runner.state.since, STEADY)
}

/// The runner that shows whether the pool works again, and when it does at the latest, if it has started.
pub(super) fn probe<'a>(draft: &Draft<'a>, pool: &Pool) -> Option<(&'a RunnerName, Option<Timestamp>)> {
    let runner = draft.supply.get(&pool.name)?.iter().find(|runner| !waits_in_peace(draft, runner))?;
    Some((&runner.name, (runner.state.name == StateName::Started).then(|| peace_shows_at(runner))))
}

/// When and why it failed: an operation on it failed, or it ended by itself before any job.
fn failure(runner: &Runner) -> Option<(Timestamp, &str)> {
    let ended_by_itself = runner.evidence.as_ref().is_some_and(|evidence| evidence.exit_code.is_some());
    let change = runner
        .history
        .iter()
        .find(|change| change.to == StateName::Error || (change.to == StateName::Stopped && ended_by_itself))?;
    Some((change.at, &change.cause))
}
