//! What keeps the memory current: the store's changes, the engine's events, GitHub's list on a rhythm of its own, the lease,
//! and what ages out. Each feed heals by itself and ends with `stop`.

use super::memory::{Asked, Memory};
use crate::clock;
use crate::config::Config;
use crate::github::{self, Client};
use crate::model::{Observed, Scope, after};
use crate::provider::Provider;
use crate::queue::Queue;
use crate::store::{Store, StoreChange, StoreError};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// The pause before a feed that broke is opened again.
const REOPEN: Duration = Duration::from_secs(1);

/// The store is read whole so often, whatever its changes said.
const RELOAD: Duration = Duration::from_secs(60);

/// The lease is renewed so often while it lasts: a manager that misses three renewals is dead to the others.
const RENEWALS: u32 = 4;

/// Memory and disk of the engine's host are looked at so often.
const CAPACITY: Duration = Duration::from_secs(15);

/// GitHub's list is not asked for more often than this, however unclear things are.
const LIST_AT_MOST: Duration = Duration::from_secs(5);

/// Old rows and marks are deleted so often.
const AGE_OUT: Duration = Duration::from_secs(10 * 60);

/// The scopes of all pools.
pub fn scopes(config: &Config) -> BTreeSet<Scope> {
    config.pools.iter().map(|pool| pool.scope.clone()).collect()
}

/// Keeps jobs and runners current.
pub async fn store(store: Arc<dyn Store>, memory: Arc<Memory>, stop: CancellationToken) {
    let mut told = false;
    until(&stop, async {
        loop {
            match follow_store(store.as_ref(), &memory, &mut told).await {
                Ok(()) => debug!("the store's feed ended; opening it again"),
                Err(why) => {
                    if !std::mem::replace(&mut told, true) {
                        warn!("the store does not answer: {why}");
                    }
                    memory.lose_store(why);
                }
            }
            tokio::time::sleep(REOPEN).await;
        }
    })
    .await;
}

async fn follow_store(store: &dyn Store, memory: &Memory, told: &mut bool) -> Result<(), String> {
    // The feed is opened before the rows are read, so that no change falls in between.
    let mut changes = store.changes().await.map_err(|error| error.to_string())?;
    read_store(store, memory).await.map_err(|error| error.to_string())?;
    if std::mem::take(told) {
        info!("the store answers again");
    }
    let mut reload = tokio::time::interval_at(tokio::time::Instant::now() + RELOAD, RELOAD);
    loop {
        tokio::select! {
            biased;
            _ = reload.tick() => read_store(store, memory).await.map_err(|error| error.to_string())?,
            change = changes.recv() => match change {
                Some(StoreChange::Missed) => read_store(store, memory).await.map_err(|error| error.to_string())?,
                Some(change) => memory.apply(change),
                None => return Ok(()),
            },
        }
    }
}

/// Reads the store whole.
///
/// # Errors
/// It does not answer.
pub async fn read_store(store: &dyn Store, memory: &Memory) -> Result<(), StoreError> {
    let asked = memory.asking();
    memory.load(asked, store.load().await?);
    Ok(())
}

/// Says that this manager lives, and reads who else does. The lease lasts as long as an event that was handed to this manager
/// is its own: whoever is silent for longer is dead to the others, for both.
pub async fn lease(store: Arc<dyn Store>, memory: Arc<Memory>, config: Arc<Config>, stop: CancellationToken) {
    let lasts = config.store.visibility_timeout;
    until(&stop, async {
        loop {
            let pause = match renew(store.as_ref(), &memory, &config, lasts).await {
                Ok(()) => lasts / RENEWALS,
                Err(error) => {
                    debug!("the lease was not renewed: {error}");
                    REOPEN.min(lasts / RENEWALS)
                }
            };
            tokio::time::sleep(pause).await;
        }
    })
    .await;
}

async fn renew(store: &dyn Store, memory: &Memory, config: &Config, lasts: Duration) -> Result<(), StoreError> {
    let until = after(clock::now(), lasts);
    store.renew_lease(&config.host, until).await?;
    if memory.knows_other_managers() {
        memory.set_leases(store.load().await?.leases);
    } else {
        memory.set_own_lease(until);
    }
    Ok(())
}

/// Keeps containers current.
pub async fn containers(provider: Arc<dyn Provider>, memory: Arc<Memory>, stop: CancellationToken) {
    until(&stop, async {
        loop {
            let mut news = provider.watch();
            while let Some(news) = news.recv().await {
                memory.apply_container(news);
            }
            tokio::time::sleep(REOPEN).await;
        }
    })
    .await;
}

/// Keeps the host's memory and disk current.
pub async fn capacity(provider: Arc<dyn Provider>, memory: Arc<Memory>, stop: CancellationToken) {
    until(&stop, async {
        let mut look = tokio::time::interval(CAPACITY);
        loop {
            look.tick().await;
            let capacity = match provider.capacity().await {
                Ok(capacity) => Observed::Known(capacity),
                Err(error) => Observed::Unknown(error.to_string()),
            };
            memory.set_capacity(capacity);
        }
    })
    .await;
}

/// Keeps GitHub's list of one scope current.
pub async fn registrations(
    client: Client,
    memory: Arc<Memory>,
    config: Arc<Config>,
    scope: Scope,
    stop: CancellationToken,
) {
    until(&stop, async {
        let mut told = false;
        loop {
            list_registrations(&client, &memory, &scope, &mut told).await;
            tokio::time::sleep(LIST_AT_MOST).await;
            tokio::select! {
                biased;
                () = tokio::time::sleep(config.github.poll_runners.saturating_sub(LIST_AT_MOST)) => {}
                () = memory.github_asked_for() => {}
            }
        }
    })
    .await;
}

/// Reads GitHub's list of a scope once.
pub async fn list_registrations(client: &Client, memory: &Memory, scope: &Scope, told: &mut bool) {
    // What began while the answer was on its way is not in it.
    let asked_at = clock::now();
    match client.runners(scope).await {
        Ok(list) => {
            memory.set_registrations(scope, asked_at, list);
            memory.unblock_github(scope, Asked::Other);
            if std::mem::take(told) {
                info!(%scope, "GitHub's list of runners of {scope} can be read again");
            }
        }
        Err(error) => {
            if !std::mem::replace(told, true) {
                warn!(%scope, "GitHub's list of runners of {scope} cannot be read: {error}");
            }
            note_outage(memory, scope, Asked::Other, &error);
            memory.lose_registrations(scope, error.to_string());
        }
    }
}

/// Leaves GitHub alone for a while where the error says so.
pub fn note_outage(memory: &Memory, scope: &Scope, asked: Asked, error: &github::Error) {
    match error {
        github::Error::RateLimited { until, .. } => memory.block_github(scope, asked, Some(*until), error.to_string()),
        github::Error::Unavailable { .. } => memory.block_github(scope, asked, None, error.to_string()),
        _ => {}
    }
}

/// Deletes what is older than the configured times.
pub async fn age_out(store: Arc<dyn Store>, queue: Arc<dyn Queue>, config: Arc<Config>, stop: CancellationToken) {
    until(&stop, async {
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + AGE_OUT, AGE_OUT);
        loop {
            look.tick().await;
            let now = clock::now();
            match store.forget(before(now, config.store.retention)).await {
                Ok(0) => {}
                Ok(rows) => debug!("{rows} old rows aged out"),
                Err(error) => debug!("old rows were not deleted: {error}"),
            }
            if let Err(error) = queue.forget(before(now, config.intake.dedupe_ttl)).await {
                debug!("old marks of deliveries were not deleted: {error}");
            }
        }
    })
    .await;
}

fn before(now: Timestamp, by: Duration) -> Timestamp {
    now.checked_sub(by).unwrap_or(Timestamp::MIN)
}

async fn until(stop: &CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = work => {}
    }
}

/// Makes what the runners of the configured networks share, as soon as the engine can be reached.
pub async fn networks(provider: Arc<dyn Provider>, config: Arc<Config>, stop: CancellationToken) {
    until(&stop, async {
        let wanted: BTreeSet<_> = config.pools.iter().map(|pool| pool.network.clone()).collect();
        for network in wanted {
            let mut told = false;
            while let Err(error) = provider.prepare(&network).await {
                if !std::mem::replace(&mut told, true) {
                    warn!("the runners' network cannot be made yet: {error}");
                }
                tokio::time::sleep(REOPEN).await;
            }
        }
    })
    .await;
}
