//! What the engine says of itself: its versions, which limits the kernel under it keeps, and what it warns of.

use super::Docker;
use super::connection::LOOK_UP;
use super::firewall::MetadataRule;
use crate::provider::ProviderError;

/// What the engine says of itself.
#[expect(clippy::struct_excessive_bools, reason = "each is one answer of the engine's")]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineFacts {
    /// Where it was asked.
    pub address: String,
    /// `27.3.1`; empty where it does not tell.
    pub version: String,
    /// `1.47`: the API that it speaks.
    pub api: String,
    /// Whether limits of memory are kept.
    pub memory_limit: bool,
    /// Whether a limit of memory holds for swap too.
    pub swap_limit: bool,
    /// Whether limits of processors are kept.
    pub cpu_quota: bool,
    /// Whether limits of processes are kept.
    pub pids_limit: bool,
    /// Bytes of memory that it has.
    pub memory: u64,
    /// Where images and containers are.
    pub root_dir: Option<String>,
    /// Free bytes there; none where that folder is not of this machine.
    pub disk_free: Option<u64>,
    /// What it warns of, in its own words.
    pub warnings: Vec<String>,
}

impl Docker {
    /// Asks it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn engine(&self) -> Result<EngineFacts, ProviderError> {
        let version = self.connection.call(LOOK_UP, |docker| async move { docker.version().await }).await?;
        let info = self.connection.call(LOOK_UP, |docker| async move { docker.info().await }).await?;
        let folder = info.docker_root_dir.filter(|_| self.connection.is_local());
        // A socket of this machine may lead to an engine in another: then the folder is not here.
        let disk = folder.as_deref().and_then(|folder| rustix::fs::statvfs(folder).ok());
        Ok(EngineFacts {
            address: self.connection.address().to_string(),
            version: version.version.unwrap_or_default(),
            api: version.api_version.unwrap_or_default(),
            memory_limit: info.memory_limit.unwrap_or(false),
            swap_limit: info.swap_limit.unwrap_or(false),
            cpu_quota: info.cpu_cfs_quota.unwrap_or(false),
            pids_limit: info.pids_limit.unwrap_or(false),
            memory: info.mem_total.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(0),
            disk_free: disk.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize)),
            root_dir: folder,
            warnings: info.warnings.unwrap_or_default(),
        })
    }

    /// Whether runners are kept away from the host's metadata address. Changes nothing.
    pub async fn metadata_rule(&self) -> MetadataRule {
        self.firewall.look(self.connection.is_local()).await
    }

    /// What an administrator runs to keep them away.
    pub fn metadata_command(&self) -> String {
        self.firewall.command()
    }
}
