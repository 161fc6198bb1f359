//! A runner as GitHub lists it.

use super::ids::{RegistrationId, RunnerName};
use super::labels::LabelSet;
use serde::{Deserialize, Serialize};

/// An entry of GitHub's list of self-hosted runners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// GitHub's id.
    pub id: RegistrationId,
    /// The name that it registered under.
    pub name: RunnerName,
    /// Whether its agent is connected.
    pub status: RegistrationStatus,
    /// Whether GitHub thinks that it runs a job. Wrong in both directions for up to a minute
    /// (terraform-aws-github-runner issue 5085; actions/runner issue 4422).
    pub busy: bool,
    /// Its labels.
    pub labels: LabelSet,
    /// The agent's version, where GitHub tells.
    #[serde(default)]
    pub version: Option<String>,
}

/// Whether the agent is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationStatus {
    /// Connected.
    Online,
    /// Not connected (or a word that GitHub added since: we take the careful reading).
    Offline,
}
