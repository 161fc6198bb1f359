//! Makes a runner: intent in the store, credential from GitHub, container from the engine, start.

use super::{Asked, ExecuteError, Executor, Outcome, read_store};
use crate::clock;
use crate::config::{Pool, RegistrationKind};
use crate::github::{Error as GitHubError, JitRequest};
use crate::model::{
    Container, ContainerId, ContainerStatus, JobKey, PoolName, RegistrationHold, RegistrationId, Runner, RunnerName,
    StateName,
};
use crate::provider::{ContainerNews, ContainerSpec, ProviderError, StartCommand};
use crate::store::{Reservation, Reserved, Versioned};
use secrecy::SecretString;
use tokio::time::Instant;
use tracing::{debug, info, warn};

impl Executor {
    /// Begins a runner, if the store grants the right to.
    pub(super) async fn launch(
        &self,
        name: &RunnerName,
        pool: &PoolName,
        job: Option<JobKey>,
        cause: &str,
    ) -> Result<Outcome, ExecuteError> {
        let Some(pool) = self.config.pool(pool) else { return Ok(Outcome::Done) };
        let began = Instant::now();
        let row = Runner::intended(
            name.clone(),
            pool.name.clone(),
            pool.scope.clone(),
            self.config.host.clone(),
            pool.image.clone(),
            job,
            clock::now(),
            cause,
        );
        let wish = Reservation {
            runner: row.clone(),
            seen: 0,
            min_idle: pool.min_idle,
            pool_max: pool.max,
            fleet_max: self.config.limits.max_runners,
            host_max: self.config.docker.max_runners,
        };
        match self.store.reserve(wish).await? {
            Reserved::Granted(version) => self.memory.put_runner(Versioned { version, row: row.clone() }),
            refused => {
                debug!(runner.name = %name, "the store did not grant runner {name}: {refused:?}");
                // What this decision was made on is not what stands: read it again before the next one.
                read_store(self.store.as_ref(), &self.memory).await?;
                return Ok(Outcome::NotGranted);
            }
        }
        let deadline = pool.provision_timeout;
        let made = match tokio::time::timeout(deadline, self.provision(pool, &row)).await {
            Ok(made) => made,
            Err(_) => Err(ExecuteError::TooSlow(deadline.as_secs())),
        };
        match made {
            Ok(()) => {
                info!(
                    runner.name = %name, pool = %pool.name, duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                    "runner {name} is started"
                );
                Ok(Outcome::Done)
            }
            // What was made is taken away already, and the row is not this manager's to write to any more.
            Err(error @ ExecuteError::Overtaken(_)) => Err(error),
            Err(error) => self.undo(name, &error).await,
        }
    }

    /// The credential and the container are made side by side: the container does not need the one to be made, only to
    /// be started.
    async fn provision(&self, pool: &Pool, row: &Runner) -> Result<(), ExecuteError> {
        let (credential, container) = tokio::join!(self.credential(pool, row), self.create(pool, row));
        // Whatever was made is written down before anything can fail, so that it is found and taken away.
        let registration = match &credential {
            Ok((_, Some(id))) => RegistrationHold::Held(*id),
            // Nothing to look for, so that GitHub is not asked once more while it wants to be left alone.
            Err(ExecuteError::GitHub(error)) if error.is_refusal() || pool.registration == RegistrationKind::Token => {
                RegistrationHold::Gone
            }
            _ => RegistrationHold::Unknown,
        };
        let now = self
            .change(&row.name, |current| {
                let container = container.as_ref().ok().cloned();
                let next = Runner { registration, container, ..current.clone() };
                (self.may_go_on_with(current) && next != *current).then_some(next)
            })
            .await?;
        if !self.may_go_on_with(&now) {
            return Err(self.leave(&now, registration, container.ok().as_ref()).await);
        }
        let (credential, _) = credential?;
        let container = container?;
        {
            let _turn = self.starts.acquire().await;
            self.provider.start(&container, &credential).await?;
        }
        if self.memory.container(&row.name).is_none_or(|known| known.status == ContainerStatus::Created) {
            self.tell_memory(row, &container, ContainerStatus::Running);
        }
        let now = self
            .change(&row.name, |current| {
                // GitHub may have told of its job already: then it is running, not started.
                current.become_state(StateName::Started, "its container runs", clock::now()).ok()
            })
            .await?;
        if now.is_live() {
            return Ok(());
        }
        // Closed between the last look and the start. With a JIT config it is worthless, since its registration went first; an
        // agent that registers itself is cleared away by the next plan as what is left of a removed runner.
        Err(ExecuteError::Overtaken(format!("runner `{}` was taken down while it started", row.name)))
    }

    /// Whether the row is still the intent that was written. A manager that stood still for so long that it counted as dead
    /// finds it closed, or in other hands: what it goes on to make then would be a second runner for one deficit.
    fn may_go_on_with(&self, row: &Runner) -> bool {
        row.owner == self.config.host
            && matches!(row.state.name, StateName::Created | StateName::Started | StateName::Running)
    }

    /// Takes away what was made for a row that somebody else closed, as far as it goes; the plan finds the rest. Where
    /// another manager looks after the runner, what is there is its own now.
    async fn leave(
        &self,
        row: &Runner,
        registration: RegistrationHold,
        container: Option<&ContainerId>,
    ) -> ExecuteError {
        if !row.is_live() {
            if let Some(id) = container
                && let Err(error) = self.provider.remove(id).await
            {
                warn!(runner.name = %row.name, "its container is left for now: {error}");
            }
            if let RegistrationHold::Held(id) = registration
                && let Err(error) = self.delete_registration(&row.scope, id).await
            {
                warn!(runner.name = %row.name, "its registration is left for now: {error}");
            }
        }
        ExecuteError::Overtaken(format!("runner `{}` was taken down or over while it was made", row.name))
    }

    async fn credential(
        &self,
        pool: &Pool,
        row: &Runner,
    ) -> Result<(SecretString, Option<RegistrationId>), ExecuteError> {
        match pool.registration {
            RegistrationKind::Token => {
                let token =
                    self.noted(&pool.scope, Asked::Credential, self.client.registration_token(&pool.scope).await)?;
                Ok((token, None))
            }
            RegistrationKind::Jit => {
                let ask = JitRequest {
                    name: &row.name,
                    labels: &pool.labels,
                    group: pool.runner_group.as_deref(),
                    work_dir: &pool.work_dir,
                };
                let first = self.client.jit_config(&pool.scope, &ask).await;
                let answer = match first {
                    Err(GitHubError::NameTaken { .. }) => {
                        self.free_the_name(pool, &row.name).await?;
                        self.client.jit_config(&pool.scope, &ask).await
                    }
                    other => other,
                };
                let made = self.noted(&pool.scope, Asked::Credential, answer)?;
                Ok((made.config, Some(made.id)))
            }
        }
    }

    /// The name was registered by an earlier try of ours that was cut off: names come from job, attempt and try.
    async fn free_the_name(&self, pool: &Pool, name: &RunnerName) -> Result<(), ExecuteError> {
        warn!(runner.name = %name, "registration `{name}` is there already, from a try that was cut off: deleting it");
        let found = self.noted(&pool.scope, Asked::Other, self.client.runner_named(&pool.scope, name).await)?;
        if let Some(found) = found {
            self.noted(&pool.scope, Asked::Other, self.client.delete_runner(&pool.scope, found.id).await)?;
        }
        Ok(())
    }

    async fn create(&self, pool: &Pool, row: &Runner) -> Result<ContainerId, ExecuteError> {
        let _turn = self.starts.acquire().await;
        let spec = self.spec(pool, row);
        let id = match self.provider.create(&spec).await {
            Err(ProviderError::NameTaken(name)) => {
                // Only one of ours is removed; a stranger's container keeps its name, and the error is told.
                let Some(left) = self.memory.container(&name) else {
                    return Err(ProviderError::NameTaken(name).into());
                };
                self.provider.remove(&left.id).await?;
                self.provider.create(&spec).await?
            }
            other => other?,
        };
        self.tell_memory(row, &id, ContainerStatus::Created);
        Ok(id)
    }

    /// The engine's own news of a container may come later than the next plan.
    fn tell_memory(&self, row: &Runner, id: &ContainerId, status: ContainerStatus) {
        self.memory.apply_container(ContainerNews::Changed(Container {
            id: id.clone(),
            runner: row.name.clone(),
            pool: row.pool.clone(),
            scope: row.scope.clone(),
            host: row.owner.clone(),
            created_for: row.created_for,
            registration: None,
            image: row.image.clone(),
            image_id: None,
            kept: None,
            created_at: clock::now(),
            status,
        }));
    }

    fn spec(&self, pool: &Pool, row: &Runner) -> ContainerSpec {
        let command = pool.command.clone();
        ContainerSpec {
            runner: row.name.clone(),
            pool: pool.name.clone(),
            scope: pool.scope.clone(),
            host: self.config.host.clone(),
            created_for: row.created_for,
            registration: None,
            kept: None,
            image: pool.image.clone(),
            pull: pool.pull,
            env: pool.env.clone(),
            start: match pool.registration {
                RegistrationKind::Jit => StartCommand::Jit { command },
                RegistrationKind::Token => StartCommand::Register {
                    command,
                    url: pool.scope_url.clone(),
                    labels: pool.labels.to_vec(),
                    group: pool.runner_group.clone(),
                    work_dir: pool.work_dir.clone(),
                },
            },
            user: pool.user.clone(),
            resources: pool.resources,
            security: pool.security.clone(),
            network: pool.network.clone(),
        }
    }

    /// Takes away what was made, and keeps the reason. What cannot be taken away now is tried again by the plan.
    async fn undo(&self, name: &RunnerName, error: &ExecuteError) -> Result<Outcome, ExecuteError> {
        warn!(runner.name = %name, "runner {name} could not be made: {error}");
        let blameless = error.is_blameless();
        let row = self.change(name, |runner| {
            let mut next = runner.become_state(StateName::Error, error.to_string(), clock::now()).ok()?;
            next.blameless = blameless;
            Some(next)
        });
        let row = row.await?;
        self.tell_failed(&row, "start", &error.to_string());
        self.take_down(name, true, &error.to_string(), false).await
    }
}
