//! Where the verbs beside `serve` look: a running `serve` over its local socket; else the store, Docker and GitHub
//! themselves.

use crate::admin;
use crate::app::{Parts, open_store};
use crate::config::{Backend, Config};
use crate::durable::embedded;
use crate::model::{Observed, RunnerName};
use crate::overview::{Overview, overview};
use crate::provider::ContainerNews;
use crate::queue::Queue;
use crate::reconcile::feeds;
use crate::removal::{RemoveOutcome, remove_one};
use crate::store::Store;
use anyhow::Context;
use std::sync::Arc;

/// What a verb is about to do there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing is changed: without a store it is told from Docker and GitHub alone, and nothing is made on disk.
    Look,
    /// Something is changed: the store is made where there is none, and a store that is held stops the verb.
    Change,
}

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
        let is_new = matches!(&config.store.backend, Backend::Embedded { path } if !path.exists());
        let mut note = None;
        let (queue, store) = match (need, is_new) {
            (Need::Look, true) => nowhere()?,
            (Need::Change, _) => open_store(&config)?,
            (Need::Look, false) => match open_store(&config) {
                Ok(opened) => opened,
                Err(error) => {
                    note =
                        Some(format!("shown from Docker and GitHub alone; the store cannot be opened: {error:#}"));
                    nowhere()?
                }
            },
        };
        let parts = Parts::join(config, queue, store)?;
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
        Ok(Self::Alone { parts: Box::new(parts), note })
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
            Self::Alone { parts, .. } => Ok(overview(&parts.memory.world(), &parts.config)),
        }
    }

    /// Removes one runner.
    pub(super) async fn remove(&self, runner: &RunnerName, force: bool) -> anyhow::Result<RemoveOutcome> {
        match self {
            Self::Serve(client) => Ok(client.remove(runner, force).await?),
            Self::Alone { parts, .. } => Ok(remove_one(&parts.memory, &parts.executor, runner, force).await),
        }
    }
}

/// A store that is gone with this process.
fn nowhere() -> anyhow::Result<(Arc<dyn Queue>, Arc<dyn Store>)> {
    let db = embedded::in_memory().context("preparing an empty store")?;
    Ok((db.queue(), db.store()))
}
