//! Where the verbs beside `serve` look: a running `serve` over its local socket; else the store, Docker and GitHub
//! themselves.

use super::complain;
use crate::admin;
use crate::app::{Parts, open_store};
use crate::config::{Backend, Config};
use crate::durable::embedded;
use crate::model::{Observed, RunnerName};
use crate::overview::{Overview, overview};
use crate::provider::ContainerNews;
use crate::reconcile::feeds;
use crate::removal::{RemoveOutcome, remove_one};
use anyhow::Context;
use std::sync::Arc;

/// Where to look.
pub(super) enum Source {
    /// A running `serve`.
    Serve(admin::client::Client),
    /// No `serve` runs here.
    Alone(Box<Parts>),
}

impl Source {
    /// Finds out.
    pub(super) async fn find(config: Config) -> anyhow::Result<Self> {
        if let Some(client) = admin::client::Client::connect(&config.http.admin_socket).await {
            return Ok(Self::Serve(client));
        }
        let config = Arc::new(config);
        let is_new = matches!(&config.store.backend, Backend::Embedded { path } if !path.exists());
        // No store yet: nothing is made on disk just to look.
        let opened = if is_new { Err(anyhow::anyhow!("there is none yet")) } else { open_store(&config) };
        let (queue, store) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if !is_new {
                    complain(&format!(
                        "note: shown from Docker and GitHub alone; the store cannot be opened: {error:#}"
                    ));
                }
                let db = embedded::in_memory().context("preparing an empty store")?;
                (db.queue(), db.store())
            }
        };
        let parts = Parts::join(config, queue, store, None)?;
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
        Ok(Self::Alone(Box::new(parts)))
    }

    /// What is there.
    pub(super) async fn overview(&self) -> anyhow::Result<Overview> {
        match self {
            Self::Serve(client) => Ok(client.overview().await?),
            Self::Alone(parts) => {
                Ok(overview(&parts.memory.world(), &parts.keeper.config(), &parts.keeper.images().await))
            }
        }
    }

    /// Removes one runner.
    pub(super) async fn remove(&self, runner: &RunnerName, force: bool) -> anyhow::Result<RemoveOutcome> {
        match self {
            Self::Serve(client) => Ok(client.remove(runner, force).await?),
            Self::Alone(parts) => Ok(remove_one(&parts.memory, &parts.executor, &parts.keeper, runner, force).await),
        }
    }
}
