//! Reading the stream as one of the group.
//!
//! The wait for events is a command that blocks its connection, and whose answer must not be lost when the caller gives
//! up waiting. So it runs in a task of its own, on a connection of its own; a later call picks its answer up.

use crate::durable::redis::{Keys, Link, Shared, Unavailable};
use crate::queue::{EventId, QueueError, QueuedEvent, Received};
use futures_util::FutureExt;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value, from_redis_value};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::task::AbortOnDropHandle;

/// One read waits for so long at the server. The connection's own patience must be longer.
const BLOCK: Duration = Duration::from_secs(1);

/// A blocked read that is not answered after this (on top of [`BLOCK`]) has lost its connection.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How often at least the events of managers that died are looked for.
const CLAIM_EVERY: Duration = Duration::from_secs(10);

/// Reads events, and keeps what was read and not handed out yet.
pub(super) struct Reader {
    shared: Arc<Shared>,
    link: Arc<Link>,
    place: Place,
    reading: Option<AbortOnDropHandle<Read>>,
    ready: VecDeque<Received>,
}

/// What one read leaves: how far the reader is now, and what it read.
type Read = (Place, Result<Vec<Received>, QueueError>);

/// How far the reader is.
#[derive(Debug, Clone)]
struct Place {
    /// After a start: the last of our own old events that was read again. None when all were.
    own: Option<String>,
    /// When other managers' events are looked at next.
    claim_at: Instant,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let link = Arc::new(Link::new(Arc::clone(&shared.address), BLOCK + PATIENCE));
        let place = Place { own: Some("0".to_owned()), claim_at: Instant::now() };
        Self { shared, link, place, reading: None, ready: VecDeque::new() }
    }

    /// At most `max` events; waits while there is none.
    pub(super) async fn receive(&mut self, max: usize) -> Result<Vec<Received>, QueueError> {
        while self.ready.is_empty() {
            let reading = self.reading.get_or_insert_with(|| {
                let (shared, link, mut place) = (Arc::clone(&self.shared), Arc::clone(&self.link), self.place.clone());
                AbortOnDropHandle::new(tokio::spawn(async move {
                    let events = read(&shared, &link, &mut place, max).await;
                    (place, events)
                }))
            });
            // A call that is dropped here leaves the task behind for the next one.
            let done = reading.await;
            self.reading = None;
            let (place, events) = done.map_err(|error| QueueError(format!("a read was cut off: {error}")))?;
            self.place = place;
            self.ready.extend(events?);
        }
        let some = self.ready.len().min(max.max(1));
        Ok(self.ready.drain(..some).collect())
    }
}

/// One read: our own old events first, then those that others had for too long, then new ones.
async fn read(shared: &Shared, link: &Link, place: &mut Place, max: usize) -> Result<Vec<Received>, QueueError> {
    if let Some(after) = place.own.clone() {
        let entries = group_read(shared, link, max, &after, None).await?;
        place.own = entries.last().map(|entry| entry.id.clone());
        return hand_out(shared, link, entries).await;
    }
    let every = CLAIM_EVERY.min(shared.visibility / 2);
    if Instant::now() >= place.claim_at {
        let entries = claim(shared, link, max).await?;
        // As long as there are some, there may be more.
        if entries.is_empty() {
            place.claim_at = Instant::now() + every;
        }
        return hand_out(shared, link, entries).await;
    }
    let block = BLOCK.min(every).max(Duration::from_millis(1));
    let entries = group_read(shared, link, max, ">", Some(block)).await?;
    hand_out(shared, link, entries).await
}

struct Entry {
    id: String,
    /// None where the entry was deleted and only its place in the group's list is left.
    event: Option<Vec<u8>>,
}

async fn group_read(
    shared: &Shared,
    link: &Link,
    max: usize,
    after: &str,
    block: Option<Duration>,
) -> Result<Vec<Entry>, QueueError> {
    let key = shared.keys.events();
    let mut command = redis::cmd("XREADGROUP");
    command.arg("GROUP").arg(Keys::GROUP).arg(shared.consumer.as_str()).arg("COUNT").arg(max.max(1));
    if let Some(block) = block {
        command.arg("BLOCK").arg(u64::try_from(block.as_millis()).unwrap_or(u64::MAX));
    }
    command.arg("STREAMS").arg(&key).arg(after);
    Ok(entries(in_group(link, &key, &command).await?))
}

/// Streams with their entries; nothing where the time to wait is over.
type Streams = Option<Vec<(Value, Vec<Value>)>>;

fn entries(streams: Streams) -> Vec<Entry> {
    streams.unwrap_or_default().into_iter().flat_map(|(_, entries)| entries).filter_map(entry).collect()
}

async fn claim(shared: &Shared, link: &Link, max: usize) -> Result<Vec<Entry>, QueueError> {
    let key = shared.keys.events();
    let idle = u64::try_from(shared.visibility.as_millis()).unwrap_or(u64::MAX);
    let mut start = "0-0".to_owned();
    loop {
        let mut command = redis::cmd("XAUTOCLAIM");
        command.arg(&key).arg(Keys::GROUP).arg(shared.consumer.as_str()).arg(idle).arg(&start);
        command.arg("COUNT").arg(max.max(1));
        // Redis 7 adds a third part, the ids of deleted entries; it has dropped those from the list itself.
        let parts: Vec<Value> = in_group(link, &key, &command).await?;
        let mut parts = parts.into_iter();
        let next = parts.next().and_then(|next| from_redis_value::<String>(next).ok());
        let entries: Vec<Value> = parts.next().and_then(|list| from_redis_value(list).ok()).unwrap_or_default();
        let entries: Vec<Entry> = entries.into_iter().filter_map(entry).collect();
        match next {
            Some(next) if entries.is_empty() && next != "0-0" => start = next,
            _ => return Ok(entries),
        }
    }
}

/// Runs a command of the group, and makes the group where it is missing (at first, or after somebody emptied Redis).
async fn in_group<T: redis::FromRedisValue + Send>(link: &Link, key: &str, command: &Cmd) -> Result<T, Unavailable> {
    let run = |mut connection: MultiplexedConnection, _| {
        let run = async move {
            match command.query_async(&mut connection).await {
                Err(error) if error.code() == Some("NOGROUP") => {
                    make_group(&mut connection, key).await?;
                    command.query_async(&mut connection).await
                }
                other => other,
            }
        };
        run.boxed()
    };
    link.run(run).await
}

/// From the first entry on: what was pushed before the group was there is for the group too.
async fn make_group(connection: &mut MultiplexedConnection, key: &str) -> Result<(), RedisError> {
    let made: Result<(), _> = Cmd::xgroup_create_mkstream(key, Keys::GROUP, "0").query_async(connection).await;
    match made {
        // Another manager was first.
        Err(error) if error.code() == Some("BUSYGROUP") => Ok(()),
        other => other,
    }
}

/// Names and values, in the order in which they were written.
type Fields = Vec<(String, Vec<u8>)>;

fn entry(value: Value) -> Option<Entry> {
    let (id, fields): (String, Option<Fields>) = from_redis_value(value).ok()?;
    let event = fields.map(|fields| {
        // An entry without our field is nobody's we know; it is told as one that cannot be read.
        fields.into_iter().find(|(name, _)| name == Keys::EVENT).map(|(_, event)| event).unwrap_or_default()
    });
    Some(Entry { id, event })
}

/// The events in an answer to a read, as bytes on the wire.
pub(crate) fn events_of(answer: &[u8]) -> Option<Vec<Received>> {
    let answer = redis::parse_redis_value(answer).ok()?;
    let entries = entries(from_redis_value(answer).ok()?);
    Some(entries.into_iter().filter_map(received).collect())
}

/// Reads the events; places of deleted entries are cleared away.
async fn hand_out(shared: &Shared, link: &Link, entries: Vec<Entry>) -> Result<Vec<Received>, QueueError> {
    let gone: Vec<&str> = entries.iter().filter(|entry| entry.event.is_none()).map(|entry| entry.id.as_str()).collect();
    if !gone.is_empty() {
        let clear = Cmd::xack(shared.keys.events(), Keys::GROUP, &gone);
        link.ask::<()>(&clear).await?;
    }
    Ok(entries.into_iter().filter_map(received).collect())
}

fn received(entry: Entry) -> Option<Received> {
    let json = entry.event?;
    let event: Result<QueuedEvent, String> =
        serde_json::from_slice(&json).map_err(|_| String::from_utf8_lossy(&json).into_owned());
    Some(Received { id: EventId(entry.id), event })
}
