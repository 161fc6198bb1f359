//! Docker Engine behind the provider trait. bollard's names stay in this folder.
//!
//! - `connection`: where the engine is, and what its errors mean
//! - [`labels`]: whose a container is
//! - `body`, `wrapper`: what a container is asked for, and how its credential gets in (pure)
//! - `launch`: create, start with the credential
//! - `containers`: look, remove
//! - `again`: what only the container of a persistent runner goes through: stopped, started again, kept up
//! - [`adoption`]: containers of the former tool, on a person's word
//! - `output`: a container's output, as it comes
//! - `network`, `firewall`: runners kept apart, and away from the host's metadata address
//! - `watch`: the feed of news
//! - `engine`: what the engine says of itself
//! - `evidence`: what is kept of a container that ended
//! - [`build`]: images made from a Dockerfile; `probe`: a look inside one
//! - `images`, `pull`: images looked at, tagged, removed; pulled from their registries
//! - `build`: images made from a Dockerfile
//!
//! Nothing is asked of the engine when a [`Docker`] is made: it may be away at the start of the program, or later. Each
//! call connects anew and heals by itself.

pub mod adoption;
mod again;
mod body;
pub mod build;
mod connection;
mod containers;
mod engine;
mod evidence;
mod firewall;
pub mod images;
pub mod labels;
mod launch;
mod network;
mod output;
mod pause;
mod piped;
mod probe;
mod pull;
mod watch;
mod wrapper;

pub use engine::EngineFacts;
pub use firewall::MetadataRule;
pub use piped::piped;
pub use probe::Inside;
pub use pull::{PullNews, registry_of};
pub use wrapper::NO_CREDENTIAL;

use crate::config::{self, Network};
use crate::model::{Container, ContainerId, Evidence, HostId, ImageId, InstanceId, RunnerName};
use crate::provider::{
    Anonymous, Capacity, ContainerNews, ContainerSpec, Credentials, LogQuery, LogStream, Provider, ProviderError,
};
use async_trait::async_trait;
use connection::{Address, Connection, LOOK_UP};
use firewall::Firewall;
use jiff::Timestamp;
use network::Names;
use secrecy::SecretString;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;

/// One fleet's view of one engine. Clones share everything that changes.
#[derive(Debug, Clone)]
pub struct Docker {
    connection: Arc<Connection>,
    instance: InstanceId,
    host: HostId,
    names: Names,
    firewall: Arc<Firewall>,
    credentials: Arc<dyn Credentials>,
    /// Runners whose network may be there before their container is.
    being_created: Arc<Mutex<HashSet<RunnerName>>>,
    /// Containers of ours whose labels cannot be read, told once each.
    told_unreadable: Arc<Mutex<HashSet<String>>>,
}

impl Docker {
    /// A view of the engine at the configured address (else `DOCKER_HOST`, else the local socket). Nothing is asked of
    /// it yet.
    ///
    /// # Errors
    /// [`ProviderError::Refused`] for an address that this program cannot speak to.
    pub fn connect(config: &config::Docker, instance: &InstanceId, host: &HostId) -> Result<Self, ProviderError> {
        let names = Names::new(instance);
        Ok(Self {
            connection: Arc::new(Connection::new(Address::choose(config.url.as_deref())?)),
            instance: instance.clone(),
            host: host.clone(),
            firewall: Arc::new(Firewall::new(&names)),
            names,
            credentials: Arc::new(Anonymous),
            being_created: Arc::default(),
            told_unreadable: Arc::default(),
        })
    }

    /// The same view, with what it says to registries when images are pulled; nothing by default.
    #[must_use]
    pub fn with_credentials(mut self, credentials: Arc<dyn Credentials>) -> Self {
        self.credentials = credentials;
        self
    }

    /// The fleet.
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// The filter for what is ours.
    fn filter(&self) -> HashMap<String, Vec<String>> {
        HashMap::from([("label".to_owned(), vec![format!("{}={}", labels::INSTANCE, self.instance)])])
    }

    /// The engine's clock, which dates its containers, networks and events.
    async fn engine_time(&self) -> Result<Timestamp, ProviderError> {
        let info = self.connection.call(LOOK_UP, |docker| async move { docker.info().await }).await?;
        info.system_time
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| ProviderError::Refused("the engine does not tell its time".to_owned()))
    }
}

#[async_trait]
impl Provider for Docker {
    async fn prepare(&self, network: &Network) -> Result<(), ProviderError> {
        match network {
            Network::Isolated => {
                self.ensure_isolated().await?;
                self.firewall.ensure(self.connection.is_local()).await;
                Ok(())
            }
            Network::Dedicated => {
                self.firewall.ensure(self.connection.is_local()).await;
                Ok(())
            }
            Network::None | Network::Named(_) => Ok(()),
        }
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, ProviderError> {
        self.make(spec).await
    }

    async fn start(&self, id: &ContainerId, credential: &SecretString) -> Result<(), ProviderError> {
        self.hand_over(id, credential).await
    }

    async fn start_again(&self, id: &ContainerId) -> Result<(), ProviderError> {
        self.bring_back(id).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<(), ProviderError> {
        self.bring_down(id, grace).await
    }

    async fn keep_up(&self, id: &ContainerId, on: bool) -> Result<(), ProviderError> {
        self.set_restarts(id, on).await
    }

    async fn list(&self) -> Result<Vec<Container>, ProviderError> {
        self.list_all(self.filter()).await
    }

    async fn find(&self, runner: &RunnerName) -> Result<Option<Container>, ProviderError> {
        let mut filter = self.filter();
        filter.entry("label".to_owned()).or_default().push(format!("{}={runner}", labels::RUNNER));
        Ok(self.list_all(filter).await?.into_iter().next())
    }

    async fn logs(&self, id: &ContainerId, query: &LogQuery) -> Result<Option<LogStream>, ProviderError> {
        self.output(id, query).await
    }

    async fn image_id(&self, reference: &str) -> Result<Option<ImageId>, ProviderError> {
        self.id_of_image(reference).await
    }

    fn watch(&self) -> mpsc::Receiver<ContainerNews> {
        watch::spawn(self.clone())
    }

    async fn look(&self, id: &ContainerId) -> Result<Option<Container>, ProviderError> {
        Docker::look(self, id).await
    }

    async fn runs_a_job(&self, id: &ContainerId) -> Result<bool, ProviderError> {
        self.has_worker(id).await
    }

    async fn pause(&self, id: &ContainerId) -> Result<(), ProviderError> {
        self.stand_still(id, true).await
    }

    async fn unpause(&self, id: &ContainerId) -> Result<(), ProviderError> {
        self.stand_still(id, false).await
    }

    async fn evidence(&self, id: &ContainerId) -> Result<Option<Evidence>, ProviderError> {
        self.find_evidence(id).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), ProviderError> {
        self.take_down(id).await
    }

    async fn capacity(&self) -> Result<Capacity, ProviderError> {
        let info = self.connection.call(LOOK_UP, |docker| async move { docker.info().await }).await?;
        let folder = info.docker_root_dir.filter(|_| self.connection.is_local());
        // A socket of this machine may lead to an engine in another (Docker Desktop): then the folder is not here.
        let disk = folder.and_then(|folder| rustix::fs::statvfs(folder.as_str()).ok());
        Ok(Capacity {
            cpus: info.ncpu.and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(0),
            memory: info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
            disk_free: disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
        })
    }

    async fn ping(&self) -> Result<String, ProviderError> {
        let version = self.connection.call(LOOK_UP, |docker| async move { docker.version().await }).await?;
        Ok(format!(
            "Docker Engine {}, API {}",
            version.version.unwrap_or_else(|| "of unknown version".to_owned()),
            version.api_version.unwrap_or_else(|| "unknown".to_owned())
        ))
    }
}
