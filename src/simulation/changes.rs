//! A count of changes that tasks wait on. Tokio's `watch` wakes those who wait in an order that it draws at random; here it is
//! the order in which they came, so that a run can be repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    count: AtomicU64,
    bell: Notify,
}

/// Somebody who waits for the next change.
#[derive(Debug)]
pub(crate) struct Seen {
    changes: Arc<Changes>,
    count: u64,
}

impl Changes {
    /// Something changed.
    pub(crate) fn touch(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.bell.notify_waiters();
    }

    /// To wait for what comes from now on.
    pub(crate) fn watch(self: &Arc<Self>) -> Seen {
        Seen { changes: Arc::clone(self), count: self.count.load(Ordering::SeqCst) }
    }
}

impl Seen {
    /// What has changed so far is known.
    pub(crate) fn mark(&mut self) {
        self.count = self.changes.count.load(Ordering::SeqCst);
    }

    /// Until something changes, or at once where something did.
    pub(crate) async fn changed(&mut self) {
        loop {
            let rung = self.changes.bell.notified();
            let count = self.changes.count.load(Ordering::SeqCst);
            if count != self.count {
                self.count = count;
                return;
            }
            rung.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[tokio::test]
    async fn who_waits_is_woken_in_turn() {
        let changes = Arc::new(Changes::default());
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let (mut seen, order) = (changes.watch(), order.clone());
                tokio::spawn(async move {
                    seen.changed().await;
                    order.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        changes.touch();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_change_before_the_wait_is_not_missed() {
        let changes = Arc::new(Changes::default());
        let mut seen = changes.watch();
        changes.touch();
        seen.changed().await;
        changes.touch();
        seen.mark();
        let waits = tokio::time::timeout(std::time::Duration::ZERO, seen.changed());
        assert!(waits.await.is_err());
    }
}
