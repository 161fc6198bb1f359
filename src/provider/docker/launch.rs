//! A container's beginning: made, and started with its credential.

use super::connection::{CHANGE, Failure, LOOK_UP};
use super::containers::runner_of;
use super::{Docker, body};
use crate::config::Network;
use crate::model::{ContainerId, RunnerName, built_image};
use crate::provider::{ContainerSpec, ProviderError};
use bollard::container::AttachContainerResults;
use bollard::models::{ContainerInspectResponse, ContainerStateStatusEnum};
use bollard::query_parameters::{AttachContainerOptions, CreateContainerOptions};
use futures_util::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use std::sync::PoisonError;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tracing::debug;

/// So long the hand-over's connection stays open for the engine to read the last bytes.
const DRAIN: Duration = Duration::from_secs(10);

/// A runner whose network is there before its container; forgotten on every way out of `make`.
struct BeingCreated<'a>(&'a Docker, RunnerName);

impl<'a> BeingCreated<'a> {
    fn note(docker: &'a Docker, runner: &RunnerName) -> Self {
        docker.being_created.lock().unwrap_or_else(PoisonError::into_inner).insert(runner.clone());
        Self(docker, runner.clone())
    }
}

impl Drop for BeingCreated<'_> {
    fn drop(&mut self) {
        self.0.being_created.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

impl Docker {
    pub(super) async fn make(&self, spec: &ContainerSpec) -> Result<ContainerId, ProviderError> {
        let _note = BeingCreated::note(self, &spec.runner);
        match &spec.network {
            // The engine makes a container on a network that is not there, and refuses to start it: so look now.
            Network::Isolated => self.ensure_isolated().await?,
            Network::Dedicated => self.ensure_dedicated(&spec.runner).await?,
            Network::None | Network::Named(_) => {}
        }
        let made = self.make_container(spec).await;
        if let (Err(error), Network::Dedicated) = (&made, &spec.network)
            // The container that has the name has the network, too.
            && !matches!(error, ProviderError::NameTaken(_))
            && let Err(why) = self.remove_dedicated(&spec.runner).await
        {
            // An engine that went away between the two; the sweep finds it.
            debug!(runner.name = %spec.runner, "the network of `{}` stays for now: {why}", spec.runner);
        }
        made
    }

    async fn make_container(&self, spec: &ContainerSpec) -> Result<ContainerId, ProviderError> {
        match self.request_container(spec).await {
            Err(failure) if is_missing_image(&failure) && spec.pull => {
                self.pull(&spec.image).await?;
                self.request_container(spec).await
            }
            answer => answer,
        }
        .map_err(|failure| match failure {
            failure if is_missing_image(&failure) => ProviderError::ImageMissing {
                image: spec.image.clone(),
                why: if spec.image == built_image::current(&self.instance, &spec.pool) {
                    format!("it was not built on this engine: `runnerfleet build {}` does that", spec.pool)
                } else {
                    format!("not on this engine, and this pool does not pull; `docker pull {}` fetches it", spec.image)
                },
            },
            failure if failure.is(409) => ProviderError::NameTaken(spec.runner.clone()),
            failure => failure.into(),
        })
    }

    async fn request_container(&self, spec: &ContainerSpec) -> Result<ContainerId, Failure> {
        let options = CreateContainerOptions { name: Some(spec.runner.to_string()), ..Default::default() };
        let body = body::body(spec, &self.instance, &self.names);
        let made =
            self.connection.call(CHANGE, |docker| async move { docker.create_container(Some(options), body).await });
        let made = made.await?;
        for warning in made.warnings {
            // "Your kernel does not support swap limit capabilities" comes with every one on such a host.
            debug!(runner.name = %spec.runner, "the engine warns about `{}`: {warning}", spec.runner);
        }
        Ok(ContainerId::new(made.id))
    }

    /// Attaches, starts, writes the line, and closes. A call that is cut off anywhere leaves a container that never
    /// started, or one that ends with [`NO_CREDENTIAL`](super::NO_CREDENTIAL): never one that runs without.
    pub(super) async fn hand_over(&self, id: &ContainerId, credential: &SecretString) -> Result<(), ProviderError> {
        let refused = |why: String| Err(ProviderError::Refused(why));
        let line = credential.expose_secret();
        if line.is_empty() || line.contains(['\n', '\0']) {
            return refused("the credential is not one line of text".to_owned());
        }
        let Some(found) = self.inspect_ours(id).await? else { return refused(format!("container {id} is gone")) };
        match found.state.as_ref().and_then(|state| state.status) {
            Some(ContainerStateStatusEnum::CREATED) => {}
            // What is written to a container that has its credential would stay in the pipe, for its job to read.
            _ => return refused(format!("container {id} was started before")),
        }
        let mut attached = match self.attach_and_start(id).await {
            // Somebody removed the network between create and start. The engine drops its end of the attached stream
            // with a start that failed, so both are done again.
            Err(failure) if is_missing_network(&failure) => {
                self.heal_network(&found, failure).await?;
                self.attach_and_start(id).await?
            }
            outcome => outcome?,
        };
        let write = async {
            attached.input.write_all(line.as_bytes()).await?;
            attached.input.write_all(b"\n").await?;
            attached.input.flush().await?;
            attached.input.shutdown().await
        };
        match tokio::time::timeout(LOOK_UP, write).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(ProviderError::Unavailable(format!("the credential was not taken: {error}"))),
            Err(_) => return Err(ProviderError::Unavailable("the credential was not taken in time".to_owned())),
        }
        // A connection that is closed at once may be reset before the engine has read all of it.
        tokio::spawn(async move {
            let _ = tokio::time::timeout(DRAIN, async { while attached.output.next().await.is_some() {} }).await;
        });
        Ok(())
    }

    async fn attach_and_start(&self, id: &ContainerId) -> Result<AttachContainerResults, Failure> {
        let id = id.as_str();
        let options = AttachContainerOptions { stdin: true, stream: true, ..Default::default() };
        let attached = self
            .connection
            .call(LOOK_UP, |docker| async move { docker.attach_container(id, Some(options)).await })
            .await?;
        self.connection.call(CHANGE, |docker| async move { docker.start_container(id, None).await }).await?;
        Ok(attached)
    }

    async fn heal_network(&self, found: &ContainerInspectResponse, failure: Failure) -> Result<(), ProviderError> {
        let mode = found.host_config.as_ref().and_then(|host| host.network_mode.as_deref());
        match (mode, runner_of(found)) {
            (Some(mode), _) if mode == self.names.isolated() => self.ensure_isolated().await,
            (Some(mode), Some(runner)) if mode == self.names.dedicated(&runner) => self.ensure_dedicated(&runner).await,
            _ => Err(failure.into()),
        }
    }
}

/// 20.10 says "No such image: x"; newer engines with the containerd store may say "x: not found". Nothing else that a
/// create names can be missing with 404, except a network, which says so.
fn is_missing_image(failure: &Failure) -> bool {
    failure.is(404) && !is_missing_network(failure)
}

fn is_missing_network(failure: &Failure) -> bool {
    matches!(failure, Failure::Answer { status: 404, message } if message.contains("network"))
}
