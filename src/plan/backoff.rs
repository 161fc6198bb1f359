//! A pool whose runners fail is tried less and less often, and says why.
//!
//! The count comes from the rows of its ended runners, so it survives a restart and is the same for every manager.

use super::Draft;
use super::naming::fnv;
use crate::config::Pool;
use crate::model::{PoolName, Runner, StateName, after};
use jiff::Timestamp;
use std::time::Duration;

/// The wait after the first failure: a single runner that died is replaced almost at once.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait: a pool that is repaired works again after at most this time, and a broken one costs twelve calls an hour.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// After so many failures in a row, one runner at a time is tried until one takes a job.
pub(super) const PROBE_FROM: u32 = 3;

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

/// Counts back from the latest ended runner of a pool to the last one that took a job.
pub(super) fn failures(draft: &Draft<'_>, pool: &Pool) -> Failures {
    let granted = draft.world.granted.get(&pool.scope.account().to_lowercase()).copied();
    let pool = &pool.name;
    let mut ended: Vec<&Runner> = draft
        .world
        .runners
        .values()
        .map(AsRef::as_ref)
        .filter(|runner| runner.pool == *pool && !runner.blameless)
        .filter(|runner| took_a_job(draft, runner) || failure(runner).is_some())
        .collect();
    ended.sort_by_key(|runner| (failure(runner).map_or(runner.state.since, |(at, _)| at), &runner.name));
    let mut found = Failures::default();
    let mut latest = None;
    let mut wave_began = Timestamp::MAX;
    for runner in ended.into_iter().rev() {
        if took_a_job(draft, runner) {
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

/// The wait after so many failures: doubled each time, capped, and moved by up to a fifth so that pools which failed
/// together do not come back together. The seed is the pool's name: a replay gives the same.
fn wait(pool: &PoolName, count: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1_u32.checked_shl(count.saturating_sub(1)).unwrap_or(u32::MAX)).min(LONGEST);
    let jitter = u32::try_from(fnv(&format!("{pool}{count}")) % 21).unwrap_or(0);
    doubled + doubled.saturating_mul(jitter) / 100
}

/// Whether GitHub ever gave it a job: then it was a good runner, however it ended.
fn took_a_job(draft: &Draft<'_>, runner: &Runner) -> bool {
    runner.job.is_some() || draft.ran.contains_key(&runner.name)
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
