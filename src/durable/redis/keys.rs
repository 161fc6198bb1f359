//! What things are called in Redis.
//!
//! Every key starts with the configured prefix in braces, `{prefix}:`, so that all lie in one slot and a script may
//! touch several of them.

use crate::model::{HostId, PoolName};

/// The names under one prefix.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    tag: String,
}

impl Keys {
    /// Stream: events that are not acknowledged, each one field `event` with JSON.
    const EVENTS: &str = "events";
    /// Sorted set: deliveries seen, by the moment (in microseconds) they were received.
    const SEEN: &str = "seen";
    /// Hash: job id and attempt to the row: version, queued pool, nothing, and JSON, each in a line.
    const JOBS: &str = "jobs";
    /// Sorted set: jobs that are over, by the moment (in microseconds) they ended.
    const JOBS_OVER: &str = "jobs:over";
    /// Set for each pool: jobs that wait for it.
    const JOBS_QUEUED: &str = "jobs:queued:";
    /// Hash: runner's name to the row: version, pool, owner and JSON, each in a line.
    const RUNNERS: &str = "runners";
    /// Sorted set: removed runners, by the moment (in microseconds) they were removed.
    const RUNNERS_OVER: &str = "runners:over";
    /// Set: runners that hold a place.
    const RUNNERS_LIVE: &str = "runners:live";
    /// The same for each pool.
    const RUNNERS_LIVE_POOL: &str = "runners:live:pool:";
    /// The same for each manager.
    const RUNNERS_LIVE_HOST: &str = "runners:live:host:";
    /// Set for each pool: runners that will take a job.
    const RUNNERS_SUPPLY: &str = "runners:supply:";
    /// Hash: manager to the end of its lease.
    const LEASES: &str = "leases";
    /// Hash: a loop's small text by its name, as a row: version, nothing, nothing and JSON, each in a line.
    const NOTES: &str = "notes";
    /// Channel: every change of a row.
    const CHANGES: &str = "changes";
    /// String: written by pings; lapses by itself.
    const ALIVE: &str = "alive";

    /// The consumer group of the stream.
    pub(crate) const GROUP: &str = "managers";
    /// The field of an entry of the stream.
    pub(crate) const EVENT: &str = "event";

    pub(super) fn new(prefix: &str) -> Self {
        // A prefix with braces of its own says itself what its hash tag is.
        let tag = if prefix.contains('{') { prefix.to_owned() } else { format!("{{{prefix}}}") };
        Self { tag }
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.tag)
    }

    pub(crate) fn events(&self) -> String {
        self.key(Self::EVENTS)
    }

    pub(crate) fn seen(&self) -> String {
        self.key(Self::SEEN)
    }

    pub(crate) fn jobs(&self) -> String {
        self.key(Self::JOBS)
    }

    pub(crate) fn jobs_over(&self) -> String {
        self.key(Self::JOBS_OVER)
    }

    /// Without a pool: what the sets of all pools start with.
    pub(crate) fn jobs_queued(&self, pool: Option<&PoolName>) -> String {
        self.key(Self::JOBS_QUEUED) + pool.map_or("", PoolName::as_str)
    }

    pub(crate) fn runners(&self) -> String {
        self.key(Self::RUNNERS)
    }

    pub(crate) fn runners_over(&self) -> String {
        self.key(Self::RUNNERS_OVER)
    }

    pub(crate) fn runners_live(&self) -> String {
        self.key(Self::RUNNERS_LIVE)
    }

    /// Without a pool: what the sets of all pools start with.
    pub(crate) fn runners_live_pool(&self, pool: Option<&PoolName>) -> String {
        self.key(Self::RUNNERS_LIVE_POOL) + pool.map_or("", PoolName::as_str)
    }

    /// Without a manager: what the sets of all managers start with.
    pub(crate) fn runners_live_host(&self, host: Option<&HostId>) -> String {
        self.key(Self::RUNNERS_LIVE_HOST) + host.map_or("", HostId::as_str)
    }

    /// Without a pool: what the sets of all pools start with.
    pub(crate) fn runners_supply(&self, pool: Option<&PoolName>) -> String {
        self.key(Self::RUNNERS_SUPPLY) + pool.map_or("", PoolName::as_str)
    }

    pub(crate) fn leases(&self) -> String {
        self.key(Self::LEASES)
    }

    pub(crate) fn notes(&self) -> String {
        self.key(Self::NOTES)
    }

    pub(crate) fn changes(&self) -> String {
        self.key(Self::CHANGES)
    }

    pub(super) fn alive(&self) -> String {
        self.key(Self::ALIVE)
    }
}
