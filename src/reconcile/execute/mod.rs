//! Carries out one action. It chooses nothing: it writes the intent, acts, writes the result, and whatever is cut off in
//! between the next plan sees and mends.

mod ask;
mod elsewhere;
mod launch;
mod news;
mod take_down;

use super::feeds::{note_outage, read_store};
use super::memory::{Asked, Memory};
use crate::clock;
use crate::config::Config;
use crate::github::{self, Client};
use crate::model::{
    Container, ContainerId, Job, JobKey, JobState, PoolName, RegistrationHold, Runner, RunnerName, Scope, StateName,
};
use crate::notify::Notifier;
use crate::plan::Action;
use crate::provider::{Provider, ProviderError};
use crate::store::{Saved, Store, StoreError, Version, Versioned};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

/// Somebody else writes the same row at most so often in between; more means that something is broken.
const TRIES: usize = 16;

/// How an action ended, as far as its runner's next turn depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect, or there was nothing left to do.
    Done,
    /// Somebody refused or was away. The same action is held back for a while.
    NotDone,
    /// The store did not grant it, since it knew more than the plan. The next plan knows it too; the same action is held back
    /// for a moment only.
    NotGranted,
}

/// Why an action stopped half-way.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// GitHub.
    #[error(transparent)]
    GitHub(#[from] github::Error),
    /// The engine.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The pool's `timeouts.provision`.
    #[error("not started within {0} s (timeouts.provision)")]
    TooSlow(u64),
    /// Somebody else changed the row to something that this action does not go on from.
    #[error("{0}")]
    Overtaken(String),
}

impl ExecuteError {
    /// Whether the pool is not to blame.
    fn is_blameless(&self) -> bool {
        match self {
            Self::Store(_) | Self::Overtaken(_) | Self::Provider(ProviderError::Unavailable(_)) => true,
            Self::GitHub(error) => {
                matches!(error, github::Error::RateLimited { .. } | github::Error::Unavailable { .. })
            }
            Self::Provider(_) | Self::TooSlow(_) => false,
        }
    }
}

/// The hands.
pub struct Executor {
    /// Pools and bounds.
    pub config: Arc<Config>,
    /// Rows.
    pub store: Arc<dyn Store>,
    /// Containers.
    pub provider: Arc<dyn Provider>,
    /// Registrations.
    pub client: Client,
    /// What is known; every result is put there at once.
    pub memory: Arc<Memory>,
    /// Creates and starts under way at once on this engine.
    pub starts: Arc<Semaphore>,
    /// Who wants to know.
    pub notifier: Notifier,
}

impl Executor {
    /// One action.
    pub async fn carry_out(&self, action: &Action) -> Outcome {
        let result = match action {
            Action::Assign { job, pool } => self.assign(*job, pool.as_ref()).await,
            Action::Expire { job } => self.expire(*job).await,
            Action::Drop { job, account } => self.drop_job(*job, account).await,
            Action::AskJob { job } => self.ask_job(*job).await,
            Action::AskRun { job, run } => self.ask_run(*job, *run).await,
            Action::Launch { runner, pool, job, cause } => self.launch(runner, pool, *job, cause).await,
            Action::Record { runner, state, job, container, cause } => {
                self.record(runner, *state, *job, container.as_ref(), cause).await
            }
            Action::Adopt { runner, container } => self.adopt(runner, container).await,
            Action::TakeOver { runner } => self.take_over(runner).await,
            Action::TakeDown { runner, failed, cause } => match self.whose(runner).await {
                Ok(Whose::Mine) => self.take_down(runner, *failed, cause, false).await,
                Ok(Whose::Nobodys) => self.take_down_elsewhere(runner, *failed, cause).await,
                Ok(Whose::Anothers) => Ok(Outcome::Done),
                Err(error) => Err(error),
            },
            Action::RemoveContainer { runner, container } => self.remove_container(runner, container).await,
            Action::Deregister { scope, id, runner } => {
                info!(runner.name = %runner, "deleting registration `{runner}` of {scope}: nothing stands behind it");
                self.delete_registration(scope, *id).await.map(|answer| match answer {
                    take_down::Registration::Gone => Outcome::Done,
                    take_down::Registration::Busy(_) | take_down::Registration::Later => Outcome::NotDone,
                })
            }
        };
        match result {
            Ok(outcome) => outcome,
            Err(ExecuteError::Overtaken(why)) => {
                debug!(?action, "not needed any more: {why}");
                Outcome::Done
            }
            Err(error) => {
                warn!(?action, "not finished, will be tried again: {error}");
                Outcome::NotDone
            }
        }
    }

    async fn assign(&self, key: JobKey, pool: Option<&PoolName>) -> Result<Outcome, ExecuteError> {
        self.change_job(key, |job| (job.pool.as_ref() != pool).then(|| Job { pool: pool.cloned(), ..job.clone() }))
            .await
    }

    async fn expire(&self, key: JobKey) -> Result<Outcome, ExecuteError> {
        warn!(job.id = %key, "job {key} is older than GitHub lets a job become; it counts as over");
        self.tell_expired(key);
        self.change_job(key, |job| {
            let state = JobState::Completed { conclusion: "expired".to_owned(), runner: None };
            (!job.is_over()).then(|| Job { state, since: clock::now(), ..job.clone() })
        })
        .await
    }

    /// It stays in the list of jobs that are over, as `dropped`.
    async fn drop_job(&self, key: JobKey, account: &str) -> Result<Outcome, ExecuteError> {
        warn!(job.id = %key, account, "job {key} is dropped: the App is not installed on `{account}` any more");
        self.change_job(key, |job| {
            let state = JobState::Completed { conclusion: "dropped".to_owned(), runner: None };
            (!job.is_over()).then(|| Job { state, since: clock::now(), ..job.clone() })
        })
        .await
    }

    async fn change_job(&self, key: JobKey, change: impl Fn(&Job) -> Option<Job>) -> Result<Outcome, ExecuteError> {
        let (mut version, mut current) = self.memory.job(key);
        for _ in 0..TRIES {
            let Some(row) = current.as_deref().and_then(&change) else { return Ok(Outcome::Done) };
            let mut saved = self.store.save_jobs(vec![Versioned { version, row: row.clone() }]).await?;
            match saved.pop() {
                Some(Saved::Saved(version)) => {
                    self.memory.put_job(Versioned { version, row });
                    return Ok(Outcome::Done);
                }
                Some(Saved::Stale(Some(other))) => {
                    version = other.version;
                    current = Some(Arc::new(other.row.clone()));
                    self.memory.put_job(other);
                }
                Some(Saved::Stale(None)) | None => {
                    self.memory.drop_job(key);
                    return Ok(Outcome::Done);
                }
            }
        }
        Err(StoreError(format!("job {key} was written by others {TRIES} times in a row")).into())
    }

    async fn record(
        &self,
        name: &RunnerName,
        state: StateName,
        job: Option<JobKey>,
        container: Option<&ContainerId>,
        cause: &str,
    ) -> Result<Outcome, ExecuteError> {
        self.change(name, |runner| {
            let mut next = if runner.state.name == state {
                runner.clone()
            } else {
                runner.become_state(state, cause, clock::now()).ok()?
            };
            next.job = job.or(next.job);
            next.container = container.cloned().or(next.container);
            (next != *runner).then_some(next)
        })
        .await?;
        info!(runner.name = %name, "runner {name} is {state}: {cause}");
        Ok(Outcome::Done)
    }

    async fn adopt(&self, name: &RunnerName, id: &ContainerId) -> Result<Outcome, ExecuteError> {
        let Some(container) = self.memory.container(name).filter(|container| container.id == *id) else {
            return Ok(Outcome::Done);
        };
        info!(runner.name = %name, "adopting container `{name}`: it is ours, and the store does not know it");
        let row = adopted(&container, self.config.host.clone());
        match self.store.save_runner(Versioned { version: 0, row: row.clone() }).await? {
            Saved::Saved(version) => self.memory.put_runner(Versioned { version, row }),
            Saved::Stale(Some(other)) => self.memory.put_runner(other),
            Saved::Stale(None) => {}
        }
        Ok(Outcome::Done)
    }

    /// Who looks after it. What is known of the others' leases is older than they are, and a manager that began a moment ago
    /// is not known at all: before anybody is taken for dead the store is asked.
    async fn whose(&self, name: &RunnerName) -> Result<Whose, ExecuteError> {
        let (_, Some(runner)) = self.memory.runner(name) else { return Ok(Whose::Mine) };
        if runner.owner == self.config.host {
            return Ok(Whose::Mine);
        }
        let leases = self.store.load().await?.leases;
        let lives = leases.get(&runner.owner).is_some_and(|until| *until > clock::now());
        self.memory.set_leases(leases);
        Ok(if lives { Whose::Anothers } else { Whose::Nobodys })
    }

    async fn take_over(&self, name: &RunnerName) -> Result<Outcome, ExecuteError> {
        if self.whose(name).await? == Whose::Anothers {
            return Ok(Outcome::Done);
        }
        let host = self.config.host.clone();
        info!(runner.name = %name, "taking runner {name} over: its manager is gone, its container is here");
        self.change(name, |runner| (runner.owner != host).then(|| Runner { owner: host.clone(), ..runner.clone() }))
            .await?;
        Ok(Outcome::Done)
    }

    /// Changes a runner's row by compare-and-set until it holds. `change` sees the row as it stands and answers `None` where
    /// there is nothing to change. Returns the row as it stands afterwards.
    async fn change(
        &self,
        name: &RunnerName,
        change: impl Fn(&Runner) -> Option<Runner>,
    ) -> Result<Arc<Runner>, ExecuteError> {
        let (mut version, mut current) = self.memory.runner(name);
        for _ in 0..TRIES {
            let Some(row) = current else {
                return Err(ExecuteError::Overtaken(format!("runner `{name}` has no row any more")));
            };
            let Some(next) = change(&row) else { return Ok(row) };
            match self.save(version, next).await? {
                Ok(saved) => return Ok(saved),
                Err((newer, row)) => {
                    version = newer;
                    current = row;
                }
            }
        }
        Err(StoreError(format!("runner `{name}` was written by others {TRIES} times in a row")).into())
    }

    /// One compare-and-set; the memory has the result at once, so that the next plan does not decide on old rows.
    async fn save(
        &self,
        version: Version,
        row: Runner,
    ) -> Result<Result<Arc<Runner>, (Version, Option<Arc<Runner>>)>, ExecuteError> {
        match self.store.save_runner(Versioned { version, row: row.clone() }).await? {
            Saved::Saved(version) => {
                self.memory.put_runner(Versioned { version, row: row.clone() });
                Ok(Ok(Arc::new(row)))
            }
            Saved::Stale(Some(other)) => {
                self.memory.put_runner(other.clone());
                Ok(Err((other.version, Some(Arc::new(other.row)))))
            }
            Saved::Stale(None) => {
                self.memory.drop_runner(&row.name);
                Ok(Err((0, None)))
            }
        }
    }

    /// Notes an outage of GitHub, so that the plan leaves it alone for a while.
    fn noted<T>(&self, scope: &Scope, asked: Asked, result: Result<T, github::Error>) -> Result<T, github::Error> {
        match &result {
            Ok(_) => self.memory.unblock_github(scope, asked),
            Err(error) => note_outage(&self.memory, scope, asked, error),
        }
        result
    }
}

/// Who looks after a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// This manager.
    Mine,
    /// Another, which lives.
    Anothers,
    /// Another, which is dead or stands still.
    Nobodys,
}

/// The row of a container that the store does not know: `created`, so that the next plan looks at what it does.
fn adopted(container: &Container, host: crate::model::HostId) -> Runner {
    let mut row = Runner::intended(
        container.runner.clone(),
        container.pool.clone(),
        container.scope.clone(),
        host,
        container.image.clone(),
        container.created_for,
        clock::now(),
        "found without a row",
    );
    row.container = Some(container.id.clone());
    if let Some(id) = container.registration {
        row.registration = RegistrationHold::Held(id);
    }
    row
}
