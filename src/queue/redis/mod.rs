//! The queue in Redis: a stream that the managers of a fleet read as one group.

mod reader;

pub(crate) use self::reader::events_of;

use self::reader::Reader;
use super::{EventId, Pushed, Queue, QueueError, QueuedEvent, Received};
use crate::durable::redis::{Keys, RedisDb, Shared, Unavailable};
use crate::model::DeliveryId;
use async_trait::async_trait;
use jiff::Timestamp;
use redis::Script;
use std::sync::{Arc, LazyLock};

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("push.lua")));

struct RedisQueue {
    shared: Arc<Shared>,
    reader: tokio::sync::Mutex<Reader>,
}

impl RedisDb {
    /// The queue in this Redis. Each one made here is a reader of its own: make one and share it.
    pub fn queue(&self) -> Arc<dyn Queue> {
        let shared = Arc::clone(&self.shared);
        Arc::new(RedisQueue { reader: tokio::sync::Mutex::new(Reader::new(Arc::clone(&shared))), shared })
    }
}

#[async_trait]
impl Queue for RedisQueue {
    async fn push(&self, event: QueuedEvent) -> Result<Pushed, QueueError> {
        let json = serde_json::to_vec(&event).map_err(|error| QueueError(error.to_string()))?;
        let keys = &self.shared.keys;
        let prepare = |_| {
            let mut call = PUSH.prepare_invoke();
            call.key(keys.seen()).key(keys.events());
            call.arg(event.received_at.as_microsecond()).arg(event.delivery.to_string()).arg(Keys::EVENT).arg(&json);
            call
        };
        // Repeated on a broken connection it may say "seen" of its own first try: the event is there, which is all that
        // the caller's answer to GitHub promises.
        let new: u64 = self.shared.link.call(prepare).await?;
        Ok(if new == 1 { Pushed::New } else { Pushed::Repeated })
    }

    async fn seen(&self, deliveries: &[DeliveryId]) -> Result<Vec<bool>, QueueError> {
        if deliveries.is_empty() {
            return Ok(Vec::new());
        }
        let names: Vec<String> = deliveries.iter().map(ToString::to_string).collect();
        let ask = redis::Cmd::zscore_multiple(self.shared.keys.seen(), &names);
        let marks: Vec<Option<f64>> = self.shared.link.ask(&ask).await?;
        Ok(marks.iter().map(Option::is_some).collect())
    }

    async fn receive(&self, max: usize) -> Result<Vec<Received>, QueueError> {
        self.reader.lock().await.receive(max).await
    }

    async fn ack(&self, ids: &[EventId]) -> Result<(), QueueError> {
        if ids.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = ids.iter().map(|id| id.0.as_str()).collect();
        let key = self.shared.keys.events();
        let mut both = redis::pipe();
        both.atomic().xack(&key, Keys::GROUP, &ids).ignore().xdel(&key, &ids).ignore();
        Ok(self.shared.link.ask_all(&both).await?)
    }

    async fn depth(&self) -> Result<u64, QueueError> {
        // What is acknowledged is deleted, so all that is there is not.
        Ok(self.shared.link.ask(&redis::Cmd::xlen(self.shared.keys.events())).await?)
    }

    async fn ping(&self) -> Result<(), QueueError> {
        Ok(self.shared.ping().await?)
    }

    async fn forget(&self, before: Timestamp) -> Result<(), QueueError> {
        let below = format!("({}", before.as_microsecond());
        Ok(self.shared.link.ask(&redis::Cmd::zrembyscore(self.shared.keys.seen(), "-inf", below)).await?)
    }
}

impl From<Unavailable> for QueueError {
    fn from(why: Unavailable) -> Self {
        Self(why.0)
    }
}
