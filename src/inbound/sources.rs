//! From where deliveries are taken.
//!
//! The signature is what makes a delivery GitHub's; the list of addresses keeps everybody else from making us look at all.
//! As long as GitHub's list was never read, nothing is taken: an open door would be open to whoever keeps us from reading it.
//! The answer is 503 then, not 403: GitHub's log keeps the delivery as failed, and it can be had again.

use super::caller::is_in;
use crate::config;
use crate::github::{self, Client};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// GitHub changes its list now and then, and tells of it days before.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// The pauses after a reading that failed: the first, and the longest. Without a token GitHub allows 60 questions in an hour.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));

/// The list.
#[derive(Debug)]
pub struct Sources(From);

#[derive(Debug)]
enum From {
    Anywhere,
    Networks(Vec<IpNet>),
    /// None: never read.
    GitHub(RwLock<Option<Arc<[IpNet]>>>),
}

/// Why nothing is taken from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is not in the list.
    #[error("deliveries are not taken from {0} (intake.source_allowlist)")]
    NotListed(IpAddr),
    /// There is no list.
    #[error(
        "GitHub's list of its hooks' addresses could not be read yet (intake.source_allowlist: github-meta); redeliver it later"
    )]
    NotReadYet,
}

impl Sources {
    /// Of the configuration.
    pub fn new(sources: &config::Sources) -> Self {
        Self(match sources {
            config::Sources::Anywhere => From::Anywhere,
            config::Sources::Networks(networks) => From::Networks(networks.clone()),
            config::Sources::GitHubMeta => From::GitHub(RwLock::default()),
        })
    }

    /// Whether deliveries are taken from there. `None`: it is not known from where.
    ///
    /// # Errors
    /// They are not.
    pub fn admit(&self, address: Option<IpAddr>) -> Result<(), Refused> {
        let within = |networks: &[IpNet]| {
            let address = address.unwrap_or(IpAddr::from([0; 4]));
            if is_in(networks, address) { Ok(()) } else { Err(Refused::NotListed(address)) }
        };
        match &self.0 {
            From::Anywhere => Ok(()),
            From::Networks(networks) => within(networks),
            From::GitHub(list) => {
                let list = list.read().unwrap_or_else(PoisonError::into_inner).clone();
                within(&list.ok_or(Refused::NotReadYet)?)
            }
        }
    }

    /// Reads GitHub's list, where it is GitHub's that counts. After a failure the last one stays.
    ///
    /// # Errors
    /// GitHub could not be asked, or its answer is no list.
    pub async fn refresh(&self, client: &Client) -> Result<(), github::Error> {
        let From::GitHub(list) = &self.0 else { return Ok(()) };
        let networks = client.hook_networks().await?;
        let count = networks.len();
        let mut list = list.write().unwrap_or_else(PoisonError::into_inner);
        if list.as_deref() != Some(networks.as_slice()) {
            info!("deliveries are taken from the {count} networks that GitHub names for its hooks");
        }
        *list = Some(networks.into());
        Ok(())
    }

    /// Keeps GitHub's list current, until `stop`. Ends at once where it is not GitHub's that counts.
    pub async fn keep_current(self: Arc<Self>, client: Client, stop: CancellationToken) {
        let From::GitHub(list) = &self.0 else { return };
        let mut again = None;
        loop {
            let read = self.refresh(&client);
            let Some(read) = stop.run_until_cancelled(read).await else { return };
            let wait = match read {
                Ok(()) => {
                    again = None;
                    EVERY
                }
                Err(error) => {
                    // Told once for each time that it is away.
                    if again.is_none() {
                        let stays = list.read().unwrap_or_else(PoisonError::into_inner).is_some();
                        let until_then = if stays { "the last list stays" } else { "all deliveries are answered 503" };
                        warn!("the addresses of GitHub's hooks could not be read: {error}; until then {until_then}");
                    }
                    *again.insert(again.map_or(AGAIN.0, |last: Duration| (last * 2).min(AGAIN.1)))
                }
            };
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
        }
    }
}
