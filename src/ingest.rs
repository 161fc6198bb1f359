//! Loop 1: queue -> `Job::apply` -> save -> acknowledge -> wake.
//!
//! What cannot be saved is not acknowledged and comes again. It knows nothing of Docker or GitHub's API.

use crate::clock;
use crate::config::Config;
use crate::model::{Applied, Job, JobEvent, JobKey, RunFacts};
use crate::plan::match_pool;
use crate::queue::{Queue, Received};
use crate::reconcile::memory::Memory;
use crate::store::{Saved, Store, StoreError, Version, Versioned};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// Events taken at once: they share one write of the store.
const BATCH: usize = 256;

/// Somebody else writes the same job's row at most so often in between; more means that something is broken.
const TRIES: usize = 8;

/// The wait after queue or store did not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// Applies events until `stop`.
pub async fn run(
    config: Arc<Config>,
    queue: Arc<dyn Queue>,
    store: Arc<dyn Store>,
    memory: Arc<Memory>,
    stop: CancellationToken,
) {
    let mut told = false;
    loop {
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            received = queue.receive(BATCH) => received,
        };
        let result = match received {
            Ok(batch) => apply_batch(&config, queue.as_ref(), store.as_ref(), &memory, batch).await,
            Err(error) => Err(error.to_string()),
        };
        match result {
            Ok(()) => told = false,
            Err(why) => {
                if !std::mem::replace(&mut told, true) {
                    warn!("events wait in the queue: {why}");
                }
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }
}

async fn apply_batch(
    config: &Config,
    queue: &dyn Queue,
    store: &dyn Store,
    memory: &Memory,
    batch: Vec<Received>,
) -> Result<(), String> {
    let mut by_job: BTreeMap<JobKey, Vec<JobEvent>> = BTreeMap::new();
    for received in &batch {
        match &received.event {
            Ok(queued) => by_job.entry(queued.event.job.key).or_default().push(queued.event.clone()),
            Err(text) => error!("dropped an event that cannot be read: {text}"),
        }
    }
    apply_events(config, store, memory, by_job).await.map_err(|error| error.to_string())?;
    let ids: Vec<_> = batch.into_iter().map(|received| received.id).collect();
    queue.ack(&ids).await.map_err(|error| error.to_string())
}

/// Applies events to their jobs' rows, by compare-and-set: whoever was written in between is read again.
///
/// # Errors
/// The store did not answer; nothing is lost, since nothing was acknowledged.
pub async fn apply_events(
    config: &Config,
    store: &dyn Store,
    memory: &Memory,
    mut open: BTreeMap<JobKey, Vec<JobEvent>>,
) -> Result<(), StoreError> {
    let mut fresh: BTreeMap<JobKey, (Version, Option<Arc<Job>>)> = BTreeMap::new();
    for _ in 0..TRIES {
        let mut rows = Vec::new();
        for (key, events) in &open {
            let (version, known) = fresh.get(key).cloned().unwrap_or_else(|| memory.job(*key));
            let run = || events.first().and_then(|event| memory.run(event.job.run_id));
            if let Some(row) = apply_all(config, known.as_deref(), events, run) {
                rows.push(Versioned { version, row });
            }
        }
        open.retain(|key, _| rows.iter().any(|row| row.row.key() == *key));
        if rows.is_empty() {
            return Ok(());
        }
        for (row, saved) in rows.clone().into_iter().zip(store.save_jobs(rows).await?) {
            let key = row.row.key();
            match saved {
                Saved::Saved(version) => {
                    debug!(job.id = %key, "job {key} is {}", row.row.state.word());
                    open.remove(&key);
                    memory.put_job(Versioned { version, row: row.row });
                }
                Saved::Stale(Some(current)) => {
                    fresh.insert(key, (current.version, Some(Arc::new(current.row.clone()))));
                    memory.put_job(current);
                }
                Saved::Stale(None) => {
                    fresh.insert(key, (0, None));
                    memory.drop_job(key);
                }
            }
        }
        if open.is_empty() {
            return Ok(());
        }
    }
    Err(StoreError(format!("{} jobs were written by others {TRIES} times in a row", open.len())))
}

/// The row after all of its events, or none when they change nothing. `run` is what is known of its run from other jobs of it.
fn apply_all(
    config: &Config,
    known: Option<&Job>,
    events: &[JobEvent],
    run: impl FnOnce() -> Option<RunFacts>,
) -> Option<Job> {
    let mut changed: Option<Job> = None;
    for event in events {
        match Job::apply(changed.as_ref().or(known), event, clock::now()) {
            Applied::Changed(job) => changed = Some(*job),
            Applied::Unchanged => {}
        }
    }
    let mut job = changed?;
    job.run = job.run.or_else(run);
    job.pool = match_pool(&job.facts, job.run.as_ref(), config).pool().map(|pool| pool.name.clone());
    Some(job)
}
