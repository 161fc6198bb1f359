//! What counts for the right to add a runner: sets of jobs and runners, kept beside the rows and rebuilt from them.

use super::row::Row;
use super::tables::{JOBS, RUNNERS};
use crate::model::{HostId, Job, JobId, JobKey, PoolName, Runner, RunnerName, Standing};
use redb::{ReadTransaction, ReadableTable};
use std::collections::{BTreeMap, BTreeSet};

/// The sets. Only the writer has them, so that they change in the same step as the rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    queued: BTreeMap<PoolName, BTreeSet<JobKey>>,
    supply: BTreeMap<PoolName, BTreeSet<RunnerName>>,
    live: BTreeMap<PoolName, BTreeSet<RunnerName>>,
    on_host: BTreeMap<HostId, BTreeSet<RunnerName>>,
}

impl Counted {
    /// The sets that the rows of a file make. A row that cannot be read counts nowhere and is told in the log.
    pub(super) fn read(txn: &ReadTransaction) -> Result<Self, redb::Error> {
        let mut counted = Self::default();
        for entry in ReadableTable::iter(&txn.open_table(JOBS)?)? {
            let (key, value) = entry?;
            match Row::parse(value.value()).read() {
                Ok(job) => counted.job(&job),
                Err(error) => {
                    let (id, attempt) = key.value();
                    let job = JobKey { id: JobId(id), attempt };
                    tracing::warn!(job.id = %job, %error, "the row of job {job} cannot be read and is not counted");
                }
            }
        }
        for entry in ReadableTable::iter(&txn.open_table(RUNNERS)?)? {
            let (key, value) = entry?;
            match Row::parse(value.value()).read() {
                Ok(runner) => counted.runner(&runner),
                Err(error) => {
                    let name = key.value();
                    tracing::warn!(runner.name = name, %error, "the row of `{name}` cannot be read and is not counted");
                }
            }
        }
        Ok(counted)
    }

    /// Puts a job where it counts now, and nowhere else.
    pub(crate) fn job(&mut self, job: &Job) {
        let key = job.key();
        take(&mut self.queued, &key);
        // A pool counts only while the job waits for it.
        if let (true, Some(pool)) = (job.is_queued(), &job.pool) {
            self.queued.entry(pool.clone()).or_default().insert(key);
        }
    }

    /// Puts a runner where it counts now, and nowhere else.
    pub(crate) fn runner(&mut self, runner: &Runner) {
        take(&mut self.supply, &runner.name);
        take(&mut self.live, &runner.name);
        take(&mut self.on_host, &runner.name);
        let standing = runner.standing();
        if standing == Standing::Supply {
            self.supply.entry(runner.pool.clone()).or_default().insert(runner.name.clone());
        }
        if standing != Standing::Gone {
            self.live.entry(runner.pool.clone()).or_default().insert(runner.name.clone());
            self.on_host.entry(runner.owner.clone()).or_default().insert(runner.name.clone());
        }
    }

    /// Jobs that wait for a pool.
    pub(crate) fn queued(&self, pool: &PoolName) -> usize {
        self.queued.get(pool).map_or(0, BTreeSet::len)
    }

    /// Runners of a pool that will take a job.
    pub(crate) fn supply(&self, pool: &PoolName) -> usize {
        self.supply.get(pool).map_or(0, BTreeSet::len)
    }

    /// Runners of a pool that hold a place.
    pub(crate) fn live(&self, pool: &PoolName) -> usize {
        self.live.get(pool).map_or(0, BTreeSet::len)
    }

    /// Runners of all pools that hold a place.
    pub(crate) fn live_in_all(&self) -> usize {
        self.live.values().map(BTreeSet::len).sum()
    }

    /// Runners of one manager that hold a place.
    pub(crate) fn on_host(&self, host: &HostId) -> usize {
        self.on_host.get(host).map_or(0, BTreeSet::len)
    }
}

/// Takes `member` out of whichever set has it; an empty set goes.
fn take<K: Ord, M: Ord>(sets: &mut BTreeMap<K, BTreeSet<M>>, member: &M) {
    sets.retain(|_, set| {
        set.remove(member);
        !set.is_empty()
    });
}
