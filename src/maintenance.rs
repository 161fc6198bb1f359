//! What the scheduler does: looks for newer base images, builds, deploys. The same steps as the verbs of a person, on the
//! file as it is at that moment.

use crate::config::{Config, Pool, Task};
use crate::images::{Kind, NewsKind, Options, ensure_and_tell};
use crate::model::PoolName;
use crate::notify::Notifier;
use crate::persistent::{self, Change, ChangeKind, Keeper, Order, OutcomeKind, Progress, Reread, Verb};
use crate::provider::docker::Docker;
use crate::registry::Client;
use crate::scheduler::{ActionError, Actions, BuildResult, CheckResult, DeployResult};
use crate::update::{BaseImage, Environment, Hands, Keepers, Parts, Update, apply, check};
use async_trait::async_trait;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

/// News that wait for the log.
const WAITING: usize = 64;

/// The scheduler's hands.
pub struct Maintenance {
    /// The engine, with the logins of registries.
    pub docker: Docker,
    /// Registries.
    pub registries: Client,
    /// Whoever keeps the persistent runners.
    pub keeper: Keeper,
    /// Who wants to know.
    pub notifier: Notifier,
    /// Reads the file.
    pub reread: Reread,
    /// For the `${…}` of the file.
    pub env: Environment,
    /// What the last look found.
    pub found: Mutex<Vec<Update>>,
}

#[async_trait]
impl Keepers for Keeper {
    async fn difference(&self, pool: &PoolName) -> Result<Vec<Change>, String> {
        Self::difference(self, std::slice::from_ref(pool)).await.map_err(|refused| refused.to_string())
    }

    async fn carry_out(&self, order: Order, progress: mpsc::Sender<Progress>) -> Result<(), String> {
        Self::carry_out(self, order, progress).await.map_err(|refused| refused.to_string())
    }
}

impl Maintenance {
    /// The file as it is now.
    fn config(&self) -> Result<Config, ActionError> {
        (self.reread)().map_err(|problems| ActionError(format!("the file has problems: {problems}")))
    }

    /// One update, with the runners where deploying is among the scheduler's actions; else up to the file.
    async fn take(&self, config: &Config, update: &Update, deploys: bool) -> Result<(), ActionError> {
        let tell = |what: &str, text: &str| info!("base image update: {what}: {text}");
        let hands = Hands {
            config,
            docker: &self.docker,
            keepers: if deploys { &self.keeper } else { &Nobody },
            notifier: &self.notifier,
            env: Arc::clone(&self.env),
            options: persistent::Options::default(),
            tell: &tell,
        };
        let parts = Parts::new(hands, update).await.map_err(ActionError)?;
        let applied = apply(&parts, update).await;
        applied.tell(&self.notifier);
        match applied.failure {
            None => Ok(()),
            Some(failure) => Err(ActionError(format!("{} -> {}: {}", update.from, update.to, failure.why))),
        }
    }
}

/// Where only the file and the images change: the runners stay until somebody deploys.
struct Nobody;

#[async_trait]
impl Keepers for Nobody {
    async fn difference(&self, _: &PoolName) -> Result<Vec<Change>, String> {
        Ok(Vec::new())
    }

    async fn carry_out(&self, _: Order, _: mpsc::Sender<Progress>) -> Result<(), String> {
        Ok(())
    }
}

#[async_trait]
impl Actions for Maintenance {
    async fn check(&self) -> Result<CheckResult, ActionError> {
        let config = self.config()?;
        let bases = check(&config, &self.registries, &self.docker).await;
        let updates: Vec<Update> = bases.iter().filter_map(BaseImage::update).collect();
        let told = updates.iter().map(Update::told).collect();
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = updates;
        // What could be seen is used all the same, by the next run if not by this one.
        match bases.iter().find_map(|base| base.error.as_ref().map(|error| (&base.reference, error))) {
            Some((reference, error)) => Err(ActionError(format!("{reference}: {error}"))),
            None => Ok(CheckResult { updates: told }),
        }
    }

    async fn build(&self, found: Option<&CheckResult>) -> Result<BuildResult, ActionError> {
        let config = self.config()?;
        let deploys = config.scheduler.as_ref().is_some_and(|schedule| schedule.actions.contains(&Task::Deploy));
        let updates = match found {
            Some(found) if !found.updates.is_empty() => {
                std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
            }
            _ => Vec::new(),
        };
        let mut result = BuildResult::default();
        for update in &updates {
            // The one before may have changed the file.
            self.take(&self.config()?, update, deploys).await?;
            result.applied.push(update.told());
            result.built.extend(update.pools.iter().cloned());
        }
        let config = self.config()?;
        let pools: Vec<&Pool> = config.pools.iter().filter(|pool| pool.build.is_some()).collect();
        let (news, mut hear) = mpsc::channel(WAITING);
        let options = Options::default();
        let (config, pools) = (&config, &pools);
        let work = async move { ensure_and_tell(config, &self.docker, pools, &options, &news, &self.notifier).await };
        let listen = async {
            while let Some(news) = hear.recv().await {
                match news.kind {
                    NewsKind::Note => warn!(pool = %news.pool, "{}", news.text),
                    NewsKind::Step => info!(pool = %news.pool, "{}", news.text),
                    NewsKind::Output | NewsKind::Progress => debug!(pool = %news.pool, "{}", news.text),
                }
            }
        };
        let (ensured, ()) = tokio::join!(work, listen);
        for one in ensured.map_err(|error| ActionError(error.to_string()))? {
            match one.result {
                Ok(done) if matches!(done.kind, Kind::Built | Kind::Named) => result.built.push(one.pool),
                Ok(_) => {}
                Err(error) => return Err(ActionError(format!("pool `{}`: {error}", one.pool))),
            }
        }
        Ok(result)
    }

    async fn deploy(&self, _: Option<&BuildResult>) -> Result<DeployResult, ActionError> {
        let changes = self.keeper.difference(&[]).await.map_err(|refused| ActionError(refused.to_string()))?;
        let runners: Vec<_> =
            changes.into_iter().filter(|change| change.kind != ChangeKind::Keep).map(|change| change.runner).collect();
        if runners.is_empty() {
            return Ok(DeployResult::default());
        }
        let order = Order { verb: Verb::Deploy, runners, options: persistent::Options::default() };
        let (progress, mut hear) = mpsc::channel::<Progress>(WAITING);
        let mut result = DeployResult::default();
        let mut failures = Vec::new();
        let listen = async {
            while let Some(news) = hear.recv().await {
                let Some(outcome) = news.outcome else { continue };
                info!(runner.name = %news.runner, "deploy: {}: {}", news.runner, outcome.text);
                match outcome.kind {
                    OutcomeKind::Changed => result.changed += 1,
                    OutcomeKind::Unchanged | OutcomeKind::Deferred => {}
                    OutcomeKind::Failed => failures.push(format!("{}: {}", news.runner, outcome.text)),
                }
            }
        };
        let (carried, ()) = tokio::join!(self.keeper.carry_out(order, progress), listen);
        carried.map_err(|refused| ActionError(refused.to_string()))?;
        if failures.is_empty() { Ok(result) } else { Err(ActionError(failures.join("; "))) }
    }
}
