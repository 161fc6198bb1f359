//! A delivery's bytes, read into our own words. Foreign shapes stop here.
//!
//! Old payloads are read too: times as integers, no `run_attempt`, no `installation`, fields that nobody knows.

use crate::model::{JobAction, JobEvent, JobFacts, JobId, JobKey, LabelSet, RepoName, RunnerName};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

/// What a delivery says.
#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A job event.
    Job(Box<JobEvent>),
    /// GitHub's greeting after a hook was made.
    Ping,
    /// Something changed about where the App is installed: what, and at which account.
    Installation {
        /// `created`, `suspend`, `added`, …
        action: String,
        /// The account's login.
        account: String,
    },
    /// Nothing for us, with the reason.
    NotOurs(String),
}

/// A body that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Not JSON at all.
    #[error("the body is not JSON: {0}")]
    NotJson(serde_json::Error),
    /// JSON, without what a `workflow_job` event must have.
    #[error("the body is not a workflow_job event as GitHub documents it: {0}")]
    NotAJobEvent(serde_json::Error),
}

#[derive(Deserialize)]
struct Payload {
    action: String,
    workflow_job: WorkflowJob,
    repository: Repository,
    #[serde(default)]
    installation: Option<Installation>,
}

#[derive(Deserialize)]
struct WorkflowJob {
    id: u64,
    run_id: u64,
    #[serde(default)]
    run_attempt: Option<u32>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    workflow_name: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    conclusion: Option<String>,
    #[serde(default)]
    labels: Option<Vec<String>>,
    #[serde(default)]
    runner_name: Option<String>,
    #[serde(default)]
    html_url: Option<String>,
    #[serde(default, deserialize_with = "any_time")]
    created_at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Repository {
    full_name: String,
    #[serde(default)]
    private: Option<bool>,
}

#[derive(Deserialize)]
struct Installation {
    id: u64,
}

/// An `installation` or `installation_repositories` event. Only rings a bell, so nothing of it is needed.
#[derive(Default, Deserialize)]
#[serde(default)]
struct InstallationPayload {
    action: String,
    installation: Option<InstallationOf>,
}

#[derive(Deserialize)]
struct InstallationOf {
    account: Option<AccountOf>,
}

#[derive(Deserialize)]
struct AccountOf {
    login: Option<String>,
    /// Enterprises have no login.
    slug: Option<String>,
}

/// A time as RFC 3339 text, as seconds, or something else that is then ignored: no decision needs it.
fn any_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Any {
        Text(String),
        Seconds(i64),
        Other(serde::de::IgnoredAny),
    }
    Ok(match Any::deserialize(deserializer)? {
        Any::Text(text) => text.parse().ok(),
        Any::Seconds(seconds) => Timestamp::from_second(seconds).ok(),
        Any::Other(_) => None,
    })
}

/// Reads a delivery whose signature was believed.
///
/// # Errors
/// [`PayloadError`] for a body that GitHub would not send.
pub fn parse(event: &str, body: &[u8]) -> Result<Parsed, PayloadError> {
    match event {
        "workflow_job" => {}
        "ping" => {
            serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(PayloadError::NotJson)?;
            return Ok(Parsed::Ping);
        }
        "installation" | "installation_repositories" => {
            let event: InstallationPayload = serde_json::from_slice(body).map_err(PayloadError::NotJson)?;
            let account = event.installation.and_then(|it| it.account).and_then(|it| it.login.or(it.slug));
            return Ok(Parsed::Installation { action: event.action, account: account.unwrap_or_default() });
        }
        other => {
            serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(PayloadError::NotJson)?;
            return Ok(Parsed::NotOurs(format!("`{other}` events are not used; the hook only needs `workflow_job`")));
        }
    }
    let payload: Payload = serde_json::from_slice(body).map_err(|error| {
        if error.is_data() { PayloadError::NotAJobEvent(error) } else { PayloadError::NotJson(error) }
    })?;
    let job = payload.workflow_job;
    let runner = job.runner_name.filter(|name| !name.is_empty()).map(RunnerName::new);
    let action = match (payload.action.as_str(), job.status.as_deref()) {
        // An environment's approval is still to come: GitHub sends `queued` with `status=waiting` for these.
        ("queued", Some("queued") | None) => JobAction::Queued,
        ("queued" | "waiting", _) => JobAction::Waiting,
        ("in_progress", _) => JobAction::InProgress { runner },
        ("completed", _) => {
            JobAction::Completed { conclusion: job.conclusion.unwrap_or_else(|| "unknown".into()), runner }
        }
        (other, _) => return Ok(Parsed::NotOurs(format!("`workflow_job` action `{other}` is not known"))),
    };
    Ok(Parsed::Job(Box::new(JobEvent {
        action,
        job: JobFacts {
            key: JobKey { id: JobId(job.id), attempt: job.run_attempt.unwrap_or(1) },
            run_id: job.run_id,
            name: job.name,
            workflow: job.workflow_name,
            repository: RepoName::new(payload.repository.full_name),
            private: payload.repository.private,
            labels: LabelSet::from(job.labels.unwrap_or_default()),
            html_url: job.html_url,
            installation: payload.installation.map(|installation| installation.id),
            created_at: job.created_at,
        },
    })))
}
