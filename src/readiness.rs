//! `/readyz`: which parts are there, and why one is not.

use crate::clock;
use crate::github::Client;
use crate::model::age;
use crate::provider::Provider;
use crate::store::Store;
use crate::webhook::Readiness;
use async_trait::async_trait;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// A part that takes longer is not ready.
const PATIENCE: Duration = Duration::from_secs(4);

/// GitHub counts every question; a good answer is believed for so long...
const BELIEVE_GOOD: Duration = Duration::from_secs(60);

/// ...and a bad one for so long.
const BELIEVE_BAD: Duration = Duration::from_secs(10);

/// Asks the parts.
pub struct Probes {
    store: Arc<dyn Store>,
    provider: Arc<dyn Provider>,
    client: Client,
    github: Mutex<Option<(Timestamp, Result<String, String>)>>,
}

impl Probes {
    /// Of these parts.
    pub fn new(store: Arc<dyn Store>, provider: Arc<dyn Provider>, client: Client) -> Self {
        Self { store, provider, client, github: Mutex::new(None) }
    }

    async fn github(&self) -> Result<String, String> {
        let mut known = self.github.lock().await;
        if let Some((at, answer)) = known.as_ref() {
            let believe = if answer.is_ok() { BELIEVE_GOOD } else { BELIEVE_BAD };
            if age(clock::now(), *at) < believe {
                return answer.clone();
            }
        }
        let answer = soon(async { self.client.check().await.map_err(|error| error.to_string()) }).await;
        *known = Some((clock::now(), answer.clone()));
        answer
    }
}

#[async_trait]
impl Readiness for Probes {
    async fn check(&self) -> BTreeMap<&'static str, Result<String, String>> {
        let store = soon(async { self.store.ping().await.map(|()| "answers".to_owned()).map_err(|e| e.to_string()) });
        let docker = soon(async { self.provider.ping().await.map_err(|error| error.to_string()) });
        let (store, docker, github) = tokio::join!(store, docker, self.github());
        BTreeMap::from([("store", store), ("docker", docker), ("github", github)])
    }
}

async fn soon(ask: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    tokio::time::timeout(PATIENCE, ask)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}
