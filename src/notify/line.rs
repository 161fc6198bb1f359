//! What waits for one recipient. Bounded: when it is full, the oldest goes.

use super::Notice;
use crate::config::Recipient;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// At most so many wait. A recipient that is behind by more wants no old news.
const LONGEST: usize = 1_000;

pub(super) struct Line {
    pub(super) recipient: Recipient,
    state: Mutex<Waiting>,
    bell: Notify,
}

#[derive(Default)]
struct Waiting {
    notices: VecDeque<Arc<Notice>>,
    dropped: usize,
    closed: bool,
}

impl Line {
    pub(super) fn new(recipient: Recipient) -> Self {
        Self { recipient, state: Mutex::default(), bell: Notify::new() }
    }

    pub(super) fn push(&self, notice: Arc<Notice>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return;
        }
        if state.notices.len() >= LONGEST {
            state.notices.pop_front();
            state.dropped += 1;
        }
        state.notices.push_back(notice);
        drop(state);
        self.bell.notify_one();
    }

    pub(super) fn take(&self) -> Option<Arc<Notice>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).notices.pop_front()
    }

    /// How many went unsent since this was asked last.
    pub(super) fn take_dropped(&self) -> usize {
        std::mem::take(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner).dropped)
    }

    /// Until something may have come.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Takes nothing more; how many still wait.
    pub(super) fn close(&self) -> usize {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.closed = true;
        state.notices.len()
    }
}
