//! What GitHub sent and never arrived here, and what it never sent: found and made good without a person.
//!
//! Two loops. `read` reads GitHub's log of the App's deliveries, fetches what never was here and puts it through the steps of a
//! delivery that came by itself: [`crate::webhook::judge`], queue, ingest. It needs no way from GitHub to us, so with
//! `intake: pull` it is all the intake that there is. `list` lists the open runs of repositories in which something happened of
//! late, and finds jobs of which GitHub told nothing at all. What either of them finds is decided by pure functions (`log`,
//! `jobs`, `share`), and the place up to which the log was read is a note in the store, so that of several managers one reads.

mod jobs;
mod list;
mod log;
mod read;
pub mod report;
mod share;
mod turn;

use crate::config::Config;
use crate::github::{Client, Error};
use crate::model::age;
use crate::queue::{Queue, QueueError};
use crate::reconcile::memory::Memory;
use crate::store::{Store, StoreError};
use jiff::Timestamp;
use report::Missed;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What both loops need.
#[derive(Clone)]
pub struct Parts {
    /// Pools, rhythms, who we are.
    pub config: Arc<Config>,
    /// Where events go.
    pub queue: Arc<dyn Queue>,
    /// Where it is written down how far the log was read.
    pub store: Arc<dyn Store>,
    /// GitHub.
    pub client: Client,
    /// Which jobs and runners are known.
    pub memory: Arc<Memory>,
}

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// GitHub.
    #[error(transparent)]
    GitHub(#[from] Error),
    /// The note was written by somebody else: another manager is at it.
    #[error("another manager took it over")]
    Overtaken,
}

impl Trouble {
    /// How long it is left alone: as long as GitHub says, or `pause`; what a person has to mend is tried no more often than each
    /// minute.
    fn pause(&self, pause: Duration, now: Timestamp) -> Duration {
        match self {
            Self::GitHub(Error::RateLimited { until, .. }) => age(*until, now).max(pause),
            Self::GitHub(error) if !error.is_transient() => pause.max(share::MINUTE),
            Self::GitHub(_) | Self::Store(_) | Self::Queue(_) | Self::Overtaken => pause,
        }
    }
}

/// Reads GitHub's log again and again until `stop`. Where the configuration has no rhythm for it, it ends at once.
pub async fn read_log(parts: Parts, missed: Missed, stop: CancellationToken) {
    let Some(every) = parts.config.github.poll_deliveries else { return };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = read::follow(parts, missed, every) => {}
    }
}

/// Lists the queued jobs of active repositories again and again until `stop`. Where the configuration has no rhythm for it, or
/// no pool makes runners for jobs, it ends at once.
pub async fn list_jobs(parts: Parts, missed: Missed, stop: CancellationToken) {
    let Some(every) = parts.config.github.poll_jobs else { return };
    if parts.config.ephemeral_pools().next().is_none() {
        return;
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = list::follow(parts, missed, every) => {}
    }
}
