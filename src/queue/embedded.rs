//! The queue in the embedded file.
//!
//! Events lie in the file in the order in which they came. Memory holds only which of them are handed out.

use super::{EventId, Pushed, Queue, QueueError, QueuedEvent, Received};
use crate::durable::embedded::{EVENTS, EmbeddedDb, MARKS, Step, Unavailable};
use crate::model::DeliveryId;
use async_trait::async_trait;
use jiff::Timestamp;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Marks that one transaction ages out; more would keep pushes waiting.
const FORGET_BATCH: usize = 2000;

struct EmbeddedQueue(EmbeddedDb);

/// What is handed out. One for all queues made from one open file.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    out: Mutex<HandedOut>,
    pushed: Notify,
}

#[derive(Debug, Default)]
struct HandedOut {
    /// The highest number that was handed out.
    last: u64,
    /// What is out, and since when.
    since: BTreeMap<u64, Instant>,
}

impl EmbeddedDb {
    /// The queue in this file.
    pub fn queue(&self) -> Arc<dyn Queue> {
        Arc::new(EmbeddedQueue(self.clone()))
    }
}

#[async_trait]
impl Queue for EmbeddedQueue {
    async fn push(&self, event: QueuedEvent) -> Result<Pushed, QueueError> {
        let mark = mark(&event.delivery);
        let received = event.received_at.as_microsecond();
        let json = serde_json::to_vec(&event).map_err(|error| QueueError(error.to_string()))?;
        let inbox = Arc::clone(&self.0.inbox);
        let pushed = self.0.writer.write(
            move |step| insert(step, mark, received, &json),
            move |pushed| {
                if *pushed == Pushed::New {
                    inbox.pushed.notify_waiters();
                }
            },
        );
        Ok(pushed.await?)
    }

    async fn seen(&self, deliveries: &[DeliveryId]) -> Result<Vec<bool>, QueueError> {
        self.0.writer.heal().await?;
        let marks: Vec<u128> = deliveries.iter().map(mark).collect();
        let look = move |txn: &ReadTransaction| {
            let table = txn.open_table(MARKS)?;
            marks.iter().map(|mark| Ok(ReadableTable::get(&table, mark)?.is_some())).collect()
        };
        Ok(self.0.writer.read_much(look).await?)
    }

    async fn receive(&self, max: usize) -> Result<Vec<Received>, QueueError> {
        loop {
            let pushed = self.0.inbox.pushed.notified();
            tokio::pin!(pushed);
            // From here on a push is not missed.
            pushed.as_mut().enable();
            self.0.writer.heal().await?;
            // No await between marking an event as handed out and handing it out: a dropped call loses nothing.
            let events = self.hand_out(max)?;
            if !events.is_empty() {
                return Ok(events);
            }
            match self.next_return() {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, pushed).await;
                }
                None => pushed.await,
            }
        }
    }

    async fn ack(&self, ids: &[EventId]) -> Result<(), QueueError> {
        let numbers: Vec<u64> = ids.iter().filter_map(|id| id.0.parse().ok()).collect();
        let inbox = Arc::clone(&self.0.inbox);
        let acked = self.0.writer.write(
            move |step| {
                for number in &numbers {
                    step.tables.events.remove(number)?;
                }
                Ok(numbers)
            },
            move |numbers| {
                let mut out = inbox.lock();
                for number in numbers {
                    out.since.remove(number);
                }
            },
        );
        acked.await?;
        Ok(())
    }

    async fn depth(&self) -> Result<u64, QueueError> {
        self.0.writer.heal().await?;
        Ok(self.0.writer.read(|txn| Ok(txn.open_table(EVENTS)?.len()?))?)
    }

    async fn ping(&self) -> Result<(), QueueError> {
        Ok(self.0.writer.ping().await?)
    }

    async fn forget(&self, before: Timestamp) -> Result<(), QueueError> {
        let before = before.as_microsecond();
        loop {
            let gone = self.0.writer.write(move |step| forget_some(step, before), |_| ()).await?;
            if gone < FORGET_BATCH {
                return Ok(());
            }
        }
    }
}

impl EmbeddedQueue {
    /// Hands out what is due: first what was handed out and not acknowledged in time, then what is new.
    fn hand_out(&self, max: usize) -> Result<Vec<Received>, QueueError> {
        let mut out = self.0.inbox.lock();
        let now = Instant::now();
        let events = self.0.writer.read(|txn| due(txn, &mut out, max, now, self.0.visibility))?;
        for (number, _) in &events {
            out.since.insert(*number, now);
            out.last = out.last.max(*number);
        }
        Ok(events.into_iter().map(|(number, event)| Received { id: EventId(number.to_string()), event }).collect())
    }

    /// When the first event that is out comes back.
    fn next_return(&self) -> Option<Instant> {
        let first = self.0.inbox.lock().since.values().min().copied()?;
        first.checked_add(self.0.visibility)
    }
}

impl Inbox {
    fn lock(&self) -> std::sync::MutexGuard<'_, HandedOut> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(step: &mut Step<'_>, mark: u128, received: i64, json: &[u8]) -> Result<Pushed, redb::Error> {
    if step.tables.marks.insert(mark, ())?.is_some() {
        return Ok(Pushed::Repeated);
    }
    step.tables.ages.insert((received, mark), ())?;
    let number = step.next_event();
    step.tables.events.insert(number, json)?;
    Ok(Pushed::New)
}

fn forget_some(step: &mut Step<'_>, before: i64) -> Result<usize, redb::Error> {
    let old: Vec<(i64, u128)> = step
        .tables
        .ages
        .range(..(before, 0))?
        .take(FORGET_BATCH)
        .map(|entry| entry.map(|(key, _)| key.value()))
        .collect::<Result<_, _>>()?;
    for key in &old {
        step.tables.ages.remove(key)?;
        step.tables.marks.remove(key.1)?;
    }
    Ok(old.len())
}

type Due = Vec<(u64, Result<QueuedEvent, String>)>;

fn due(
    txn: &ReadTransaction,
    out: &mut HandedOut,
    max: usize,
    now: Instant,
    visibility: std::time::Duration,
) -> Result<Due, redb::Error> {
    let table = txn.open_table(EVENTS)?;
    let mut events = Vec::new();
    let late = out.since.iter().filter(|(_, since)| now.duration_since(**since) >= visibility);
    let late: Vec<u64> = late.map(|(number, _)| *number).take(max).collect();
    for number in late {
        match ReadableTable::get(&table, number)? {
            Some(json) => events.push((number, read(json.value()))),
            // Acknowledged a moment ago.
            None => {
                out.since.remove(&number);
            }
        }
    }
    for entry in ReadableTable::range(&table, out.last + 1..)?.take(max - events.len()) {
        let (number, json) = entry?;
        events.push((number.value(), read(json.value())));
    }
    Ok(events)
}

fn read(json: &[u8]) -> Result<QueuedEvent, String> {
    serde_json::from_slice(json).map_err(|_| String::from_utf8_lossy(json).into_owned())
}

/// 128 bits of a hash: a million deliveries collide with a chance of one in 10^26.
fn mark(delivery: &DeliveryId) -> u128 {
    let hash = Sha256::new().chain_update(&delivery.hook).chain_update([0]).chain_update(&delivery.guid).finalize();
    hash.iter().take(16).fold(0, |mark, byte| mark << 8 | u128::from(*byte))
}

impl From<Unavailable> for QueueError {
    fn from(why: Unavailable) -> Self {
        Self(why.0)
    }
}
