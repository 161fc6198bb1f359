//! The store: what is known of jobs and runners, kept over restarts and shared by the managers of one fleet.
//!
//! Two implementations, [`embedded`] and [`redis`], and one set of contract tests. Every write is a
//! compare-and-set on the row's version. The right to add a runner is taken atomically ([`Store::reserve`]).

pub mod embedded;
mod feed;
pub mod redis;

pub(crate) use feed::Feeds;

use crate::model::{HostId, Job, JobKey, PoolName, Runner, RunnerName};
use async_trait::async_trait;
use jiff::Timestamp;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

/// A row's version: 0 means "not there yet"; each write adds 1.
pub type Version = u64;

/// A row with its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The version that was read (when writing: the version that must still stand).
    pub version: Version,
    /// The row.
    pub row: T,
}

/// What became of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saved<T> {
    /// Written; the row's version now.
    Saved(Version),
    /// Somebody else wrote it first: this is what stands now (`None`: it is gone). Read, decide again, write again.
    Stale(Option<Versioned<T>>),
}

/// Everything, as of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Jobs by key.
    pub jobs: BTreeMap<JobKey, Versioned<Job>>,
    /// Runners by name, removed ones that have not aged out among them.
    pub runners: BTreeMap<RunnerName, Versioned<Runner>>,
    /// Until when each manager's lease holds.
    pub leases: BTreeMap<HostId, Timestamp>,
}

/// A change that somebody (this process too) made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreChange {
    /// A job's row was written.
    Job(Versioned<Job>),
    /// A runner's row was written.
    Runner(Versioned<Runner>),
    /// A job's row aged out.
    JobForgotten(JobKey),
    /// A runner's row aged out.
    RunnerForgotten(RunnerName),
    /// Changes may have been missed (the connection broke): load everything again.
    Missed,
}

/// The wish to add one runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// The row to write, in state `created`. That of a persistent runner needs no demand, and its pool has no bound of its
    /// own beside its number.
    pub runner: Runner,
    /// The version of the removed row in whose place it comes (a persistent runner keeps its name); 0 where there is none.
    pub seen: Version,
    /// The pool's `min_idle`, added to its queued jobs.
    pub min_idle: u32,
    /// The pool's `max`.
    pub pool_max: u32,
    /// The fleet's `limits.max_runners`.
    pub fleet_max: u32,
    /// This host's `max_runners`.
    pub host_max: u32,
}

/// What became of the wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// The row is written, with this version: go on.
    Granted(Version),
    /// Another row of that name is there than was seen (removed ones count).
    NameTaken,
    /// Queued jobs of the pool + `min_idle` are not more than its runners on their way or idle: somebody else was first.
    Covered,
    /// One of the bounds is reached.
    Full,
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
#[error("the store is not available: {0}")]
pub struct StoreError(pub String);

/// Durable memory for jobs and runners.
#[async_trait]
pub trait Store: Send + Sync {
    /// Everything. A row that cannot be read is left out and told in the log, never deleted.
    async fn load(&self) -> Result<Snapshot, StoreError>;

    /// Writes job rows, each by compare-and-set on its own; answers in the order of `rows`. The set of queued jobs of a
    /// pool (for [`Store::reserve`]) changes in the same step as the row.
    async fn save_jobs(&self, rows: Vec<Versioned<Job>>) -> Result<Vec<Saved<Job>>, StoreError>;

    /// Writes one runner row by compare-and-set. How it counts ([`Runner::standing`]) changes in the same step.
    async fn save_runner(&self, row: Versioned<Runner>) -> Result<Saved<Runner>, StoreError>;

    /// Takes the right to add one runner to a pool: atomically, in the store, against the pool's queued set, its
    /// supply and all bounds. So two managers never both serve one deficit.
    async fn reserve(&self, wish: Reservation) -> Result<Reserved, StoreError>;

    /// Says until when this manager is alive. Others see it in [`Snapshot::leases`].
    async fn renew_lease(&self, host: &HostId, until: Timestamp) -> Result<(), StoreError>;

    /// A feed of all changes from now on. Never blocks a writer; a reader that falls behind or was cut off gets
    /// [`StoreChange::Missed`].
    async fn changes(&self) -> Result<mpsc::Receiver<StoreChange>, StoreError>;

    /// A note: a small text of some loop of the program, by its name. None where there is none.
    async fn note(&self, key: &str) -> Result<Option<Versioned<String>>, StoreError>;

    /// Writes a note by compare-and-set: `expected` is the version that must still stand, 0 where there must be none. So of
    /// two managers that write the same note one is told that the other was first.
    async fn set_note(&self, key: &str, value: &str, expected: Version) -> Result<Saved<String>, StoreError>;

    /// Deletes completed jobs and removed runners ([`Runner::over_since`]) whose state is older than `before`. Returns how many
    /// rows went.
    async fn forget(&self, before: Timestamp) -> Result<u64, StoreError>;

    /// Whether a write would be durable now.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Whether a job counts in its pool's queued set.
pub fn queued_in(job: &Job) -> Option<&PoolName> {
    if job.is_queued() { job.pool.as_ref() } else { None }
}
