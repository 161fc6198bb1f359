//! The hand-over of changes to those who read a feed, without ever waiting for one of them.

use super::StoreChange;
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc;

/// Changes that wait for one reader. One that falls further behind is told so, and loads everything anew.
const BEHIND_MAX: usize = 4096;

/// All readers of one store.
#[derive(Debug, Default)]
pub(crate) struct Feeds {
    readers: Mutex<Vec<Reader>>,
}

/// The sending end of one feed.
#[derive(Debug)]
pub(crate) struct Reader {
    sender: mpsc::Sender<StoreChange>,
    /// Whether `Missed` is the last thing it was sent, and changes were left out since.
    behind: bool,
}

impl Feeds {
    /// A feed of all changes from now on.
    pub(crate) fn subscribe(&self) -> mpsc::Receiver<StoreChange> {
        let (reader, receiver) = Reader::new(BEHIND_MAX);
        self.lock().push(reader);
        receiver
    }

    /// Tells all readers; those that are gone are forgotten.
    pub(crate) fn tell(&self, changes: &[StoreChange]) {
        self.lock().retain_mut(|reader| {
            for change in changes {
                reader.tell(change.clone());
            }
            !reader.is_gone()
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    fn new(room: usize) -> (Self, mpsc::Receiver<StoreChange>) {
        let (sender, receiver) = mpsc::channel(room);
        (Self { sender, behind: false }, receiver)
    }

    /// A feed with the usual room.
    pub(crate) fn open() -> (Self, mpsc::Receiver<StoreChange>) {
        Self::new(BEHIND_MAX)
    }

    /// Sends a change if there is room. The last place is kept for `Missed`: whoever reads that loads everything
    /// afterwards, and so sees what was left out while `Missed` waited in the channel.
    pub(crate) fn tell(&mut self, change: StoreChange) {
        let room = self.sender.capacity();
        let change = if room >= 2 {
            self.behind = false;
            change
        } else if room == 1 && !self.behind {
            self.behind = true;
            StoreChange::Missed
        } else {
            return;
        };
        // It fails only when the reader is gone, or has a place less than a moment ago, which nobody but us takes.
        let _ = self.sender.try_send(change);
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.sender.is_closed()
    }

    /// Returns when nobody reads any more.
    pub(crate) async fn gone(&self) {
        self.sender.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunnerName;

    fn change(number: usize) -> StoreChange {
        StoreChange::RunnerForgotten(RunnerName::new(number.to_string()))
    }

    #[test]
    fn a_reader_that_falls_behind_is_told_once_and_then_hears_again() {
        let (mut reader, mut feed) = Reader::new(4);
        (0..10).for_each(|number| reader.tell(change(number)));
        let heard: Vec<_> = std::iter::from_fn(|| feed.try_recv().ok()).collect();
        assert_eq!(heard, [change(0), change(1), change(2), StoreChange::Missed]);
        reader.tell(change(10));
        assert_eq!(feed.try_recv(), Ok(change(10)));
    }

    #[test]
    fn a_reader_that_catches_up_by_one_and_falls_behind_again_has_missed_still_before_it() {
        let (mut reader, mut feed) = Reader::new(4);
        (0..10).for_each(|number| reader.tell(change(number)));
        feed.try_recv().unwrap();
        reader.tell(change(10));
        let heard: Vec<_> = std::iter::from_fn(|| feed.try_recv().ok()).collect();
        assert_eq!(heard, [change(1), change(2), StoreChange::Missed]);
    }

    #[test]
    fn a_reader_that_is_gone_is_forgotten() {
        let feeds = Feeds::default();
        drop(feeds.subscribe());
        feeds.tell(&[change(1)]);
        assert!(feeds.lock().is_empty());
    }
}
