//! Where the verbs beside `serve` look: a running `serve` over its local socket; else the store, Docker and GitHub
//! themselves.

use super::from_file;
use crate::admin;
use crate::app::{Parts, open_store};
use crate::config::{Backend, Config};
use crate::durable::embedded::{self, OpenError};
use crate::model::{Observed, PoolName, RunnerName};
use crate::overview::{Overview, overview};
use crate::persistent::{Change, Order, Progress};
use crate::provider::docker::Docker;
use crate::provider::{ContainerNews, Provider};
use crate::reconcile::feeds;
use crate::removal::{RemoveOutcome, remove_one};
use anyhow::Context;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A store that another process holds is tried again for so long.
const LOOKING: Duration = Duration::from_secs(3);

/// How often.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a verb is about to do there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing is changed: without a store it is told from Docker and GitHub alone, and nothing is made on disk.
    Look,
    /// Something is changed: the store is made where there is none, and a store that is held stops the verb.
    Change,
}

/// Notifications that are still on their way when a verb is done have so long.
pub(super) const LAST_NOTICES: Duration = Duration::from_secs(10);

/// Where to look.
pub(super) enum Source {
    /// A running `serve`.
    Serve(admin::client::Client),
    /// No `serve` runs here.
    Alone {
        /// All that is needed.
        parts: Box<Parts>,
        /// What the reader should know of it.
        note: Option<String>,
    },
}

impl Source {
    /// Finds out.
    pub(super) async fn find(config: Arc<Config>, need: Need) -> anyhow::Result<Self> {
        if let Some(client) = admin::client::Client::connect(&config.http.admin_socket).await {
            return Ok(Self::Serve(client));
        }
        let until = Instant::now() + LOOKING;
        let is_new = matches!(&config.store.backend, Backend::Embedded { path } if !path.exists());
        let mut note = None;
        // A store that is gone with this process.
        let nowhere = || {
            let db = embedded::in_memory().context("preparing an empty store")?;
            anyhow::Ok((db.queue(), db.store()))
        };
        let (queue, store) = loop {
            let opened = if need == Need::Look && is_new { nowhere() } else { open_store(&config) };
            match opened {
                Ok(opened) => break opened,
                // Another command may only look something up, or a `serve` may have started just now.
                Err(error) if is_in_use(&error) && Instant::now() < until => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    if let Some(client) = admin::client::Client::connect(&config.http.admin_socket).await {
                        return Ok(Self::Serve(client));
                    }
                }
                Err(error) if need == Need::Look => {
                    note = Some(format!("shown from Docker and GitHub alone; the store cannot be opened: {error:#}"));
                    break nowhere()?;
                }
                Err(error) if is_in_use(&error) => {
                    return Err(error.context(
                        "another runnerfleet command works with the store: wait for its end, or run `runnerfleet serve`, \
                         through which any number of them work",
                    ));
                }
                Err(error) => return Err(error),
            }
        };
        let file = from_file(&config);
        let parts = Parts::join(config, queue, store, Some(&file))?;
        if let Err(error) = feeds::read_store(parts.store.as_ref(), &parts.memory).await {
            // The view says so.
            parts.memory.lose_store(error.to_string());
        }
        parts.memory.apply_container(match parts.provider.list().await {
            Ok(list) => ContainerNews::All(list),
            Err(error) => ContainerNews::Lost(error.to_string()),
        });
        parts.memory.set_capacity(match parts.provider.capacity().await {
            Ok(capacity) => Observed::Known(capacity),
            Err(error) => Observed::Unknown(error.to_string()),
        });
        for scope in feeds::scopes(&parts.config) {
            feeds::list_registrations(&parts.client, &parts.memory, &scope, &mut true).await;
        }
        // Nobody wrote down meanwhile what became of persistent runners.
        parts.keeper.follow().await;
        Ok(Self::Alone { parts: Box::new(parts), note })
    }

    /// Sends the notifications that are still there. At the end of a verb that changes something.
    pub(super) async fn finish(&self) {
        if let Self::Alone { parts, .. } = self {
            parts.notifier.finish(LAST_NOTICES).await;
        }
    }

    /// Whether a `serve` answers.
    pub(super) fn is_served(&self) -> bool {
        matches!(self, Self::Serve(_))
    }

    /// What the reader of its answers should know: a store that could not be opened, parts that could not be looked at.
    pub(super) fn notes(&self, overview: &Overview) -> Vec<String> {
        let own = match self {
            Self::Serve(_) => None,
            Self::Alone { note, .. } => note.clone(),
        };
        let unknown = overview.unknown.iter().map(|(part, why)| format!("{part} cannot be looked at: {why}"));
        own.into_iter().chain(unknown).map(|note| format!("note: {note}")).collect()
    }

    /// What is there.
    pub(super) async fn overview(&self) -> anyhow::Result<Overview> {
        match self {
            Self::Serve(client) => Ok(client.overview().await?),
            Self::Alone { parts, .. } => {
                let images = parts.keeper.images().await;
                Ok(overview(&parts.memory.world(), &parts.keeper.config(), &images))
            }
        }
    }

    /// What a deploy would do with these pools; with all, also those that are gone from the file, where none is given.
    ///
    /// # Errors
    /// The engine cannot be looked at, or `serve` does not answer.
    pub(super) async fn difference(&self, pools: &[PoolName]) -> anyhow::Result<Vec<Change>> {
        match self {
            Self::Serve(client) => Ok(client.difference(pools).await?),
            Self::Alone { parts, .. } => Ok(parts.keeper.difference(pools).await?),
        }
    }

    /// Carries an order out, and tells of each runner as it goes.
    ///
    /// # Errors
    /// The order is not begun, or `serve` does not answer to its end.
    pub(super) async fn carry_out(&self, order: Order, progress: mpsc::Sender<Progress>) -> anyhow::Result<()> {
        match self {
            Self::Serve(client) => Ok(client.carry_out(&order, progress).await?),
            Self::Alone { parts, .. } => Ok(parts.keeper.carry_out(order, progress).await?),
        }
    }

    /// Removes one runner that lives for one job.
    pub(super) async fn remove(&self, runner: &RunnerName, force: bool) -> anyhow::Result<RemoveOutcome> {
        match self {
            Self::Serve(client) => Ok(client.remove(runner, force).await?),
            Self::Alone { parts, .. } => {
                Ok(remove_one(&parts.memory, &parts.executor, &parts.keeper, runner, force).await)
            }
        }
    }
}

/// Whether another process holds the store.
fn is_in_use(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(OpenError::InUse(_)))
}

/// This machine's engine.
///
/// # Errors
/// Its address cannot be read.
pub(super) fn engine(config: &Config) -> anyhow::Result<Arc<dyn Provider>> {
    let docker = Docker::connect(&config.docker, &config.instance, &config.host).context("preparing Docker")?;
    Ok(Arc::new(docker))
}
