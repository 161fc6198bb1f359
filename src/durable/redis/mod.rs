//! One Redis, shared by the managers of a fleet: its address, its keys, the connections to it.
//!
//! What survives a restart of Redis is up to Redis. With `appendonly yes` and `appendfsync always` everything that was
//! acknowledged does; with `everysec` all but the last second of it when the machine itself dies (a crash of Redis
//! alone loses nothing); without an append-only file everything since the last snapshot is lost. The first ping that
//! finds the file off warns.
//!
//! Needs Redis 6.2 (`XAUTOCLAIM`) or later, or what speaks like it.

mod address;
mod keys;
mod link;
mod look;

pub(crate) use address::Address;
pub(crate) use keys::Keys;
pub(crate) use link::{Attempt, Link, Unavailable};
pub use look::RedisFacts;

use crate::config::RedisConfig;
use crate::model::HostId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Longer than Redis needs for the largest script here, shorter than a caller may wait.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The addresses and names by which Redis is used. Making one connects to nothing: each call connects when it must, and
/// says so when it cannot.
#[derive(Clone, Debug)]
pub struct RedisDb {
    pub(crate) shared: Arc<Shared>,
}

/// What all queues and stores of one [`RedisDb`] have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Where Redis is.
    pub(crate) address: Arc<Address>,
    /// The connection for everything but reads that wait.
    pub(crate) link: Link,
    /// What things are called.
    pub(crate) keys: Keys,
    /// Who we are among the readers of the queue.
    pub(crate) consumer: HostId,
    /// After this time an event that was handed out and not acknowledged is handed to another.
    pub(crate) visibility: Duration,
    durability_told: AtomicBool,
}

/// An address that is none. The address itself is not told, for the password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No address at all.
    #[error("no address of Redis is given")]
    None,
    /// One that cannot be read.
    #[error("address {number} of Redis cannot be read: {why}")]
    Unreadable {
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
}

/// A [`RedisDb`] for this configuration. It does not connect: Redis may come later, go and come back.
///
/// # Errors
/// [`AddressError`] where an address cannot be read.
pub fn connect(config: &RedisConfig, consumer: &HostId, visibility: Duration) -> Result<RedisDb, AddressError> {
    let address = Arc::new(Address::new(config)?);
    let shared = Shared {
        link: Link::new(Arc::clone(&address), RESPONSE_TIMEOUT),
        address,
        keys: Keys::new(&config.prefix),
        consumer: consumer.clone(),
        visibility,
        durability_told: AtomicBool::new(false),
    };
    Ok(RedisDb { shared: Arc::new(shared) })
}

impl Shared {
    /// Writes something: only that shows that a write would work (a replica, a full memory or a full disk refuse it).
    pub(crate) async fn ping(&self) -> Result<(), Unavailable> {
        let write = redis::Cmd::set_ex(self.keys.alive(), self.consumer.as_str(), 60);
        self.link.ask::<()>(&write).await?;
        self.warn_without_file().await;
        Ok(())
    }

    /// Warns once if Redis keeps no append-only file. Where it may not be asked, nothing is said.
    async fn warn_without_file(&self) {
        if self.durability_told.load(Ordering::Relaxed) {
            return;
        }
        let Ok(info) = self.link.ask::<String>(redis::cmd("INFO").arg("persistence")).await else { return };
        if !self.durability_told.swap(true, Ordering::Relaxed) && info.lines().any(|line| line == "aof_enabled:0") {
            tracing::warn!(
                "redis keeps no append-only file: events and state do not survive its crash (`appendonly yes`)"
            );
        }
    }
}
