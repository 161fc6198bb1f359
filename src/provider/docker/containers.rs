//! Containers looked at, and removed.

use super::connection::{CHANGE, Failure, LOOK_UP};
use super::{Docker, labels};
use crate::model::{Container, ContainerId, ContainerStatus, ImageId, KeptContainer, RunnerName};
use crate::provider::ProviderError;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use bollard::query_parameters::{ListContainersOptions, RemoveContainerOptions, TopOptions};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;
use tracing::warn;

/// The agent's process that runs a job.
const WORKER: &str = "Runner.Worker";

/// Looked at so many at a time when all are listed.
const AT_ONCE: usize = 8;

/// A removal that somebody else began is waited for so long: a kill takes the engine ten seconds at most, a full disk
/// makes it slow.
const REMOVAL: Duration = Duration::from_secs(30);
/// Between two looks at such a removal.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Beyond so many remembered ids the warnings may repeat.
const TOLD_MAX: usize = 1000;

impl Docker {
    /// All containers that the filter lets through; it holds this fleet's label.
    pub(super) async fn list_all(&self, filter: HashMap<String, Vec<String>>) -> Result<Vec<Container>, ProviderError> {
        let options = ListContainersOptions { all: true, filters: Some(filter), ..Default::default() };
        let listed = self.connection.call(LOOK_UP, |docker| async move { docker.list_containers(Some(options)).await });
        let ids = listed.await?.into_iter().filter_map(|container| container.id).map(ContainerId::new);
        // The list has no OOM flag, and the exit code only in a text for people.
        let all: Vec<_> = stream::iter(ids.map(|id| async move { self.look(&id).await }))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut all: Vec<Container> = all.into_iter().flatten().collect();
        all.sort_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| a.id.cmp(&b.id)));
        Ok(all)
    }

    /// One container of ours as it is now. `None`: gone, somebody else's, or with labels that cannot be read.
    pub(super) async fn look(&self, id: &ContainerId) -> Result<Option<Container>, ProviderError> {
        let Some(found) = self.inspect(id).await? else { return Ok(None) };
        if !labels::are_ours(labels_of(&found), &self.instance) {
            return Ok(None);
        }
        match told(id, &found) {
            Ok(container) => Ok(Some(container)),
            Err(why) => {
                let mut told = self.told_unreadable.lock().unwrap_or_else(PoisonError::into_inner);
                if told.len() >= TOLD_MAX {
                    told.clear();
                }
                if told.insert(id.to_string()) {
                    warn!("container {id} carries this fleet's label but is left alone: {why}");
                }
                Ok(None)
            }
        }
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<ContainerInspectResponse>, ProviderError> {
        match self
            .connection
            .call(LOOK_UP, |docker| async move { docker.inspect_container(id.as_str(), None).await })
            .await
        {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is(404) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// The same, and a refusal where it is not ours: asked before anything is done to a container.
    pub(super) async fn inspect_ours(
        &self,
        id: &ContainerId,
    ) -> Result<Option<ContainerInspectResponse>, ProviderError> {
        match self.inspect(id).await? {
            Some(found) if !labels::are_ours(labels_of(&found), &self.instance) => {
                Err(ProviderError::Refused(format!("container {id} does not belong to fleet `{}`", self.instance)))
            }
            found => Ok(found),
        }
    }

    pub(super) async fn has_worker(&self, id: &ContainerId) -> Result<bool, ProviderError> {
        // The engine wants the pid among the columns.
        let options = TopOptions { ps_args: "-eo pid,comm,args".to_owned() };
        let top = self
            .connection
            .call(LOOK_UP, |docker| async move { docker.top_processes(id.as_str(), Some(options)).await });
        match top.await {
            Ok(top) => Ok(top.processes.unwrap_or_default().iter().any(|process| is_worker(process))),
            // Gone; not running.
            Err(failure) if failure.is(404) || failure.is(409) => Ok(false),
            // Engines differ in the status for a container that ended while they looked.
            Err(failure @ Failure::Answer { .. }) => match self.look(id).await? {
                Some(Container { status: ContainerStatus::Running, .. }) => Err(failure.into()),
                Some(_) | None => Ok(false),
            },
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn take_down(&self, id: &ContainerId) -> Result<(), ProviderError> {
        let Some(found) = self.inspect_ours(id).await? else { return Ok(()) };
        let options = RemoveContainerOptions { v: true, force: true, link: false };
        let removed = self
            .connection
            .call(CHANGE, |docker| async move { docker.remove_container(id.as_str(), Some(options)).await });
        match removed.await {
            Ok(()) => {}
            Err(failure) if failure.is(404) => {}
            Err(failure) if failure.is(409) => self.wait_until_gone(id).await?,
            Err(failure) => return Err(failure.into()),
        }
        let mode = found.host_config.as_ref().and_then(|host| host.network_mode.as_deref());
        match runner_of(&found) {
            Some(runner) if mode == Some(self.names.dedicated(&runner).as_str()) => {
                self.remove_dedicated(&runner).await
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Somebody else removes it already.
    async fn wait_until_gone(&self, id: &ContainerId) -> Result<(), ProviderError> {
        let gone = async {
            while self.inspect(id).await?.is_some() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Ok(())
        };
        match tokio::time::timeout(REMOVAL, gone).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ProviderError::Refused(format!("the removal of container {id} does not end"))),
        }
    }
}

fn labels_of(found: &ContainerInspectResponse) -> Option<&HashMap<String, String>> {
    found.config.as_ref().and_then(|config| config.labels.as_ref())
}

pub(super) fn runner_of(found: &ContainerInspectResponse) -> Option<RunnerName> {
    labels_of(found).and_then(|labels| labels.get(labels::RUNNER)).map(RunnerName::new)
}

/// A container in our words.
fn told(id: &ContainerId, found: &ContainerInspectResponse) -> Result<Container, String> {
    let told = labels::read(labels_of(found).ok_or("it has no labels")?)?;
    let created_at: Timestamp = found
        .created
        .as_deref()
        .and_then(|text| text.parse().ok())
        .ok_or("the engine does not tell when it was made")?;
    let configured = found.config.as_ref().and_then(|config| config.image.clone());
    Ok(Container {
        // An event may tell of it by a short id.
        id: found.id.clone().map_or_else(|| id.clone(), ContainerId::new),
        runner: told.runner,
        pool: told.pool,
        scope: told.scope,
        host: told.host,
        created_for: told.created_for,
        registration: told.registration,
        image: told.image.or(configured).unwrap_or_default(),
        image_id: found.image.clone().map(ImageId::new),
        kept: told.kept.map(|kept| KeptContainer { restarts: restarts(found), ..kept }),
        created_at,
        status: status(found),
    })
}

fn restarts(found: &ContainerInspectResponse) -> u32 {
    found.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}

fn status(found: &ContainerInspectResponse) -> ContainerStatus {
    use ContainerStateStatusEnum::{CREATED, DEAD, EMPTY, EXITED, PAUSED, REMOVING, RESTARTING, RUNNING, STOPPING};
    let state = found.state.clone().unwrap_or_default();
    let exited = ContainerStatus::Exited {
        exit_code: state.exit_code.unwrap_or_default(),
        oom_killed: state.oom_killed.unwrap_or_default(),
    };
    match state.status.unwrap_or(EMPTY) {
        CREATED => ContainerStatus::Created,
        RUNNING | PAUSED | RESTARTING | STOPPING => ContainerStatus::Running,
        // On its way out, its process may still be dying.
        REMOVING | EMPTY if state.running == Some(true) => ContainerStatus::Running,
        EXITED | DEAD | REMOVING | EMPTY => exited,
    }
}

/// Whether a line of `ps` is the worker: by the kernel's short name, or a path in its arguments (a script's own name is
/// an argument of its shell). A job that fakes one only keeps its own container.
pub(super) fn is_worker(process: &[String]) -> bool {
    let args = process.iter().skip(1).flat_map(|column| column.split_whitespace());
    args.into_iter().any(|word| word.rsplit('/').next() == Some(WORKER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_known_by_name_or_path() {
        let process = |comm: &str, args: &str| ["7", comm, args].map(str::to_owned);
        assert!(is_worker(&process("Runner.Worker", "/home/runner/bin/Runner.Worker spawnclient 120 123")));
        assert!(is_worker(&process("sh", "/bin/sh /tmp/Runner.Worker")));
        assert!(!is_worker(&process("Runner.Listener", "/home/runner/bin/Runner.Listener run")));
        assert!(!is_worker(&process("sh", "/bin/sh -c Runner.Worker.dll")));
        assert!(!is_worker(&[]));
    }
}
