//! What is left of GitHub's limits, and which agent GitHub gives out.

use super::Client;
use super::auth::{Acting, Identity, Purpose};
use super::error::Error;
use super::line::{Endpoint, Payer, Request};
use crate::model::Scope;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A budget of GitHub's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rate {
    /// `core`, `actions_runner_registration`, …
    pub resource: String,
    /// Requests in an hour.
    pub limit: u64,
    /// Of these, what is left.
    pub remaining: u64,
    /// When it is full again.
    pub reset: Timestamp,
}

#[derive(Deserialize)]
struct RatesAnswer {
    resources: BTreeMap<String, RateAnswer>,
}

#[derive(Deserialize)]
struct RateAnswer {
    limit: u64,
    remaining: u64,
    reset: i64,
}

#[derive(Deserialize)]
struct DownloadAnswer {
    os: String,
    architecture: String,
    filename: String,
}

impl Client {
    /// What is left of each budget: of the installation on the account, or of the App (of the token's owner) itself. Counts
    /// against none (GitHub docs, "Get rate limit status").
    pub async fn rates(&self, account: Option<&str>) -> Result<Vec<Rate>, Error> {
        let what = "read what is left of the rate limit".to_owned();
        let request = Request::get(Endpoint::Ourselves, "rate_limit".to_owned(), what);
        let identity = self.identity();
        let rates: RatesAnswer = match (identity.as_ref(), account) {
            (Identity::Token(token), _) => {
                super::app::read(&self.inner.line.ask(&request, &Payer::TokenOwner, token).await?, &request.what)?
            }
            (Identity::App(_), None) => self.read_as_the_app(&request).await?,
            (Identity::App(_), Some(account)) => {
                let scope = Scope::Organization(account.to_owned());
                self.read(&Acting { scope, purpose: Purpose::Metadata, hint: None }, &request).await?
            }
        };
        let known = |(resource, rate): (String, RateAnswer)| Rate {
            resource,
            limit: rate.limit,
            remaining: rate.remaining,
            reset: Timestamp::from_second(rate.reset).unwrap_or(Timestamp::UNIX_EPOCH),
        };
        Ok(rates.resources.into_iter().map(known).collect())
    }

    /// The version of the agent that GitHub gives out for runners of the scope; none where its list does not tell.
    pub async fn agent_version(&self, scope: &Scope) -> Result<Option<String>, Error> {
        let what = format!("read which agent is the newest for `{scope}`");
        let path = format!("{}/actions/runners/downloads", scope.api_path());
        let request = Request::get(Endpoint::Runners, path, what);
        let downloads: Vec<DownloadAnswer> = self.read(&Acting::runners(scope), &request).await?;
        let linux = downloads.iter().filter(|it| it.os == "linux");
        let first = linux.clone().find(|it| it.architecture == "x64").or_else(|| linux.clone().next());
        Ok(first.and_then(|it| version_in(&it.filename)))
    }
}

/// `actions-runner-linux-x64-2.336.0.tar.gz` -> `2.336.0`.
fn version_in(filename: &str) -> Option<String> {
    let name = filename.strip_suffix(".tar.gz").or_else(|| filename.strip_suffix(".zip"))?;
    let version = name.rsplit('-').next()?;
    let is_version = version.contains('.') && version.chars().all(|c| c.is_ascii_digit() || c == '.');
    is_version.then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_taken_out_of_the_files_name() {
        assert_eq!(version_in("actions-runner-linux-x64-2.336.0.tar.gz").as_deref(), Some("2.336.0"));
        assert_eq!(version_in("actions-runner-linux-x64.tar.gz"), None);
        assert_eq!(version_in("readme.txt"), None);
    }
}
