//! The verbs' side of the local socket.

use super::{Parts, RemoveRequest};
use crate::credentials::Reloaded;
use crate::model::{PoolName, RunnerName};
use crate::overview::Overview;
use crate::persistent::{Change, Order, Progress};
use crate::removal::RemoveOutcome;
use crate::scheduler::State;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;

/// A view takes milliseconds; a removal waits for GitHub and Docker.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Speaks with a running `serve`.
pub struct Client {
    http: reqwest::Client,
}

/// An order is followed until the last of its runners is done: a running job may be waited for.
const ORDER: Duration = Duration::from_secs(7 * 24 * 3600);

/// What came over the socket, or did not.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The socket answered, and not as it should.
    #[error("`runnerfleet serve` did not answer on its local socket as it should: {0}")]
    Socket(#[from] reqwest::Error),
    /// `serve` does not do that; in its words.
    #[error("{0}")]
    Refused(String),
    /// The other side is another version of this program.
    #[error("`runnerfleet serve` answered with something that this version does not understand: {0}")]
    Unreadable(#[from] serde_json::Error),
}

impl Client {
    /// A client, if a `serve` listens on the socket.
    pub async fn connect(socket: &Path) -> Option<Self> {
        tokio::net::UnixStream::connect(socket).await.ok()?;
        // No TLS on a socket: a machine without certificates must not look like one without a `serve`.
        let plain = reqwest::Client::builder().tls_certs_only(std::iter::empty());
        let http = plain.unix_socket(socket).timeout(TIMEOUT).build().ok()?;
        Some(Self { http })
    }

    /// Whether it gets round to an answer.
    pub async fn alive(&self, within: Duration) -> Result<(), AdminError> {
        self.http.get("http://runnerfleet/v1/alive").timeout(within).send().await?.error_for_status()?;
        Ok(())
    }

    /// What its parts say.
    pub async fn health(&self) -> Result<Parts, AdminError> {
        Ok(self.http.get("http://runnerfleet/v1/health").send().await?.error_for_status()?.json().await?)
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

    /// Has secrets and keys read again; what is valid then.
    pub async fn reload(&self) -> Result<Reloaded, AdminError> {
        let answer = self.http.post("http://runnerfleet/v1/reload").send().await?;
        Ok(granted(answer).await?.json().await?)
    }

    /// Removes one runner.
    pub async fn remove(&self, runner: &RunnerName, force: bool) -> Result<RemoveOutcome, AdminError> {
        let request = RemoveRequest { runner: runner.clone(), force };
        let answer = self.http.post("http://runnerfleet/v1/remove").json(&request).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// What a deploy would do with these pools; with all where none is given.
    pub async fn difference(&self, pools: &[PoolName]) -> Result<Vec<Change>, AdminError> {
        let names: Vec<&str> = pools.iter().map(PoolName::as_str).collect();
        let url = "http://runnerfleet/v1/difference";
        let answer = self.http.get(url).query(&[("pools", names.join(","))]).send().await?;
        Ok(granted(answer).await?.json().await?)
    }

    /// Has an order carried out, and passes its news on. Comes back when the last runner is done.
    pub async fn carry_out(&self, order: &Order, progress: mpsc::Sender<Progress>) -> Result<(), AdminError> {
        let asked = self.http.post("http://runnerfleet/v1/persistent").timeout(ORDER).json(order).send().await?;
        let mut answer = granted(asked).await?;
        let mut unread = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            unread.extend_from_slice(&piece);
            while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = unread.drain(..=end).collect();
                // Whoever asked may have gone; the order goes on all the same.
                let _ = progress.send(serde_json::from_slice(&line)?).await;
            }
        }
        Ok(())
    }
}

/// A refusal has its reason as text.
async fn granted(answer: reqwest::Response) -> Result<reqwest::Response, AdminError> {
    if answer.status() == reqwest::StatusCode::UNPROCESSABLE_ENTITY {
        return Err(AdminError::Refused(answer.text().await?));
    }
    Ok(answer.error_for_status()?)
}
