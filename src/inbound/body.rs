//! Bodies, within bounds: of size, of time, and of memory for all of them together.
//!
//! Nothing of a body can be checked before all of it is there, so anybody may send one. Each reserves its room before it is
//! read, and holds it until it is dealt with. Small ones, as GitHub's events for us are (10 to 20 kB), have room of
//! their own, which no number of large ones can take.

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What counts as small.
const SMALL: u64 = 256 * 1024;

/// Room for small bodies, in all.
const ROOM_FOR_SMALL: u64 = 16 << 20;

/// So many of the largest bodies may be there at once.
const LARGEST_AT_ONCE: u64 = 2;

/// Bytes in a second, at least. One that brings less is not going to end in time, or only holds its room.
const LEAST_RATE: f64 = 1024.0;

/// The rate is looked at so often while a body may last.
const LOOKS: u32 = 4;

/// Reads bodies.
#[derive(Debug)]
pub struct Bodies {
    largest: u64,
    timeout: Duration,
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    room: u64,
    /// The most bytes that were reserved at once, ever.
    peak: AtomicU64,
}

/// A body, with its room until it is dropped.
#[derive(Debug)]
pub struct Held {
    bytes: Bytes,
    _room: Vec<OwnedSemaphorePermit>,
}

impl std::ops::Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Larger than it may be.
    #[error("the body is larger than intake.max_body ({0} bytes)")]
    TooLarge(u64),
    /// It took too long in all, or hardly moved.
    #[error("the body took too long")]
    TooSlow,
    /// Others have all the room.
    #[error("large bodies of others take up all the room that there is; redeliver it later")]
    NoRoom,
    /// The connection broke, or its chunks are none.
    #[error("the body could not be read: {0}")]
    Broken(String),
}

impl Bodies {
    /// Bodies of at most `largest` bytes, each of which may wait for its room, and then take its time, for `timeout`.
    pub fn new(largest: u64, timeout: Duration) -> Self {
        let (small, large) = (ROOM_FOR_SMALL, largest.saturating_mul(LARGEST_AT_ONCE));
        Self {
            largest,
            timeout,
            small: Arc::new(Semaphore::new(permits(small))),
            large: Arc::new(Semaphore::new(permits(large))),
            room: small + large,
            peak: AtomicU64::new(0),
        }
    }

    /// Bytes that all bodies together may take up.
    pub fn room(&self) -> u64 {
        self.room
    }

    /// Bytes that are reserved now.
    pub fn reserved(&self) -> u64 {
        let free = self.small.available_permits() + self.large.available_permits();
        self.room.saturating_sub(free as u64)
    }

    /// The most bytes that were ever reserved at once.
    pub fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// The whole body. What declares itself too large is refused before any of it is read.
    ///
    /// # Errors
    /// [`BodyError`].
    pub async fn read<B>(&self, headers: &HeaderMap, body: B) -> Result<Held, BodyError>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > self.largest) {
            return Err(BodyError::TooLarge(self.largest));
        }
        let first = declared.unwrap_or(SMALL.min(self.largest));
        let mut room = vec![self.reserve(first, self.timeout).await?];
        let bytes = tokio::time::timeout(self.timeout, self.collect(body, declared, &mut room))
            .await
            .map_err(|_| BodyError::TooSlow)??;
        Ok(Held { bytes: bytes.into(), _room: room })
    }

    async fn collect<B>(
        &self,
        mut body: B,
        declared: Option<u64>,
        room: &mut Vec<OwnedSemaphorePermit>,
    ) -> Result<Vec<u8>, BodyError>
    where
        B: hyper::body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        // Asked for at once: a buffer that grows would hold up to three times as much on the way.
        let mut bytes = Vec::with_capacity(permits(declared.unwrap_or_default()));
        let mut reserved = declared.unwrap_or(SMALL.min(self.largest));
        let (look, mut seen) = (self.timeout / LOOKS, 0);
        let least = look.as_secs_f64() * LEAST_RATE;
        let mut next_look = std::pin::pin!(tokio::time::sleep(look));
        loop {
            tokio::select! {
                frame = body.frame() => {
                    let Some(frame) = frame else { return Ok(bytes) };
                    let frame = frame.map_err(|error| BodyError::Broken(error.to_string()))?;
                    let Ok(data) = frame.into_data() else { continue };
                    let length = bytes.len() as u64 + data.len() as u64;
                    if length > self.largest {
                        return Err(BodyError::TooLarge(self.largest));
                    }
                    if length > reserved {
                        // It did not say how long it is, and is no small one. Who has this room waits for nobody.
                        // Within the time of the whole body, so that the answer is the true one: no room, not a slow sender.
                        room.push(self.reserve(self.largest, self.timeout / 2).await?);
                        reserved = self.largest;
                        bytes.reserve_exact(permits(reserved).saturating_sub(bytes.len()));
                    }
                    bytes.extend_from_slice(&data);
                }
                () = &mut next_look => {
                    #[expect(clippy::cast_precision_loss, reason = "a count of bytes, for a rate")]
                    let came = (bytes.len() - seen) as f64;
                    if came < least {
                        return Err(BodyError::TooSlow);
                    }
                    seen = bytes.len();
                    next_look.set(tokio::time::sleep(look));
                }
            }
        }
    }

    /// Room for so many bytes; waited for, within bounds.
    async fn reserve(&self, bytes: u64, patience: Duration) -> Result<OwnedSemaphorePermit, BodyError> {
        let room = if bytes <= SMALL { &self.small } else { &self.large };
        let wanted = u32::try_from(bytes).map_err(|_| BodyError::NoRoom)?;
        let taken = tokio::time::timeout(patience, Arc::clone(room).acquire_many_owned(wanted)).await;
        let permit = taken.map_err(|_| BodyError::NoRoom)?.map_err(|_| BodyError::NoRoom)?;
        self.peak.fetch_max(self.reserved(), Ordering::Relaxed);
        Ok(permit)
    }
}

fn permits(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};

    fn declared(length: u64) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, length.into())])
    }

    fn chunks(
        chunks: usize,
        each: usize,
    ) -> StreamBody<impl futures_util::Stream<Item = Result<hyper::body::Frame<Bytes>, std::convert::Infallible>>> {
        let chunk = Bytes::from(vec![b'x'; each]);
        StreamBody::new(futures_util::stream::iter(
            (0..chunks).map(move |_| Ok(hyper::body::Frame::data(chunk.clone()))),
        ))
    }

    #[tokio::test]
    async fn room_is_held_with_the_body_and_given_back_with_it() {
        let bodies = Bodies::new(1 << 20, Duration::from_secs(60));
        let small = bodies.read(&declared(5), Full::from("hello")).await.unwrap();
        assert_eq!((&*small, bodies.reserved()), (&b"hello"[..], 5));
        let large = bodies.read(&HeaderMap::new(), chunks(64, 8 * 1024)).await.unwrap();
        assert_eq!((large.len(), bodies.reserved()), (512 * 1024, 5 + SMALL + (1 << 20)));
        drop((small, large));
        assert_eq!((bodies.reserved(), bodies.peak()), (0, 5 + SMALL + (1 << 20)));
        assert!(matches!(bodies.read(&HeaderMap::new(), chunks(257, 4096)).await, Err(BodyError::TooLarge(_))));
        assert!(matches!(bodies.read(&declared((1 << 20) + 1), chunks(0, 0)).await, Err(BodyError::TooLarge(_))));
        assert_eq!(bodies.reserved(), 0);
    }

    #[tokio::test]
    async fn large_bodies_never_take_the_room_of_small_ones() {
        let bodies = Bodies::new(1 << 20, Duration::from_millis(50));
        let first = bodies.read(&declared(1 << 20), chunks(256, 4096)).await.unwrap();
        let _second = bodies.read(&declared(1 << 20), chunks(256, 4096)).await.unwrap();
        assert!(matches!(bodies.read(&declared(1 << 20), chunks(256, 4096)).await, Err(BodyError::NoRoom)));
        assert!(matches!(bodies.read(&HeaderMap::new(), chunks(256, 4096)).await, Err(BodyError::NoRoom)));
        bodies.read(&declared(SMALL), chunks(64, 4096)).await.unwrap();
        drop(first);
        bodies.read(&declared(1 << 20), chunks(256, 4096)).await.unwrap();
    }
}
