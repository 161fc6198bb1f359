//! How much a recipient is told. Pure: the moment comes as an argument.
//!
//! In a minute at most `per_minute` messages go out, of one kind at most `digest_after`; what comes beyond that is held, and
//! told as one digest of its kind when the minute is over. So a runner that fails in a loop is a few messages and one digest
//! a minute, and the memory that it takes is bounded.

use super::event::{Event, Kind};
use crate::config::Rate;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

/// A digest tells so many one by one.
const SHOWN: usize = 10;

pub(super) struct Pace {
    rate: Rate,
    /// When messages went out, within the last minute.
    sent: VecDeque<Instant>,
    kinds: BTreeMap<Kind, Minute>,
}

/// What one kind did since its minute began.
struct Minute {
    began: Instant,
    sent: u32,
    held: usize,
    first: Vec<Event>,
}

/// A digest.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Digest {
    pub(super) kind: Kind,
    pub(super) count: usize,
    pub(super) first: Vec<Event>,
}

impl Pace {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, sent: VecDeque::new(), kinds: BTreeMap::new() }
    }

    /// Whether this event goes out by itself now; if not, it is held.
    pub(super) fn admit(&mut self, event: &Event, now: Instant) -> bool {
        let has_room = self.has_room(now);
        let minute = self.kinds.entry(event.kind()).or_insert_with(|| Minute::new(now));
        if minute.held == 0 && now.duration_since(minute.began) >= MINUTE {
            *minute = Minute::new(now);
        }
        // What is held already goes first: order is kept within a kind.
        if has_room && minute.held == 0 && minute.sent < self.rate.digest_after {
            minute.sent += 1;
            self.sent.push_back(now);
            return true;
        }
        minute.held += 1;
        if minute.first.len() < SHOWN {
            minute.first.push(event.clone());
        }
        false
    }

    /// A digest whose minute is over; `all`: any, since there will be no more.
    pub(super) fn digest(&mut self, now: Instant, all: bool) -> Option<Digest> {
        if !all && !self.has_room(now) {
            return None;
        }
        let is_due = |minute: &Minute| minute.held > 0 && (all || now.duration_since(minute.began) >= MINUTE);
        let kind = self.kinds.iter().find(|(_, minute)| is_due(minute)).map(|(kind, _)| *kind)?;
        let minute = self.kinds.insert(kind, Minute { sent: self.rate.digest_after, ..Minute::new(now) })?;
        self.sent.push_back(now);
        Some(Digest { kind, count: minute.held, first: minute.first })
    }

    /// When the next digest is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let over = self.kinds.values().filter(|minute| minute.held > 0).map(|minute| minute.began + MINUTE).min()?;
        // With no room, not before there is some.
        let is_full = self.sent.len() >= self.rate.per_minute as usize;
        let room = self.sent.front().filter(|_| is_full).map(|oldest| *oldest + MINUTE);
        Some(room.map_or(over, |room| room.max(over)))
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.kinds.values().map(|minute| minute.held).sum()
    }

    fn has_room(&mut self, now: Instant) -> bool {
        while self.sent.front().is_some_and(|oldest| now.duration_since(*oldest) >= MINUTE) {
            self.sent.pop_front();
        }
        self.sent.len() < self.rate.per_minute as usize
    }
}

impl Minute {
    fn new(began: Instant) -> Self {
        Self { began, sent: 0, held: 0, first: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(per_minute: u32, digest_after: u32) -> Pace {
        Pace::new(Rate { per_minute, digest_after })
    }

    #[test]
    fn a_flood_of_one_kind_is_a_few_and_a_digest_a_minute() {
        let (mut pace, start) = (pace(20, 5), Instant::now());
        let event = Event::sample(Kind::RunnerError);
        let alone = (0..10_000).filter(|_| pace.admit(&event, start)).count();
        assert_eq!((alone, pace.held()), (5, 9_995));
        assert_eq!(pace.digest(start, false), None);
        assert_eq!(pace.next(), Some(start + MINUTE));
        let digest = pace.digest(start + MINUTE, false).expect("the minute is over");
        assert_eq!((digest.count, digest.first.len()), (9_995, SHOWN));
        assert_eq!(pace.digest(start + MINUTE, false), None);
        // The flood goes on: a digest a minute, and nothing else.
        assert!(!pace.admit(&event, start + MINUTE));
        let digest = pace.digest(start + MINUTE * 2, false).expect("another minute is over");
        assert_eq!(digest.count, 1);
        // After a quiet minute it is told at once again.
        assert!(pace.admit(&event, start + MINUTE * 3));
    }

    #[test]
    fn all_kinds_together_keep_the_bound_of_a_minute() {
        let (mut pace, start) = (pace(4, 3), Instant::now());
        let mut alone = 0;
        for kind in Kind::ALL {
            for _ in 0..3 {
                alone += u32::from(pace.admit(&Event::sample(*kind), start));
            }
        }
        assert_eq!(alone, 4);
        let mut digests = 0;
        let later = start + MINUTE;
        while pace.digest(later, false).is_some() {
            digests += 1;
        }
        assert_eq!(digests, 4, "digests keep it, too");
        assert_eq!(pace.next(), Some(later + MINUTE));
        // At the end all of it goes out.
        while pace.digest(later, true).is_some() {}
        assert_eq!(pace.held(), 0);
        assert_eq!(pace.next(), None);
    }
}
