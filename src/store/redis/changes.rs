//! The feed of changes: a subscription that comes back after each break, and says that something may have been missed.

use super::job_key;
use crate::durable::redis::Shared;
use crate::model::RunnerName;
use crate::store::feed::Reader;
use crate::store::{StoreChange, StoreError, Versioned};
use futures_util::StreamExt;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// From the first packet to a subscription that stands.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_millis(2500);

/// A connection that was cut without a word is noticed after this time at the latest, twice over.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Between two tries to come back. Nothing is lost by it: `Missed` is said once the subscription stands again.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// A feed that stands when this returns.
pub(super) async fn subscribe(shared: Arc<Shared>) -> Result<mpsc::Receiver<StoreChange>, StoreError> {
    let subscription = open(&shared).await?;
    let (mut reader, receiver) = Reader::open();
    tokio::spawn(async move {
        let mut subscription = Some(subscription);
        while !reader.is_gone() {
            match subscription.take() {
                Some(standing) => {
                    pass_on(standing, &mut reader).await;
                    tracing::debug!("the feed of changes broke");
                    // Whoever reads everything again now finds out at once that the store is away.
                    reader.tell(StoreChange::Missed);
                }
                None => tokio::time::sleep(RETRY_EVERY).await,
            }
            if let Ok(again) = open(&shared).await {
                // Said after the subscription stands, so that nothing falls between this and what follows.
                reader.tell(StoreChange::Missed);
                subscription = Some(again);
            }
        }
    });
    Ok(receiver)
}

async fn open(shared: &Shared) -> Result<PubSub, StoreError> {
    let subscribe = async {
        let (client, _) = shared.address.connect(SUBSCRIBE_TIMEOUT).await?;
        let mut subscription = client.get_async_pubsub().await.map_err(|error| error.to_string())?;
        subscription.subscribe(shared.keys.changes()).await.map_err(|error| error.to_string())?;
        Ok(subscription)
    };
    match tokio::time::timeout(SUBSCRIBE_TIMEOUT, subscribe).await {
        Ok(opened) => opened.map_err(StoreError),
        Err(_) => Err(StoreError(format!("redis did not answer within {SUBSCRIBE_TIMEOUT:?}"))),
    }
}

/// Passes changes on until the connection breaks or nobody reads any more.
async fn pass_on(subscription: PubSub, reader: &mut Reader) {
    let (mut sink, mut messages): (PubSubSink, PubSubStream) = subscription.split();
    loop {
        let next = tokio::select! {
            next = tokio::time::timeout(PROBE_EVERY, messages.next()) => next,
            () = reader.gone() => return,
        };
        match next {
            Ok(Some(message)) => {
                if let Some(change) = read(message.get_payload_bytes()) {
                    reader.tell(change);
                }
            }
            Ok(None) => return,
            Err(_) => match tokio::time::timeout(PROBE_EVERY, sink.ping::<redis::Value>()).await {
                Ok(Ok(_)) => {}
                Ok(Err(_)) | Err(_) => return,
            },
        }
    }
}

/// A change as the scripts tell it. One that cannot be read (a newer version wrote it) is told in the log.
pub(crate) fn read(payload: &[u8]) -> Option<StoreChange> {
    let text = String::from_utf8_lossy(payload);
    let change = match text.split_once('\n') {
        Some(("job", rest)) => versioned(rest).map(StoreChange::Job),
        Some(("runner", rest)) => versioned(rest).map(StoreChange::Runner),
        Some(("job-gone", name)) => job_key(name).map(StoreChange::JobForgotten),
        Some(("runner-gone", name)) => Some(StoreChange::RunnerForgotten(RunnerName::new(name))),
        _ => None,
    };
    if change.is_none() {
        tracing::warn!("a change in redis cannot be read and is passed over");
    }
    change
}

fn versioned<T: DeserializeOwned>(text: &str) -> Option<Versioned<T>> {
    let (version, json) = text.split_once('\n')?;
    Some(Versioned { version: version.parse().ok()?, row: serde_json::from_str(json).ok()? })
}
