//! What a connection is doing, so that whoever does nothing for too long can be told from whoever is being served.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// What it is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing was sent on it yet.
    New,
    /// A request's head is coming in.
    Head,
    /// A request is being answered.
    Busy,
    /// The last request was answered.
    Idle,
}

/// The present phase, and how many requests there were so far. Clones are one.
#[derive(Debug, Clone)]
pub(super) struct Pulse(Arc<watch::Sender<(Phase, u64)>>);

impl Pulse {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new((Phase::New, 0))))
    }

    pub(super) fn busy(&self) {
        self.0.send_modify(|(phase, requests)| {
            *phase = Phase::Busy;
            *requests += 1;
        });
    }

    pub(super) fn idle(&self) {
        self.0.send_modify(|(phase, _)| *phase = Phase::Idle);
    }

    /// Whether something was sent on it, or is within this time.
    pub(super) async fn begins_within(&self, time: Duration) -> bool {
        let mut phases = self.0.subscribe();
        // The sender is `self`, so that only the time can end the waiting otherwise.
        tokio::time::timeout(time, phases.wait_for(|now| now.0 != Phase::New)).await.is_ok()
    }

    /// Ends once it has been in one phase for too long. A head is counted from the connection's beginning, or from its
    /// first byte; what is answered has bounds of its own.
    pub(super) async fn too_slow(&self, head: Duration, idle: Duration) {
        let mut phases = self.0.subscribe();
        loop {
            let (phase, requests) = *phases.borrow_and_update();
            let moved = match phase {
                Phase::New | Phase::Head => {
                    let still = |now: &(Phase, u64)| matches!(now.0, Phase::New | Phase::Head) && now.1 == requests;
                    let over = phases.wait_for(|now| !still(now));
                    tokio::time::timeout(head, over).await.is_ok()
                }
                // The sender is `self`, so that a change is all that can end the waiting.
                Phase::Busy => phases.changed().await.is_ok(),
                Phase::Idle => tokio::time::timeout(idle, phases.changed()).await.is_ok(),
            };
            if !moved {
                return;
            }
        }
    }
}

/// A connection that tells when something came.
#[derive(Debug)]
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) pulse: Pulse,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pulse.0.send_if_modified(|(phase, _)| {
                let begins = matches!(phase, Phase::New | Phase::Idle);
                if begins {
                    *phase = Phase::Head;
                }
                begins
            });
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
