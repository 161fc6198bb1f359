//! What a person orders, what is told on the way, and what became of it. Goes over the local socket as it is.

use crate::model::{PoolName, RunnerName};
use serde::{Deserialize, Serialize};

/// One order for any number of runners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What to do.
    pub verb: Verb,
    /// With which runners.
    pub runners: Vec<RunnerName>,
    /// How.
    #[serde(default)]
    pub options: Options,
}

/// What can be ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// As the file describes it: made, started, replaced where it is outdated, removed where it is surplus.
    Deploy,
    /// Up; made where it is not there. One that runs an old image or old settings stays as it is.
    Start,
    /// Down, after its job.
    Stop,
    /// Down after its job, and up again.
    Restart,
    /// Gone from GitHub and from Docker.
    Remove,
}

/// How an order is carried out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// End a running job instead of waiting for it.
    #[serde(default)]
    pub force: bool,
    /// Wait so many seconds for a running job, instead of the pool's `timeouts.drain`.
    #[serde(default)]
    pub timeout: Option<u64>,
}

/// News of one runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Which one.
    pub runner: RunnerName,
    /// What it is at, in a few words: "waiting for its job to end".
    pub phase: String,
    /// Its end: the last news of this runner.
    #[serde(default)]
    pub outcome: Option<Outcome>,
}

/// What became of an order for one runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// In one word.
    pub kind: OutcomeKind,
    /// In a person's words: "started", "replaced: its image is newer", "was stopped already".
    pub text: String,
}

/// What became of it, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// Done.
    Changed,
    /// There was nothing to do.
    Unchanged,
    /// Begun; what is missing is done at the next chance. The text says what that is.
    Deferred,
    /// Not done. The text says why, and what to do.
    Failed,
}

/// One line of the difference between the file and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which runner.
    pub runner: RunnerName,
    /// Of which pool.
    pub pool: PoolName,
    /// What a deploy does with it.
    pub kind: ChangeKind,
    /// Why, in a person's words.
    pub why: String,
}

/// What a deploy does with a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is not there.
    Create,
    /// It is stopped.
    Start,
    /// It runs an old image or old settings.
    Replace,
    /// It is more than `nb`, or its pool is gone from the file.
    Remove,
    /// It is as described.
    Keep,
}
