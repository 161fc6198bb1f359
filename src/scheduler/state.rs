//! What is written down of the scheduler's runs.

use crate::config::Task;
use crate::model::HostId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The note in the store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Where the jitter comes from; the same for all managers.
    #[serde(default)]
    pub seed: u64,
    /// A person asked for a run, then.
    #[serde(default)]
    pub asked: Option<Timestamp>,
    /// The last run, or the one that is under way.
    #[serde(default)]
    pub last: Option<Run>,
    /// Of which version of each base image it was told already.
    #[serde(default)]
    pub told: BTreeMap<String, String>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The moment that it is for.
    pub slot: Timestamp,
    /// 0 for the first try.
    pub attempt: u32,
    /// When it began.
    pub began: Timestamp,
    /// The manager that does it.
    pub by: HostId,
    /// While it is under way: if nothing is heard of it until then, it was cut off.
    pub lapses: Timestamp,
    /// How it ended; none while it is under way.
    #[serde(default)]
    pub end: Option<End>,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub at: Timestamp,
    /// What was done.
    pub done: Vec<Task>,
    /// In a person's words.
    pub summary: String,
    /// What went wrong, if something did.
    #[serde(default)]
    pub error: Option<String>,
}
