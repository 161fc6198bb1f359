//! The hands: one step each. What is cut off in between, the next look sees.

use super::drive::{Drive, Look};
use super::rows::Failure;
use super::spec::Described;
use super::step::{Goal, Step};
use crate::clock;
use crate::github;
use crate::model::{
    Container, ContainerId, ContainerStatus, Kept, Observed, RegistrationHold, RegistrationId, Runner, StateName,
    Wanted,
};
use crate::provider::ProviderError;
use jiff::Timestamp;
use std::time::Duration;
use tokio::time::timeout;

/// A job that is ended gets at least so long: the agent's listener cancels it within 30 seconds of a SIGTERM, and tells GitHub.
const JOB_GRACE: Duration = Duration::from_secs(45);

/// A runner whose pool is gone from the file gets so long.
const GRACE: Duration = Duration::from_secs(10);

impl Drive<'_> {
    /// Takes one step.
    pub(super) async fn take(
        &mut self,
        step: &Step,
        look: &Look,
        described: Option<&Described<'_>>,
    ) -> Result<(), Failure> {
        let container = look.container.known().and_then(Option::as_ref);
        match step {
            Step::Intend => self.intend(described).await,
            Step::Adopt => self.adopt(look, container).await,
            Step::Create => self.create(described).await,
            Step::Start => self.start(look, container, described).await,
            Step::StartAgain => self.start_again(container).await,
            Step::Deregister { id } => self.deregister(look, container, described, *id).await,
            Step::Stop { with_job } => self.stop(container, described, *with_job).await,
            Step::RemoveContainer => self.remove_container(container).await,
            Step::Close => self.close(look).await,
            Step::Record { state, cause, registration } => self.record(container, *state, cause, *registration).await,
            Step::Done | Step::Wait(_) | Step::Blocked(_) | Step::GiveUp(_) => Ok(()),
        }
    }

    /// The row comes before anything is done, so that whatever is cut off is found.
    async fn intend(&mut self, described: Option<&Described<'_>>) -> Result<(), Failure> {
        let Some(described) = described else { return Ok(()) };
        let pool = described.pool;
        let before = self.inner.row(self.name);
        let wanted = before.as_ref().and_then(|row| row.kept.as_ref()).map(|kept| kept.wanted);
        let wanted = self.how.wanted.or(wanted).unwrap_or(Wanted::Present);
        let fresh = Runner::intended(
            self.name.clone(),
            pool.name.clone(),
            pool.scope.clone(),
            self.config.host.clone(),
            pool.image.clone(),
            None,
            clock::now(),
            "described in the file",
        );
        let kept = Kept {
            wanted,
            restarts: before
                .as_ref()
                .and_then(|row| row.kept.as_ref())
                .map(|kept| kept.restarts.clone())
                .unwrap_or_default(),
            ..Kept::new(described.index, wanted)
        };
        // What GitHub still has of it is ours to give back.
        let registration = before.as_ref().map_or(RegistrationHold::Unknown, |row| row.registration);
        self.inner.reserve(in_place_of(before.as_deref(), Runner { kept: Some(kept), registration, ..fresh })).await
    }

    /// The store was lost, or this program was cut off; the labels tell whose container it is.
    async fn adopt(&mut self, look: &Look, container: Option<&Container>) -> Result<(), Failure> {
        let Some(container) = container else { return Ok(()) };
        let Some(labels) = &container.kept else {
            let why = format!(
                "container `{}` is an ephemeral runner of this fleet; a persistent runner cannot have its name",
                container.runner
            );
            return Err(Failure::Other(why));
        };
        let wanted = look.row.as_ref().and_then(|row| row.kept.as_ref()).map(|kept| kept.wanted);
        let wanted = self.how.wanted.or(wanted);
        let row =
            adopted(container, wanted.unwrap_or_else(|| likely_wanted(container)), &self.config.host, clock::now());
        let kept = Kept {
            spec: labels.spec.clone(),
            ..row.kept.clone().unwrap_or_else(|| Kept::new(labels.index, Wanted::Present))
        };
        self.inner.reserve(in_place_of(look.row.as_deref(), Runner { kept: Some(kept), ..row })).await
    }

    async fn create(&mut self, described: Option<&Described<'_>>) -> Result<(), Failure> {
        let Some(described) = described else { return Ok(()) };
        let spec = described.container(&self.config.host);
        let pool = described.pool;
        let limit = described.pool.provision_timeout;
        let made = async {
            let _turn = self.inner.starts.acquire().await;
            self.inner.provider.create(&spec).await
        };
        let Ok(made) = timeout(limit, made).await else {
            let why = format!("its container was not made within {} s (timeouts.provision)", limit.as_secs());
            return Err(Failure::Other(why));
        };
        let id = made?;
        let digest = spec.kept.map(|kept| kept.spec).unwrap_or_default();
        self.inner
            .change(self.name, |row| {
                let mut next = row.clone();
                next.container = Some(id.clone());
                next.registration = RegistrationHold::Gone;
                // The row may be older than the file.
                next.pool.clone_from(&pool.name);
                next.scope.clone_from(&pool.scope);
                next.image.clone_from(&pool.image);
                next.owner.clone_from(&self.config.host);
                next.kept.as_mut()?.spec.clone_from(&digest);
                Some(next)
            })
            .await?;
        self.done.created = true;
        Ok(())
    }

    async fn start(
        &mut self,
        look: &Look,
        container: Option<&Container>,
        described: Option<&Described<'_>>,
    ) -> Result<(), Failure> {
        let Some(container) = container else { return Ok(()) };
        let Some(scope) = self.scope(look.row.as_deref(), Some(container), described) else { return Ok(()) };
        let token = self.inner.client.registration_token(&scope).await?;
        let begun = {
            let _turn = self.inner.starts.acquire().await;
            self.inner.provider.start(&container.id, &token).await
        };
        begun?;
        self.is_started(&container.id).await
    }

    async fn start_again(&mut self, container: Option<&Container>) -> Result<(), Failure> {
        let Some(container) = container else { return Ok(()) };
        {
            let _turn = self.inner.starts.acquire().await;
            self.inner.provider.start_again(&container.id).await?;
        }
        self.is_started(&container.id).await
    }

    async fn is_started(&mut self, id: &ContainerId) -> Result<(), Failure> {
        self.starts += 1;
        self.started_at = Some(clock::now());
        self.done.started = true;
        self.inner
            .change(self.name, |row| {
                let mut next = row.become_state(StateName::Started, "its container runs", clock::now()).ok()?;
                next.container = Some(id.clone());
                next.job = None;
                next.evidence = None;
                Some(next)
            })
            .await?;
        Ok(())
    }

    async fn deregister(
        &mut self,
        look: &Look,
        container: Option<&Container>,
        described: Option<&Described<'_>>,
        id: RegistrationId,
    ) -> Result<(), Failure> {
        let Some(scope) = self.scope(look.row.as_deref(), container, described) else { return Ok(()) };
        match self.inner.client.delete_runner(&scope, id).await {
            Ok(_) => {
                self.refused = None;
                self.done.removed = true;
                self.inner
                    .change(self.name, |row| {
                        (row.registration != RegistrationHold::Gone)
                            .then(|| Runner { registration: RegistrationHold::Gone, ..row.clone() })
                    })
                    .await?;
                Ok(())
            }
            Err(github::Error::Busy { message }) => {
                self.refused = Some((clock::now(), message));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn stop(
        &mut self,
        container: Option<&Container>,
        described: Option<&Described<'_>>,
        with_job: bool,
    ) -> Result<(), Failure> {
        let Some(container) = container else { return Ok(()) };
        let grace = described.map_or(GRACE, |described| described.pool.stop_grace);
        let grace = if with_job { grace.max(JOB_GRACE) } else { grace };
        self.inner.provider.stop(&container.id, grace).await?;
        self.done.stopped = true;
        let cause = match (self.goal, with_job) {
            (Goal::Up { .. }, _) => "stopped to come back",
            (Goal::Down, false) => "stopped by hand",
            (Goal::Down, true) => "stopped by hand, with --force",
            (Goal::Gone, false) => "stopped to be removed",
            (Goal::Gone, true) => "stopped to be removed, with --force",
        };
        self.inner
            .change(self.name, |row| {
                let mut next = row.become_state(StateName::Stopped, cause, clock::now()).ok()?;
                next.job = None;
                Some(next)
            })
            .await?;
        Ok(())
    }

    async fn remove_container(&mut self, container: Option<&Container>) -> Result<(), Failure> {
        let Some(container) = container else { return Ok(()) };
        // One that began to run again since the look is looked at again.
        match self.inner.provider.look(&container.id).await? {
            Some(now) if now.status == ContainerStatus::Running => return Ok(()),
            Some(_) | None => {}
        }
        self.inner.provider.remove(&container.id).await?;
        self.done.removed = true;
        self.inner
            .change(self.name, |row| row.container.is_some().then(|| Runner { container: None, ..row.clone() }))
            .await?;
        Ok(())
    }

    async fn close(&mut self, look: &Look) -> Result<(), Failure> {
        let gone = look.registration == Observed::Known(None);
        self.done.removed = true;
        self.inner
            .change(self.name, |row| {
                let mut next = row.become_state(StateName::Removed, "removed", clock::now()).ok()?;
                next.container = None;
                next.job = None;
                if gone {
                    next.registration = RegistrationHold::Gone;
                }
                Some(next)
            })
            .await?;
        Ok(())
    }

    async fn record(
        &mut self,
        container: Option<&Container>,
        state: StateName,
        cause: &str,
        registration: Option<RegistrationId>,
    ) -> Result<(), Failure> {
        let evidence = match container.filter(|_| state == StateName::Error) {
            Some(container) => self.inner.provider.evidence(&container.id).await?,
            None => None,
        };
        if let (Some(container), Some(_)) = (container, registration) {
            // It has what it needs to come back by itself: from now on the engine brings it back.
            self.inner.provider.keep_up(&container.id, true).await.or_else(gone_is_fine)?;
        }
        self.inner
            .change(self.name, |row| {
                let mut next = if row.state.name == state {
                    row.clone()
                } else {
                    row.become_state(state, cause, clock::now()).ok()?
                };
                if let Some(id) = registration {
                    next.registration = RegistrationHold::Held(id);
                }
                next.container = container.map(|container| container.id.clone());
                next.evidence = evidence.clone().or(next.evidence);
                (next != *row).then_some(next)
            })
            .await?;
        Ok(())
    }
}

/// A new life under the same name keeps the history.
fn in_place_of(before: Option<&Runner>, fresh: Runner) -> Runner {
    let Some(before) = before else { return fresh };
    match before.become_state(fresh.state.name, fresh.state.cause.clone(), fresh.state.since) {
        Ok(next) => Runner { history: next.history, ..fresh },
        Err(_) => fresh,
    }
}

/// The row of a container that has none.
pub(super) fn adopted(container: &Container, wanted: Wanted, host: &crate::model::HostId, now: Timestamp) -> Runner {
    let mut row = Runner::intended(
        container.runner.clone(),
        container.pool.clone(),
        container.scope.clone(),
        host.clone(),
        container.image.clone(),
        None,
        now,
        "found without a row",
    );
    row.container = Some(container.id.clone());
    let (index, spec) = container.kept.as_ref().map(|kept| (kept.index, kept.spec.clone())).unwrap_or_default();
    row.kept = Some(Kept { spec, ..Kept::new(index, wanted) });
    row
}

/// What a person wanted of a container that nobody remembers: a stop on purpose is the only thing that lasts.
pub(super) fn likely_wanted(container: &Container) -> Wanted {
    match container.status {
        ContainerStatus::Exited { .. } => Wanted::Stopped,
        ContainerStatus::Created | ContainerStatus::Running => Wanted::Present,
    }
}

fn gone_is_fine(error: ProviderError) -> Result<(), ProviderError> {
    match error {
        ProviderError::Refused(_) => Ok(()),
        other => Err(other),
    }
}
