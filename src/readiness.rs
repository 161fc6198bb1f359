//! `/readyz`: which parts are there, and why one is not.

use crate::clock;
use crate::config::{Config, IntakeMode};
use crate::github::Client;
use crate::missed::report::{Looked, Missed};
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

/// Where GitHub's log is all the intake that there is, three readings in a row may be missed, and so much time on top.
const LATE: Duration = Duration::from_secs(60);

/// Asks the parts.
pub struct Probes {
    store: Arc<dyn Store>,
    provider: Arc<dyn Provider>,
    client: Client,
    github: Mutex<Option<(Timestamp, Result<String, String>)>>,
    /// GitHub's log of deliveries, where it is read; and within which time it must be, where it is all the intake that there is.
    log: Option<(Missed, Option<Duration>)>,
}

impl Probes {
    /// Of these parts.
    pub fn new(store: Arc<dyn Store>, provider: Arc<dyn Provider>, client: Client) -> Self {
        Self { store, provider, client, github: Mutex::new(None), log: None }
    }

    /// Tells of GitHub's log of deliveries as well, where the configuration has it read.
    #[must_use]
    pub fn with_missed(self, missed: Missed, config: &Config) -> Self {
        let at_least = |every: Duration| (config.intake.mode == IntakeMode::Pull).then(|| every * 3 + LATE);
        Self { log: config.github.poll_deliveries.map(|every| (missed, at_least(every))), ..self }
    }

    fn log(&self) -> Option<Result<String, String>> {
        let (missed, within) = self.log.as_ref()?;
        let (now, log) = (clock::now(), missed.report().log.unwrap_or_default());
        let told = told(&log, now);
        let is_late = within.is_some_and(|within| log.at.is_none_or(|at| age(now, at) > within));
        Some(if is_late { Err(told) } else { Ok(told) })
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
        let mut parts = BTreeMap::from([("store", store), ("docker", docker), ("github", github)]);
        parts.extend(self.log().map(|log| ("deliveries", log)));
        parts
    }
}

async fn soon(ask: impl Future<Output = Result<String, String>>) -> Result<String, String> {
    tokio::time::timeout(PATIENCE, ask)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}

/// In a person's words.
fn told(log: &Looked, now: Timestamp) -> String {
    let read = match log.at {
        None => "GitHub's log of deliveries was not read yet".to_owned(),
        Some(at) => format!("GitHub's log of deliveries was read {} s ago", age(now, at).as_secs()),
    };
    let made_good = match log.made_good {
        0 => String::new(),
        some => format!(", {some} made good"),
    };
    let trouble = log.trouble.as_ref().map(|why| format!("; {why}")).unwrap_or_default();
    format!("{read}{made_good}{trouble}")
}
