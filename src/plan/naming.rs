//! Runners' names: derived from job, attempt and try, so that a crash between "registered" and "saved" ends in a 409 that
//! is ours to resolve, never in a ghost; and recognizable as this fleet's, so that ghosts can be swept.

use crate::config::Pool;
use crate::model::{InstanceId, JobKey, RunnerName};

/// `prefix-job-attempt-try-tag`, for instance `linux-41230001-1-1-9c0e`.
pub fn for_job(pool: &Pool, job: JobKey, attempt: usize, fleet: &InstanceId) -> RunnerName {
    RunnerName::new(format!("{}-{}-{}-{attempt}-{}", pool.name_prefix, job.id, job.attempt, tag(fleet)))
}

/// `prefix-spare-number-tag`: a runner that waits for any job.
pub fn for_spare(pool: &Pool, number: usize, fleet: &InstanceId) -> RunnerName {
    RunnerName::new(format!("{}-spare-{number}-{}", pool.name_prefix, tag(fleet)))
}

/// Whether a registration's name was given by this fleet, and by which of the pools.
pub fn given_by<'a>(name: &RunnerName, pools: &'a [Pool], fleet: &InstanceId) -> Option<&'a Pool> {
    let rest = name.as_str().strip_suffix(&tag(fleet))?.strip_suffix('-')?;
    pools.iter().find(|pool| {
        let Some(middle) = rest.strip_prefix(&pool.name_prefix).and_then(|rest| rest.strip_prefix('-')) else {
            return false;
        };
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match middle.split('-').collect::<Vec<_>>().as_slice() {
            ["spare", count] => number(count),
            [job, attempt, attempted] => number(job) && number(attempt) && number(attempted),
            _ => false,
        }
    })
}

/// Four hexadecimal digits of the fleet's name: two fleets with pools of the same prefix in one organization do not
/// take each other's runners for their own.
pub fn tag(fleet: &InstanceId) -> String {
    format!("{:04x}", fnv(fleet.as_str()) & 0xffff)
}

/// FNV-1a: small, stable over versions and machines (unlike the standard library's hasher).
pub(super) fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
