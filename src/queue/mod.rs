//! The queue: events that were acknowledged to GitHub and are not applied yet.
//!
//! Two implementations: [`embedded`] (one file, nothing else to start) and [`redis`] (many managers share
//! one). One set of contract tests holds both. The webhook pushes, ingest receives and acknowledges.

pub mod embedded;
pub mod redis;

use crate::model::{DeliveryId, JobEvent};
use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// An event on its way through the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedEvent {
    /// The delivery that brought it; the key for "seen before".
    pub delivery: DeliveryId,
    /// When the receiver had it.
    pub received_at: Timestamp,
    /// The event.
    pub event: JobEvent,
}

/// What became of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// On durable storage, to be applied.
    New,
    /// This delivery was pushed before; nothing was written.
    Repeated,
}

/// The place of an event in the queue, for [`Queue::ack`]. Its text belongs to the implementation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub String);

/// An event handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// For [`Queue::ack`].
    pub id: EventId,
    /// The event; an entry that cannot be read (a newer version wrote it) comes as `Err` with its text, so that it is
    /// told and acknowledged, never silently stuck.
    pub event: Result<QueuedEvent, String>,
}

/// Why the queue could not do it. Told to GitHub as 503, so that its delivery log shows a failure to redeliver.
#[derive(Debug, thiserror::Error)]
#[error("the queue is not available: {0}")]
pub struct QueueError(pub String);

/// Durable memory for events.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Writes an event. When it returns `New`, the event is on durable storage (the embedded file: fsync, many pushes
    /// sharing one; Redis: as durable as its `appendfsync`). The mark of the delivery is written with the event, never
    /// before it.
    async fn push(&self, event: QueuedEvent) -> Result<Pushed, QueueError>;

    /// Which of these deliveries were pushed before and are not aged out; in the order of `deliveries`. What it says of one is
    /// durable: the mark was written with its event.
    async fn seen(&self, deliveries: &[DeliveryId]) -> Result<Vec<bool>, QueueError>;

    /// Hands out at most `max` events, oldest first; waits while there is none. What was handed out and not
    /// acknowledged comes back: at once after a restart of the same consumer, to another consumer after the
    /// visibility time-out. Cancel-safe: a dropped call loses nothing for good.
    async fn receive(&self, max: usize) -> Result<Vec<Received>, QueueError>;

    /// Forgets events that are applied. Repeating it is harmless.
    async fn ack(&self, ids: &[EventId]) -> Result<(), QueueError>;

    /// How many events are not acknowledged.
    async fn depth(&self) -> Result<u64, QueueError>;

    /// Whether a push would reach durable storage now.
    async fn ping(&self) -> Result<(), QueueError>;

    /// Ages out marks of deliveries received before `before`.
    async fn forget(&self, before: Timestamp) -> Result<(), QueueError>;
}
