//! Which runs of a repository are open, and their jobs. Asked again with the `ETag` of the last answer: where nothing changed
//! GitHub says 304, which counts against no limit (docs, "Best practices for using the REST API").

use super::Client;
use super::auth::{Acting, Purpose};
use super::error::{Error, refusal};
use super::jobs::{JobAnswer, scope_of};
use super::limits::Left;
use super::line::{Endpoint, Line, Request};
use super::transport::Answer;
use crate::model::{JobEvent, RepoName};
use http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// GitHub's largest page.
const PER_PAGE: usize = 100;

/// An answer to a question that was asked before.
#[derive(Debug, Clone, PartialEq)]
pub enum Listed<T> {
    /// Nothing changed since the answer with that `ETag`.
    Same,
    /// A page, and its `ETag`.
    Page(Page<T>),
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Whether there is another one behind it.
    pub more: bool,
    /// To be given with the same question the next time.
    pub etag: Option<String>,
}

/// A run in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunRow {
    /// GitHub's id of it.
    pub id: u64,
    /// Whether its repository is private; none where GitHub does not say.
    pub private: Option<bool>,
}

#[derive(Deserialize)]
struct RunsAnswer {
    workflow_runs: Vec<RunAnswer>,
}

#[derive(Deserialize)]
struct RunAnswer {
    id: u64,
    repository: Option<RepositoryAnswer>,
}

#[derive(Deserialize)]
struct RepositoryAnswer {
    private: Option<bool>,
}

#[derive(Deserialize)]
struct JobsAnswer {
    jobs: Vec<JobAnswer>,
}

impl Client {
    /// The runs of a repository in this status (`queued`, `in_progress`), newest first: the first hundred. A run of which some
    /// jobs run and others wait has both, so whoever looks for queued jobs has to ask for both.
    pub async fn open_runs(
        &self,
        repository: &RepoName,
        status: &str,
        etag: Option<String>,
    ) -> Result<Listed<RunRow>, Error> {
        let what = format!("list the {status} runs of `{repository}`");
        let query = format!("status={status}&exclude_pull_requests=true&per_page={PER_PAGE}");
        let answer = self.of_repository(repository, &format!("runs?{query}"), Endpoint::Runs, &what, etag).await?;
        let known =
            |it: RunAnswer| RunRow { id: it.id, private: it.repository.and_then(|repository| repository.private) };
        page(&answer, &what, |runs: RunsAnswer| runs.workflow_runs.into_iter().map(known).collect())
    }

    /// The jobs of a run's newest attempt, each as the event that would have told of it.
    pub async fn jobs_of_run(
        &self,
        repository: &RepoName,
        run: u64,
        number: usize,
        etag: Option<String>,
    ) -> Result<Listed<JobEvent>, Error> {
        let what = format!("list the jobs of run {run} of `{repository}`");
        let path = format!("runs/{run}/jobs?filter=latest&per_page={PER_PAGE}&page={number}");
        let answer = self.of_repository(repository, &path, Endpoint::Job, &what, etag).await?;
        page(&answer, &what, |jobs: JobsAnswer| {
            jobs.jobs.into_iter().map(|job| job.into_event(repository, None)).collect()
        })
    }

    /// What is left of the account's budget for such lists; none where GitHub has not told.
    pub fn left_for(&self, account: &str) -> Option<Left> {
        self.inner.line.left(&self.identity().payer(account), Endpoint::Runs)
    }

    async fn of_repository(
        &self,
        repository: &RepoName,
        path: &str,
        endpoint: Endpoint,
        what: &str,
        etag: Option<String>,
    ) -> Result<Answer, Error> {
        let scope = scope_of(repository, what)?;
        let path = format!("{}/actions/{path}", scope.api_path());
        let acting = Acting { scope, purpose: Purpose::Jobs, hint: None };
        self.ask(&acting, &Request { etag, ..Request::get(endpoint, path, what.to_owned()) }).await
    }
}

fn page<A: DeserializeOwned, T>(answer: &Answer, what: &str, items: impl Fn(A) -> Vec<T>) -> Result<Listed<T>, Error> {
    if answer.status == StatusCode::NOT_MODIFIED {
        return Ok(Listed::Same);
    }
    if !answer.status.is_success() {
        return Err(refusal(answer, what, Line::now()));
    }
    let read: A = serde_json::from_slice(&answer.body).map_err(|error| Error::unreadable(what, &error))?;
    Ok(Listed::Page(Page {
        items: items(read),
        more: answer.header("link").is_some_and(|link| link.contains("rel=\"next\"")),
        etag: answer.header("etag").map(str::to_owned),
    }))
}
