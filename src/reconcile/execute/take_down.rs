//! Ends a runner. Where its container may run a job, two signs are needed: GitHub gives the registration up, and no job's
//! process is in the container. GitHub's `busy` alone is never believed.

use super::{Asked, ExecuteError, Executor, Outcome};
use crate::clock;
use crate::github::{Deleted, Error as GitHubError};
use crate::model::{
    Bar, ContainerId, ContainerStatus, Evidence, RegistrationHold, RegistrationId, Runner, RunnerName, Scope, StateName,
};
use std::sync::Arc;
use tracing::{info, warn};

/// What GitHub said to a deletion.
pub(super) enum Registration {
    /// It is gone, now or before.
    Gone,
    /// It runs a job, as far as GitHub knows.
    Busy(String),
    /// GitHub takes no call for its account now.
    Later,
}

impl Executor {
    /// Ends a runner; with `force` even one that runs a job (a person asked for it in so many words).
    pub async fn take_down(
        &self,
        name: &RunnerName,
        failed: bool,
        cause: &str,
        force: bool,
    ) -> Result<Outcome, ExecuteError> {
        let (_, Some(runner)) = self.memory.runner(name) else { return Ok(Outcome::Done) };
        if !runner.is_live() {
            return Ok(Outcome::Done);
        }
        let id = self.memory.container(name).map(|container| container.id).or_else(|| runner.container.clone());
        // What is known of the container may be a moment old, and what follows cannot be taken back: the engine is asked.
        let now = match &id {
            Some(id) => self.provider.look(id).await?,
            None => None,
        };
        let id = id.filter(|_| now.is_some());
        let lives = now.is_some_and(|container| container.status == ContainerStatus::Running);
        match id.as_ref().filter(|_| lives && !force) {
            Some(id) if self.memory.bar(&runner.scope).is_some() => {
                self.end_without_github(&runner, id, failed, cause).await
            }
            Some(id) => self.end_if_idle(&runner, id, failed, cause).await,
            None => self.end(&runner, id.as_ref(), failed, cause).await,
        }
    }

    /// Registration first, container second, and only while nothing runs in it.
    async fn end_if_idle(
        &self,
        runner: &Runner,
        id: &ContainerId,
        failed: bool,
        cause: &str,
    ) -> Result<Outcome, ExecuteError> {
        if self.provider.runs_a_job(id).await? {
            self.is_busy(&runner.name, "a job's process is in its container").await?;
            return Ok(Outcome::NotDone);
        }
        if runner.registration != RegistrationHold::Unknown {
            return self.end_once_released(runner, id, failed, cause).await;
        }
        // Its agent registers itself, perhaps in the moment after GitHub was asked for its name in vain: it stands still
        // meanwhile. Without that a program that is slow here removes a container with a job in it.
        self.provider.pause(id).await?;
        let ended = self.end_once_released(runner, id, failed, cause).await;
        if !matches!(ended, Ok(Outcome::Done)) {
            self.provider.unpause(id).await?;
        }
        ended
    }

    /// Registration first, container second: the second half, after the first look found no job.
    async fn end_once_released(
        &self,
        runner: &Runner,
        id: &ContainerId,
        failed: bool,
        cause: &str,
    ) -> Result<Outcome, ExecuteError> {
        let name = &runner.name;
        match self.release(runner).await? {
            Registration::Gone => {}
            Registration::Busy(message) => {
                self.is_busy(name, &format!("GitHub keeps it: {message}")).await?;
                return Ok(Outcome::NotDone);
            }
            Registration::Later => return Ok(Outcome::NotDone),
        }
        // One that was not there may come yet, as long as its agent lives.
        self.change(name, |row| {
            matches!(row.registration, RegistrationHold::Held(_))
                .then(|| Runner { registration: RegistrationHold::Gone, ..row.clone() })
        })
        .await?;
        if self.provider.runs_a_job(id).await? {
            // It got a job between the look and the deletion. The job goes on; its container ends with it.
            self.is_busy(name, "a job began while its registration was deleted").await?;
            return Ok(Outcome::NotDone);
        }
        // Why it never came online, or never got a job, may be in its words.
        let evidence = if failed { self.provider.evidence(id).await? } else { None };
        self.note_end(name, failed, cause, evidence).await?;
        self.provider.remove(id).await?;
        self.close(name, cause).await
    }

    /// GitHub takes no call for it (the App is suspended, or not installed there any more), so its registration cannot be
    /// given up first. Its container is paused instead: while it stands still it cannot take a job, and a job that GitHub
    /// hands it meanwhile is given to another after a minute (GitHub docs, "Self-hosted runners reference": routing).
    async fn end_without_github(
        &self,
        runner: &Runner,
        id: &ContainerId,
        failed: bool,
        cause: &str,
    ) -> Result<Outcome, ExecuteError> {
        let name = &runner.name;
        if self.provider.runs_a_job(id).await? {
            self.is_busy(name, "a job's process is in its container").await?;
            return Ok(Outcome::NotDone);
        }
        self.provider.pause(id).await?;
        let busy = self.provider.runs_a_job(id).await;
        if !matches!(busy, Ok(false)) {
            self.provider.unpause(id).await?;
        }
        if busy? {
            self.is_busy(name, "a job began in the last moment").await?;
            return Ok(Outcome::NotDone);
        }
        self.note_end(name, failed, cause, None).await?;
        self.provider.remove(id).await?;
        match self.release(runner).await? {
            Registration::Gone => self.close(name, cause).await,
            Registration::Busy(_) | Registration::Later => Ok(Outcome::NotDone),
        }
    }

    /// The container ended, never started, or is not to be spared.
    async fn end(
        &self,
        runner: &Runner,
        id: Option<&ContainerId>,
        failed: bool,
        cause: &str,
    ) -> Result<Outcome, ExecuteError> {
        let name = &runner.name;
        // What ended badly, or without a job that we know of, leaves its last words.
        let evidence = match id {
            Some(id) if runner.evidence.is_none() && (failed || runner.job.is_none()) => {
                self.provider.evidence(id).await?.filter(|evidence| evidence.exit_code.is_some())
            }
            _ => None,
        };
        self.note_end(name, failed, cause, evidence).await?;
        let remove = async {
            match id {
                Some(id) => self.provider.remove(id).await,
                None => Ok(()),
            }
        };
        let (removed, released) = tokio::join!(remove, self.release(runner));
        removed?;
        match released? {
            Registration::Gone => self.close(name, cause).await,
            Registration::Busy(message) => {
                // GitHub keeps a runner that died in its job for 10 to 15 minutes.
                info!(runner.name = %name, "GitHub keeps the registration of {name} for now: {message}");
                Ok(Outcome::NotDone)
            }
            Registration::Later => Ok(Outcome::NotDone),
        }
    }

    /// Gives the registration back. Where the App is suspended it is kept for the day that it is not; where the App is not
    /// installed any more it is left to GitHub, which forgets an ephemeral runner without an agent after a day.
    pub(super) async fn release(&self, runner: &Runner) -> Result<Registration, ExecuteError> {
        let refused = match self.give_up(runner).await {
            Err(ExecuteError::GitHub(error)) if !error.is_transient() => error,
            other => return other,
        };
        match self.memory.bar(&runner.scope) {
            None => Err(refused.into()),
            Some(Bar::Suspended) => Ok(Registration::Later),
            Some(Bar::NotInstalled) => {
                info!(runner.name = %runner.name, "the registration of {} is left to GitHub: {refused}", runner.name);
                Ok(Registration::Gone)
            }
        }
    }

    async fn give_up(&self, runner: &Runner) -> Result<Registration, ExecuteError> {
        let id = match runner.registration {
            RegistrationHold::Gone => return Ok(Registration::Gone),
            RegistrationHold::Held(id) => id,
            RegistrationHold::Unknown => {
                let found = self.client.runner_named(&runner.scope, &runner.name).await;
                match self.noted(&runner.scope, Asked::Other, found)? {
                    Some(found) => found.id,
                    None => return Ok(Registration::Gone),
                }
            }
        };
        self.delete_registration(&runner.scope, id).await
    }

    pub(super) async fn delete_registration(
        &self,
        scope: &Scope,
        id: RegistrationId,
    ) -> Result<Registration, ExecuteError> {
        match self.noted(scope, Asked::Other, self.client.delete_runner(scope, id).await) {
            Ok(Deleted::Deleted | Deleted::WasGone) => Ok(Registration::Gone),
            Err(GitHubError::Busy { message }) => Ok(Registration::Busy(message)),
            Err(error) => Err(error.into()),
        }
    }

    async fn is_busy(&self, name: &RunnerName, cause: &str) -> Result<(), ExecuteError> {
        info!(runner.name = %name, "runner {name} stays: {cause}");
        self.change(name, |row| row.become_state(StateName::Running, cause, clock::now()).ok()).await?;
        Ok(())
    }

    /// `stopped` or `error`, with the cause; a runner that was only created goes straight to its end.
    async fn note_end(
        &self,
        name: &RunnerName,
        failed: bool,
        cause: &str,
        evidence: Option<Evidence>,
    ) -> Result<Arc<Runner>, ExecuteError> {
        let known = self.memory.runner(name).1.map(|row| row.state.name);
        let row = self
            .change(name, |row| {
                let to = if failed { StateName::Error } else { StateName::Stopped };
                let mut next = match row.state.name {
                    StateName::Stopped | StateName::Error | StateName::Removed => row.clone(),
                    StateName::Created if !failed => row.clone(),
                    StateName::Created | StateName::Started | StateName::Running => {
                        row.become_state(to, cause, clock::now()).ok()?
                    }
                };
                next.evidence = evidence.clone().or(next.evidence);
                (next != *row).then_some(next)
            })
            .await?;
        if known.is_some_and(|known| matches!(known, StateName::Stopped | StateName::Error)) {
            return Ok(row);
        }
        if failed {
            let last = row.evidence.as_ref().map(|evidence| format!(" ({evidence})")).unwrap_or_default();
            warn!(runner.name = %name, "runner {name} failed: {cause}{last}");
            self.tell_failed(&row, "run", cause);
        } else {
            info!(runner.name = %name, "runner {name} ends: {cause}");
        }
        Ok(row)
    }

    async fn close(&self, name: &RunnerName, cause: &str) -> Result<Outcome, ExecuteError> {
        self.change(name, |row| {
            let mut next = row.become_state(StateName::Removed, cause, clock::now()).ok()?;
            next.registration = RegistrationHold::Gone;
            next.container = None;
            Some(next)
        })
        .await?;
        Ok(Outcome::Done)
    }

    /// A container that is left of a removed runner. One in which a job's process lives is left to end by itself. One that
    /// lives may be given a job at any moment, whatever its row says: its manager stood still while another closed the row,
    /// and started it all the same. So it is held to what every living container is: its registration goes first.
    pub(super) async fn remove_container(&self, name: &RunnerName, id: &ContainerId) -> Result<Outcome, ExecuteError> {
        let stays = || {
            warn!(runner.name = %name, "container `{name}` of a removed runner runs a job; it is left until that ends");
            Ok(Outcome::NotDone)
        };
        let Some(container) = self.provider.look(id).await? else { return Ok(Outcome::Done) };
        if container.status == ContainerStatus::Running {
            if self.provider.runs_a_job(id).await? {
                return stays();
            }
            // Another manager took it for dead. Its agent may be up for all that, may register itself in this moment, or have fetched
            // a job whose process is not there yet: it stands still, and its registration goes first.
            self.provider.pause(id).await?;
            let may_go = self.registration_goes(&container.scope, name).await;
            let busy = self.provider.runs_a_job(id).await;
            if !matches!((&may_go, &busy), (Ok(true), Ok(false))) {
                self.provider.unpause(id).await?;
                may_go?;
                busy?;
                return stays();
            }
        }
        self.provider.remove(id).await?;
        Ok(Outcome::Done)
    }

    /// Ends the registration of that name, if there is one; false where GitHub keeps it. An account at which nothing can be done gives
    /// its runners no job while they stand still.
    async fn registration_goes(&self, scope: &Scope, name: &RunnerName) -> Result<bool, ExecuteError> {
        if self.memory.bar(scope).is_some() {
            return Ok(true);
        }
        let found = self.client.runner_named(scope, name).await;
        let Some(found) = self.noted(scope, Asked::Other, found)? else { return Ok(true) };
        Ok(matches!(self.delete_registration(scope, found.id).await?, Registration::Gone))
    }
}
