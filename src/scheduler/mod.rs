//! What is done at regular times: base images are looked up, images built, runners put on them.
//!
//! [`plan()`] decides, from the schedule, what is written down of the last run, and the moment. [`run()`] is the loop that asks
//! it and carries out what it says. What it has to remember is a note in the store, written by compare-and-set: of several
//! managers with one store, one does a run.

mod calendar;
mod plan;
mod run;
mod state;
mod status;

pub use plan::{Decision, Due, Why, plan};
pub use run::{ask, read, run};
pub use state::{End, Run, State};
pub use status::{Status, status};

use crate::model::PoolName;
use crate::notify::event::Update;
use async_trait::async_trait;

/// What a run does. All of it may be done again, and is, where a run was cut off.
#[async_trait]
pub trait Actions: Send + Sync {
    /// Looks for newer base images.
    async fn check(&self) -> Result<CheckResult, ActionError>;

    /// Builds the images of pools; where `found` has updates, on those. What did not change is not built again.
    async fn build(&self, found: Option<&CheckResult>) -> Result<BuildResult, ActionError>;

    /// Makes reality match the file; runners that work are waited for. `built` is what was built just before.
    async fn deploy(&self, built: Option<&BuildResult>) -> Result<DeployResult, ActionError>;
}

/// What a look for newer base images found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckResult {
    /// Newer ones.
    pub updates: Vec<Update>,
}

/// What was built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildResult {
    /// Base images that the configuration names in a newer version now.
    pub applied: Vec<Update>,
    /// Pools with a new image.
    pub built: Vec<PoolName>,
}

/// What was deployed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeployResult {
    /// Runners that were changed.
    pub changed: usize,
}

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ActionError(pub String);
