//! Of several managers one reads: whose turn it is stands in the note, which is written by compare-and-set.

use super::Trouble;
use crate::model::{HostId, after, age};
use crate::store::{Saved, Store, StoreError, Version};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tracing::warn;

/// Who began and has not been heard of for so long was cut off. Each page that was read renews it; a page takes at most as long
/// as its fetches.
const LAPSE: Duration = Duration::from_secs(60);

/// While another manager has the turn, the note is looked at so often: what it did is shown here too, and when it dies its work
/// goes on.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// A moment further ahead than this was written by a clock that jumped. As long as GitHub's own waits at most.
const FURTHEST: Duration = Duration::from_secs(2 * 60 * 60);

/// Whose turn it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Turn {
    /// Who had it last, or has it.
    #[serde(default)]
    by: Option<HostId>,
    /// While it lasts: until when nobody else takes it over.
    #[serde(default)]
    lapses: Option<Timestamp>,
    /// The next one begins then.
    #[serde(default)]
    next: Option<Timestamp>,
}

impl Turn {
    /// How long there is nothing to do for `me`; none: it is due now. Who had it last goes first, so that what it remembers is of
    /// use again; the others wait a quarter of the rhythm longer.
    pub(super) fn wait(&self, me: &HostId, every: Duration, now: Timestamp) -> Option<Duration> {
        let mine = self.by.as_ref().is_none_or(|by| by == me);
        if let Some(lapses) = self.lapses {
            // One of our own was cut off by a restart.
            return if mine { None } else { ahead(lapses, every, now) };
        }
        let next = self.next?;
        ahead(if mine { next } else { after(next, every / 4) }, every, now)
    }

    /// It is mine now, or still.
    pub(super) fn take(&mut self, me: &HostId, now: Timestamp) {
        self.by = Some(me.clone());
        self.lapses = Some(after(now, LAPSE));
    }

    /// Whether it should be said again that it goes on.
    pub(super) fn is_half_over(&self, now: Timestamp) -> bool {
        self.lapses.is_none_or(|lapses| age(lapses, now) < LAPSE / 2)
    }

    /// It is over; the next one begins then.
    pub(super) fn end(&mut self, next: Timestamp) {
        self.lapses = None;
        self.next = Some(next);
    }
}

/// How long until then.
fn ahead(moment: Timestamp, every: Duration, now: Timestamp) -> Option<Duration> {
    let left = age(moment, now);
    (!left.is_zero() && left <= FURTHEST.max(every * 2)).then_some(left)
}

/// A note, as it was read or written last.
pub(super) struct Note<T> {
    name: &'static str,
    version: Version,
    pub(super) value: T,
}

impl<T: Default + Serialize + DeserializeOwned> Note<T> {
    /// What is written down; nothing yet where there is no note.
    pub(super) async fn read(store: &dyn Store, name: &'static str) -> Result<Self, StoreError> {
        let Some(note) = store.note(name).await? else { return Ok(Self { name, version: 0, value: T::default() }) };
        let value = serde_json::from_str(&note.row).unwrap_or_else(|error| {
            warn!("the note `{name}` cannot be read, and begins anew: {error}");
            T::default()
        });
        Ok(Self { name, version: note.version, value })
    }

    /// Writes it, if nobody else has since.
    pub(super) async fn write(&mut self, store: &dyn Store) -> Result<(), Trouble> {
        let text = serde_json::to_string(&self.value).map_err(|error| StoreError(error.to_string()))?;
        match store.set_note(self.name, &text, self.version).await? {
            Saved::Saved(version) => {
                self.version = version;
                Ok(())
            }
            Saved::Stale(_) => Err(Trouble::Overtaken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);
    const EVERY: Duration = Duration::from_secs(60);

    fn secs(by: u64) -> Timestamp {
        after(NOW, Duration::from_secs(by))
    }

    #[test]
    fn one_of_two_has_the_turn_and_keeps_it_while_it_lives() {
        let (me, other) = (HostId::new("a"), HostId::new("b"));
        let mut turn = Turn::default();
        assert_eq!(turn.wait(&me, EVERY, NOW), None);
        turn.take(&me, NOW);
        assert_eq!(turn.wait(&other, EVERY, secs(10)), Some(Duration::from_secs(50)));
        assert_eq!(turn.wait(&other, EVERY, secs(60)), None, "it was cut off");
        assert_eq!(turn.wait(&me, EVERY, secs(1)), None, "it was cut off by a restart");
        turn.end(secs(60));
        assert_eq!(turn.wait(&me, EVERY, secs(10)), Some(Duration::from_secs(50)));
        assert_eq!(turn.wait(&me, EVERY, secs(60)), None);
        assert_eq!(turn.wait(&other, EVERY, secs(60)), Some(Duration::from_secs(15)), "who had it last goes first");
        assert_eq!(turn.wait(&other, EVERY, secs(75)), None, "who had it last is gone");
    }

    #[test]
    fn a_clock_that_jumped_stops_nobody() {
        let mut turn = Turn::default();
        turn.take(&HostId::new("a"), secs(1_000_000));
        assert_eq!(turn.wait(&HostId::new("b"), EVERY, NOW), None);
        turn.end(secs(1_000_000));
        assert_eq!(turn.wait(&HostId::new("a"), EVERY, NOW), None);
    }
}
