//! A container as its engine shows it, told in our words.

use super::ids::{ContainerId, HostId, ImageId, JobKey, PoolName, RegistrationId, RunnerName};
use super::scope::Scope;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A container that carries this fleet's labels. Others never get this far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Docker's id.
    pub id: ContainerId,
    /// From the label: the runner in it.
    pub runner: RunnerName,
    /// From the label: its pool.
    pub pool: PoolName,
    /// From the label: where it registered.
    pub scope: Scope,
    /// From the label: the manager that made it.
    pub host: HostId,
    /// From the label: the job at creation, if it was made for one.
    pub created_for: Option<JobKey>,
    /// From the label: GitHub's id of the registration (JIT only: known before the container is made).
    pub registration: Option<RegistrationId>,
    /// The image that it was made from, as configured.
    pub image: String,
    /// The engine's id of that image: a tag moves on, this does not.
    #[serde(default)]
    pub image_id: Option<ImageId>,
    /// From the labels: what it has beyond an ephemeral runner's; none: it is for one job.
    #[serde(default)]
    pub kept: Option<KeptContainer>,
    /// When Docker made it.
    pub created_at: Timestamp,
    /// What it does.
    pub status: ContainerStatus,
}

/// What the container of a persistent runner tells of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptContainer {
    /// The runner's number in its pool.
    pub index: u32,
    /// A short digest of the settings that it was made with.
    pub spec: String,
    /// How often the engine itself started it again since somebody last did.
    #[serde(default)]
    pub restarts: u32,
}

/// What a container does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum ContainerStatus {
    /// Made, not started.
    Created,
    /// Its process lives (paused and restarting count: the process is not over).
    Running,
    /// Its process ended (Docker: `exited` or `dead`).
    Exited {
        /// The code. 0 does not mean that a job ran: the agent's wrapper hides most codes.
        exit_code: i64,
        /// Killed for memory.
        oom_killed: bool,
    },
}

/// What is kept of a runner that ended badly, after its container is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The container's exit code, if it ended.
    #[serde(default)]
    pub exit_code: Option<i64>,
    /// Whether the kernel killed it for memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// The last lines of its output, secrets cut out; bounded.
    #[serde(default)]
    pub last_output: String,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exit_code {
            Some(code) => write!(f, "exit code {code}")?,
            None => f.write_str("no exit code")?,
        }
        if self.oom_killed {
            f.write_str(", killed for memory")?;
        }
        if let Some(line) = self.last_output.lines().rfind(|line| !line.trim().is_empty()) {
            write!(f, ", last line: {}", line.trim())?;
        }
        Ok(())
    }
}

/// What the engine's host has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// Processors.
    pub cpus: u32,
    /// Memory, bytes.
    pub memory: u64,
    /// Bytes free where the engine keeps its data; none where that can't be seen from here.
    pub disk_free: Option<u64>,
}
