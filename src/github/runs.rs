//! Runs of workflows: what made one begin, and whose code it runs.

use super::Client;
use super::auth::{Acting, Purpose};
use super::error::{Error, refusal};
use super::jobs::scope_of;
use super::line::{Endpoint, Line, Request};
use crate::model::RepoName;
use http::StatusCode;
use serde::Deserialize;

/// A run, as far as it matters for trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// GitHub's id of it.
    pub id: u64,
    /// `push`, `pull_request`, `pull_request_target`, …
    pub event: String,
    /// Where it runs.
    pub repository: RepoName,
    /// Where its commit comes from; none where that repository is gone.
    pub head_repository: Option<RepoName>,
    /// Whether that is a fork.
    pub head_fork: bool,
    /// Whether the repository where it runs is private; none where GitHub does not say.
    pub private: Option<bool>,
}

#[derive(Deserialize)]
struct RunAnswer {
    id: u64,
    event: String,
    head_repository: Option<HeadAnswer>,
    repository: Option<OwnAnswer>,
}

#[derive(Deserialize)]
struct OwnAnswer {
    private: Option<bool>,
}

#[derive(Deserialize)]
struct HeadAnswer {
    full_name: RepoName,
    #[serde(default)]
    fork: bool,
}

impl Client {
    /// What GitHub says of a run; none where it knows no such run. `installation` is the one that an event named: a hint.
    pub async fn run(
        &self,
        repository: &RepoName,
        run_id: u64,
        installation: Option<u64>,
    ) -> Result<Option<Run>, Error> {
        let what = format!("read run {run_id} of `{repository}`");
        let scope = scope_of(repository, &what)?;
        let path = format!("{}/actions/runs/{run_id}", scope.api_path());
        let acting = Acting { scope, purpose: Purpose::Jobs, hint: installation };
        let answer = self.ask(&acting, &Request::get(Endpoint::Job, path, what.clone())).await?;
        match answer.status {
            status if status.is_success() => {
                let run: RunAnswer =
                    serde_json::from_slice(&answer.body).map_err(|error| Error::unreadable(&what, &error))?;
                Ok(Some(Run {
                    id: run.id,
                    event: run.event,
                    repository: repository.clone(),
                    private: run.repository.and_then(|own| own.private),
                    head_fork: run.head_repository.as_ref().is_some_and(|head| head.fork),
                    head_repository: run.head_repository.map(|head| head.full_name),
                }))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(refusal(&answer, &what, Line::now())),
        }
    }
}
