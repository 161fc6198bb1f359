//! What only the container of a persistent runner goes through: stopped on purpose, started again with the registration that
//! it has, kept up by the engine itself.

use super::Docker;
use super::connection::CHANGE;
use crate::model::ContainerId;
use crate::provider::ProviderError;
use bollard::models::{ContainerUpdateBody, RestartPolicy, RestartPolicyNameEnum};
use bollard::query_parameters::StopContainerOptions;
use std::time::Duration;

impl Docker {
    pub(super) async fn bring_back(&self, id: &ContainerId) -> Result<(), ProviderError> {
        if self.inspect_ours(id).await?.is_none() {
            return Err(ProviderError::Refused(format!("container {id} is gone")));
        }
        let started =
            self.connection.call(CHANGE, |docker| async move { docker.start_container(id.as_str(), None).await });
        match started.await {
            Ok(()) => Ok(()),
            // It runs already.
            Err(failure) if failure.is(304) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn bring_down(&self, id: &ContainerId, grace: Duration) -> Result<(), ProviderError> {
        if self.inspect_ours(id).await?.is_none() {
            return Ok(());
        }
        let seconds = i32::try_from(grace.as_secs().max(1)).unwrap_or(i32::MAX);
        let options = StopContainerOptions { t: Some(seconds), signal: None };
        let stopped = self.connection.call(CHANGE.saturating_add(grace), |docker| async move {
            docker.stop_container(id.as_str(), Some(options)).await
        });
        match stopped.await {
            Ok(()) => Ok(()),
            // Not running; gone.
            Err(failure) if failure.is(304) || failure.is(404) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn set_restarts(&self, id: &ContainerId, on: bool) -> Result<(), ProviderError> {
        let Some(found) = self.inspect_ours(id).await? else {
            return Err(ProviderError::Refused(format!("container {id} is gone")));
        };
        let wanted = if on { RestartPolicyNameEnum::UNLESS_STOPPED } else { RestartPolicyNameEnum::NO };
        let has = found.host_config.and_then(|host| host.restart_policy).and_then(|policy| policy.name);
        if has == Some(wanted) {
            return Ok(());
        }
        let policy = RestartPolicy { name: Some(wanted), maximum_retry_count: None };
        let update = ContainerUpdateBody { restart_policy: Some(policy), ..Default::default() };
        let updated =
            self.connection.call(CHANGE, |docker| async move { docker.update_container(id.as_str(), update).await });
        updated.await.map_err(Into::into)
    }
}
