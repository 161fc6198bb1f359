//! The verbs' side of the local socket.

use super::RemoveRequest;
use crate::model::RunnerName;
use crate::overview::Overview;
use crate::removal::RemoveOutcome;
use crate::scheduler::State;
use std::path::Path;
use std::time::Duration;

/// A view takes milliseconds; a removal waits for GitHub and Docker.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Speaks with a running `serve`.
pub struct Client {
    http: reqwest::Client,
}

/// The socket answered, and not as it should.
#[derive(Debug, thiserror::Error)]
#[error("`runnerfleet serve` did not answer on its local socket as it should: {0}")]
pub struct AdminError(#[from] reqwest::Error);

impl Client {
    /// A client, if a `serve` listens on the socket.
    pub async fn connect(socket: &Path) -> Option<Self> {
        tokio::net::UnixStream::connect(socket).await.ok()?;
        let http = reqwest::Client::builder().unix_socket(socket).timeout(TIMEOUT).build().ok()?;
        Some(Self { http })
    }

    /// What it knows.
    pub async fn overview(&self) -> Result<Overview, AdminError> {
        Ok(self.http.get("http://runnerfleet/v1/overview").send().await?.error_for_status()?.json().await?)
    }

    /// What is written down of the scheduler's runs.
    pub async fn scheduler(&self) -> Result<State, AdminError> {
        Ok(self.http.get("http://runnerfleet/v1/scheduler").send().await?.error_for_status()?.json().await?)
    }

    /// Asks the scheduler for a run now.
    pub async fn run_scheduler(&self) -> Result<(), AdminError> {
        self.http.post("http://runnerfleet/v1/scheduler").send().await?.error_for_status()?;
        Ok(())
    }

    /// Removes one runner.
    pub async fn remove(&self, runner: &RunnerName, force: bool) -> Result<RemoveOutcome, AdminError> {
        let request = RemoveRequest { runner: runner.clone(), force };
        let answer = self.http.post("http://runnerfleet/v1/remove").json(&request).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }
}
