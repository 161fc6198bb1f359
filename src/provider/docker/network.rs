//! The networks of this fleet's runners: one bridge for all, on which they cannot reach each other, or one for each.

use super::Docker;
use super::connection::{CHANGE, Failure, LOOK_UP};
use super::labels;
use crate::config::Network;
use crate::model::{InstanceId, RunnerName};
use crate::provider::ProviderError;
use bollard::models::{NetworkCreateRequest, NetworkInspect};
use bollard::query_parameters::{ListContainersOptions, ListNetworksOptions};
use jiff::Timestamp;
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::PoisonError;
use std::time::Duration;
use tracing::{debug, info};

/// Docker's switch for traffic between containers of one bridge.
const TALK: &str = "com.docker.network.bridge.enable_icc";
/// Docker's name for the name of the bridge.
const BRIDGE: &str = "com.docker.network.bridge.name";

/// Names of bridges of single runners have four signs to differ; this many are tried where one is taken.
const BRIDGE_TRIES: u32 = 8;

/// What things are called in the engine and in the kernel.
#[derive(Debug, Clone)]
pub(super) struct Names {
    instance: InstanceId,
    bridge: String,
}

impl Names {
    pub(super) fn new(instance: &InstanceId) -> Self {
        // The kernel takes 15 bytes at most; four are left for the bridges of single runners.
        let bridge = format!("rf-{}", &hex::encode(Sha256::digest(instance.as_str()))[..8]);
        Self { instance: instance.clone(), bridge }
    }

    /// The network that all runners of the fleet share.
    pub(super) fn isolated(&self) -> String {
        format!("runnerfleet-{}", self.instance)
    }

    /// The network of one runner.
    pub(super) fn dedicated(&self, runner: &RunnerName) -> String {
        format!("runnerfleet-{}.{runner}", self.instance)
    }

    /// The shared network's bridge in the kernel; those of single runners start with it.
    pub(super) fn bridge(&self) -> &str {
        &self.bridge
    }

    fn dedicated_bridge(&self, runner: &RunnerName, attempt: u32) -> String {
        let hash = hex::encode(Sha256::digest(format!("{runner}/{attempt}")));
        format!("{}{}", self.bridge, &hash[..4])
    }
}

/// So often another manager is waited for that makes the shared network in this moment.
const SHARED_TRIES: u32 = 30;

/// Between two looks.
const SHARED_PAUSE: Duration = Duration::from_millis(100);

impl Docker {
    /// Makes the shared network, or checks the one that is there.
    pub(super) async fn ensure_isolated(&self) -> Result<(), ProviderError> {
        let name = self.names.isolated();
        if let Some(found) = self.network(&name).await? {
            return self.check(&name, &found, None);
        }
        let mut tries = 1;
        loop {
            let failure = match self.make_network(&name, self.names.bridge(), None).await {
                Ok(()) => {
                    info!("made network `{name}`");
                    return Ok(());
                }
                Err(failure) => failure,
            };
            // Another manager was faster: bridge names are unique, so only one of two can succeed.
            if let Some(found) = self.network(&name).await? {
                return self.check(&name, &found, None);
            }
            // The engine takes the name first, and lists the network a moment later, or never, where it could not be made.
            match failure {
                Failure::Answer { message, .. } if message.contains("same bridge name") && tries < SHARED_TRIES => {
                    tries += 1;
                    tokio::time::sleep(SHARED_PAUSE).await;
                }
                failure => return Err(failure.into()),
            }
        }
    }

    /// Makes the network of one runner, or takes the one that an attempt before left.
    pub(super) async fn ensure_dedicated(&self, runner: &RunnerName) -> Result<(), ProviderError> {
        let name = self.names.dedicated(runner);
        if let Some(found) = self.network(&name).await? {
            return self.check(&name, &found, Some(runner));
        }
        let mut attempt = 0;
        loop {
            match self.make_network(&name, &self.names.dedicated_bridge(runner, attempt), Some(runner)).await {
                Ok(()) => return Ok(()),
                Err(Failure::Answer { message, .. })
                    if message.contains("same bridge name") && attempt < BRIDGE_TRIES =>
                {
                    attempt += 1;
                }
                Err(Failure::Answer { message, .. }) if message.contains("address pool") => {
                    return Err(ProviderError::Refused(format!(
                        "no addresses left for another network ({message}); `default-address-pools` in the engine's \
                         daemon.json gives more"
                    )));
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Removes the network of one runner. One that is gone is no error.
    pub(super) async fn remove_dedicated(&self, runner: &RunnerName) -> Result<(), ProviderError> {
        let name = self.names.dedicated(runner);
        match self.network(&name).await? {
            Some(found) if labels::are_ours(found.labels.as_ref(), &self.instance) => self.drop_network(&name).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Removes networks of single runners whose container is not there, if they are older than `older_than`: a create
    /// that is under way makes the network first. Returns how many.
    pub async fn sweep_networks(&self, older_than: Duration) -> Result<usize, ProviderError> {
        let filters = HashMap::from([(
            "label".to_owned(),
            vec![format!("{}={}", labels::INSTANCE, self.instance), labels::RUNNER.to_owned()],
        )]);
        let options = ListNetworksOptions { filters: Some(filters) };
        let networks = self.connection.call(LOOK_UP, |docker| async move { docker.list_networks(Some(options)).await });
        let networks = networks.await?;
        if networks.is_empty() {
            return Ok(0);
        }
        let runners = self.runners_with_containers().await?;
        // The engine's clock, since it is the one that dated the networks.
        let now = self.engine_time().await?;
        let mut removed = 0;
        for network in networks {
            let Some(runner) = network.labels.as_ref().and_then(|labels| labels.get(labels::RUNNER)) else { continue };
            let runner = RunnerName::new(runner);
            let made: Option<Timestamp> = network.created.as_deref().and_then(|text| text.parse().ok());
            let old = made.is_some_and(|made| crate::model::age(now, made) >= older_than);
            if !old || runners.contains(&runner) || self.is_being_created(&runner) {
                continue;
            }
            self.remove_dedicated(&runner).await?;
            info!(runner.name = %runner, "removed the network that `{runner}` left");
            removed += 1;
        }
        Ok(removed)
    }

    /// Removes the fleet's networks and its firewall rule: the end of a demonstration. Containers must be gone.
    pub async fn remove_network(&self) -> Result<(), ProviderError> {
        self.sweep_networks(Duration::ZERO).await?;
        let name = self.names.isolated();
        if let Some(found) = self.network(&name).await?
            && labels::are_ours(found.labels.as_ref(), &self.instance)
        {
            self.drop_network(&name).await?;
        }
        self.firewall.remove(self.connection.is_local()).await;
        Ok(())
    }

    /// An address of the engine's machine that containers on this network can reach.
    pub async fn network_gateway(&self, network: &Network) -> Result<IpAddr, ProviderError> {
        let name = match network {
            Network::Isolated => self.names.isolated(),
            // Each has its own gateway, and all reach any address of the host: that of the default bridge is always there.
            Network::Dedicated => "bridge".to_owned(),
            Network::Named(name) if name == "host" => return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            Network::Named(name) => name.clone(),
            Network::None => return Err(ProviderError::Refused("without a network there is no gateway".to_owned())),
        };
        let found = self.network(&name).await?;
        let Some(found) = found else { return Err(ProviderError::Refused(format!("there is no network `{name}`"))) };
        let configs = found.ipam.and_then(|ipam| ipam.config).into_iter().flatten();
        // Some engines write the gateway with the length of its network; 20.10 does not write that of its own bridge,
        // which is always the subnet's first address.
        let mut gateways = configs.filter_map(|config| {
            let gateway = config.gateway.as_deref().and_then(|text| text.split('/').next()?.parse().ok());
            gateway.or_else(|| config.subnet.as_deref().and_then(first_address))
        });
        gateways.next().ok_or_else(|| ProviderError::Refused(format!("network `{name}` has no gateway")))
    }

    async fn network(&self, name: &str) -> Result<Option<NetworkInspect>, ProviderError> {
        let found =
            self.connection.call(LOOK_UP, |docker| async move { docker.inspect_network(name, None).await }).await;
        match found {
            // The engine also finds networks by the start of their id.
            Ok(found) if found.name.as_deref() == Some(name) => Ok(Some(found)),
            Ok(_) => Ok(None),
            Err(failure) if failure.is(404) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn make_network(&self, name: &str, bridge: &str, runner: Option<&RunnerName>) -> Result<(), Failure> {
        let mut labels = HashMap::from([
            (labels::INSTANCE.to_owned(), self.instance.to_string()),
            (labels::HOST.to_owned(), self.host.to_string()),
        ]);
        if let Some(runner) = runner {
            labels.insert(labels::RUNNER.to_owned(), runner.to_string());
        }
        let options = HashMap::from([(TALK.to_owned(), "false".to_owned()), (BRIDGE.to_owned(), bridge.to_owned())]);
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            enable_ipv6: Some(false),
            options: Some(options),
            labels: Some(labels),
            ..NetworkCreateRequest::default()
        };
        self.connection.call(CHANGE, |docker| async move { docker.create_network(request).await }).await?;
        debug!("made network `{name}` on bridge {bridge}");
        Ok(())
    }

    /// A network of our name that somebody else made, or that lets runners talk to each other, would undo what the
    /// configuration promises.
    fn check(&self, name: &str, found: &NetworkInspect, runner: Option<&RunnerName>) -> Result<(), ProviderError> {
        let label = |key: &str| found.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        let option = |key: &str| found.options.as_ref().and_then(|options| options.get(key)).map(String::as_str);
        let ours = label(labels::INSTANCE) == Some(self.instance.as_str())
            && label(labels::RUNNER) == runner.map(RunnerName::as_str)
            && option(BRIDGE).is_some_and(|bridge| bridge.starts_with(self.names.bridge()));
        if ours && option(TALK) == Some("false") {
            return Ok(());
        }
        Err(ProviderError::Refused(format!(
            "network `{name}` is there but was not made by this fleet; remove it (`docker network rm {name}`)"
        )))
    }

    async fn drop_network(&self, name: &str) -> Result<(), ProviderError> {
        let removed = self.connection.call(CHANGE, |docker| async move { docker.remove_network(name).await }).await;
        match removed {
            Ok(()) => Ok(()),
            Err(failure) if failure.is(404) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn runners_with_containers(&self) -> Result<HashSet<RunnerName>, ProviderError> {
        let options = ListContainersOptions { all: true, filters: Some(self.filter()), ..Default::default() };
        let containers =
            self.connection.call(LOOK_UP, |docker| async move { docker.list_containers(Some(options)).await });
        let labels = containers.await?.into_iter().filter_map(|container| container.labels);
        Ok(labels.filter_map(|mut labels| labels.remove(labels::RUNNER)).map(RunnerName::new).collect())
    }

    fn is_being_created(&self, runner: &RunnerName) -> bool {
        self.being_created.lock().unwrap_or_else(PoisonError::into_inner).contains(runner)
    }
}

/// `172.17.0.1` of `172.17.0.0/16`.
fn first_address(subnet: &str) -> Option<IpAddr> {
    let network: Ipv4Addr = subnet.split('/').next()?.parse().ok()?;
    network.to_bits().checked_add(1).map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_s_first_address() {
        assert_eq!(first_address("172.17.0.0/16"), Some(IpAddr::V4(Ipv4Addr::new(172, 17, 0, 1))));
        assert_eq!(first_address("fd00::/64"), None);
    }

    #[test]
    fn the_kernel_takes_every_bridge_name() {
        let names = Names::new(&InstanceId::new("a fleet with quite a long name"));
        let runner = RunnerName::new("linux-7");
        assert_eq!(names.bridge().len(), 11);
        assert_eq!(names.dedicated_bridge(&runner, 0).len(), 15);
        assert!(names.dedicated_bridge(&runner, 0).starts_with(names.bridge()));
        assert_ne!(names.dedicated_bridge(&runner, 0), names.dedicated_bridge(&runner, 1));
        assert_ne!(names.bridge(), Names::new(&InstanceId::new("another")).bridge());
    }
}
