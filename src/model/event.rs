//! What GitHub can tell us: one closed list.

use super::ids::{JobKey, RepoName, RunnerName};
use super::labels::LabelSet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// One delivery of one hook. The GUID alone is shared by all hooks that hear of the same event (GitHub docs,
/// "Webhook events and payloads", delivery headers), and it stays the same on a redelivery.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeliveryId {
    /// `X-GitHub-Hook-ID`; empty where a sender gives none.
    pub hook: String,
    /// `X-GitHub-Delivery`.
    pub guid: String,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.hook, self.guid)
    }
}

/// A `workflow_job` event, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobEvent {
    /// What happened to the job.
    pub action: JobAction,
    /// What the event says of the job.
    pub job: JobFacts,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum JobAction {
    /// It can be run: `action=queued` and `status=queued`.
    Queued,
    /// It waits for an approval or a concurrency group: `status` is `waiting`, `pending` or `requested`, whatever the
    /// action says. GitHub sends `queued` with `status=waiting` for jobs with environments.
    Waiting,
    /// A runner took it.
    InProgress {
        /// The runner's name; GitHub-hosted ones have one too.
        runner: Option<RunnerName>,
    },
    /// It is over.
    Completed {
        /// `success`, `failure`, `cancelled`, `skipped`, …; GitHub adds words, so it stays text.
        conclusion: String,
        /// The runner that had it; none when it never started.
        runner: Option<RunnerName>,
    },
}

/// What every `workflow_job` event says of its job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFacts {
    /// Job id and attempt.
    pub key: JobKey,
    /// The run that it belongs to.
    pub run_id: u64,
    /// The job's name as the workflow gives it. A user's text: never trust it in a log line's structure.
    pub name: String,
    /// The workflow's name.
    #[serde(default)]
    pub workflow: Option<String>,
    /// `owner/name`.
    pub repository: RepoName,
    /// Whether the repository is private; none where the event does not say.
    #[serde(default)]
    pub private: Option<bool>,
    /// `runs-on`.
    pub labels: LabelSet,
    /// The page of the job.
    #[serde(default)]
    pub html_url: Option<String>,
    /// The App's installation that the event came through; none for repository and organization hooks.
    #[serde(default)]
    pub installation: Option<u64>,
    /// `created_at` of the job; old payloads have whole seconds, some have nothing.
    #[serde(default)]
    pub created_at: Option<Timestamp>,
}
