//! Jobs as GitHub knows them now: the judge when events are in doubt.

use super::Client;
use super::auth::{Acting, Purpose};
use super::error::{Error, refusal};
use super::line::{Endpoint, Line, Request};
use crate::model::{JobAction, JobEvent, JobFacts, JobId, JobKey, LabelSet, RepoName, RunnerName, Scope};
use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct JobAnswer {
    id: JobId,
    run_id: u64,
    run_attempt: Option<u32>,
    status: String,
    conclusion: Option<String>,
    name: Option<String>,
    workflow_name: Option<String>,
    labels: Option<Vec<String>>,
    runner_name: Option<String>,
    html_url: Option<String>,
    created_at: Option<Timestamp>,
}

impl JobAnswer {
    pub(super) fn into_event(self, repository: &RepoName, installation: Option<u64>) -> JobEvent {
        // A job without a runner has null, or an empty name.
        let runner = self.runner_name.filter(|name| !name.is_empty()).map(RunnerName::new);
        let action = match self.status.as_str() {
            "queued" => JobAction::Queued,
            "in_progress" => JobAction::InProgress { runner },
            "completed" => {
                JobAction::Completed { conclusion: self.conclusion.unwrap_or_else(|| "unknown".to_owned()), runner }
            }
            // `waiting`, `pending`, `requested`; a word that GitHub adds is no demand and ends nothing either.
            _ => JobAction::Waiting,
        };
        let facts = JobFacts {
            key: JobKey { id: self.id, attempt: self.run_attempt.unwrap_or(1) },
            run_id: self.run_id,
            name: self.name.unwrap_or_default(),
            workflow: self.workflow_name,
            repository: repository.clone(),
            private: None,
            labels: LabelSet::from(self.labels.unwrap_or_default()),
            html_url: self.html_url,
            installation,
            created_at: self.created_at,
        };
        JobEvent { action, job: facts }
    }
}

impl Client {
    /// How far GitHub says that a job is; none where it knows no such job. May lag behind the events by seconds.
    /// `installation` is the one that an event named: a hint, looked up anew where it does not work.
    pub async fn job(
        &self,
        repository: &RepoName,
        installation: Option<u64>,
        id: JobId,
    ) -> Result<Option<JobEvent>, Error> {
        let what = format!("read job {id} of `{repository}`");
        let scope = scope_of(repository, &what)?;
        let path = format!("{}/actions/jobs/{id}", scope.api_path());
        let acting = Acting { scope, purpose: Purpose::Jobs, hint: installation };
        let answer = self.ask(&acting, &Request::get(Endpoint::Job, path, what.clone())).await?;
        match answer.status {
            status if status.is_success() => {
                let job: JobAnswer =
                    serde_json::from_slice(&answer.body).map_err(|error| Error::unreadable(&what, &error))?;
                Ok(Some(job.into_event(repository, installation)))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refusal(&answer, &what, Line::now())),
        }
    }
}

/// The scope of a repository that an event named.
pub(super) fn scope_of(repository: &RepoName, what: &str) -> Result<Scope, Error> {
    match Scope::try_from(repository.as_str().to_owned()) {
        // A dotted segment would lead to another path.
        Ok(scope @ Scope::Repository { .. }) if !repository.as_str().split('/').any(|part| part == "..") => Ok(scope),
        Ok(_) | Err(_) => {
            let message = format!("`{repository}` is not `owner/name`");
            Err(Error::Invalid { what: what.to_owned(), message })
        }
    }
}
