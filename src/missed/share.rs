//! How much of GitHub's limits may be used for this. Pure.

use crate::github::Left;
use crate::model::age;
use jiff::Timestamp;
use std::time::Duration;

/// Of what is left of the App's own budget, a round fetches at most one part in so many. It pays for little else: a token for
/// each account in an hour, and the list of installations.
const OF_THE_APP: u64 = 2;

/// Of what is left of an account's budget, the lists of jobs take at most one part in so many until it is full again: runners are
/// registered, listed and removed from the same one.
const OF_AN_ACCOUNT: u64 = 4;

/// GitHub lets nobody ask one endpoint more often than 900 times in a minute (docs, "Rate limits for the REST API"); that many
/// payloads leave room for a person with `runnerfleet deliveries`.
const FETCHES_PER_MINUTE: u64 = 600;

/// In which so many are allowed: what a round left over, the next one takes up after this time, however long the rhythm is.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// However short the rhythm is.
const FETCHES_LEAST: u64 = 20;

/// So many payloads may be fetched in a round of this rhythm.
pub(super) fn fetches(left: Option<Left>, every: Duration) -> u64 {
    let in_a_round = FETCHES_PER_MINUTE * every.as_secs().clamp(1, 60) / 60;
    let most = in_a_round.max(FETCHES_LEAST);
    left.map_or(most, |left| most.min(left.remaining / OF_THE_APP))
}

/// The pause between two readings of the log: the rhythm, and longer where so many readings would use up what is left before it
/// is full again.
pub(super) fn pause(left: Option<Left>, every: Duration, now: Timestamp) -> Duration {
    let Some(left) = left else { return every };
    let readings = u32::try_from((left.remaining / OF_THE_APP).max(1)).unwrap_or(u32::MAX);
    every.max(age(left.reset, now) / readings)
}

/// So many questions that count may be asked about an account's jobs now, where none were for so long; at most `most`.
pub(super) fn questions(left: Option<Left>, since: Duration, most: u64, now: Timestamp) -> u64 {
    let Some(left) = left else { return most };
    let share = u128::from(left.remaining / OF_AN_ACCOUNT);
    let until_full = age(left.reset, now).max(since).as_millis().max(1);
    u64::try_from(share * since.as_millis() / until_full).unwrap_or(u64::MAX).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::after;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn left(remaining: u64, secs: u64) -> Left {
        Left { limit: 5000, remaining, reset: after(NOW, Duration::from_secs(secs)) }
    }

    #[test]
    fn an_outage_is_made_good_in_a_minute_and_never_with_more_than_half_of_what_is_left() {
        assert_eq!(fetches(None, MINUTE), 600);
        assert_eq!(fetches(Some(left(5000, 3600)), MINUTE), 600);
        assert_eq!(fetches(Some(left(100, 3600)), MINUTE), 50);
        assert_eq!(fetches(Some(left(1, 3600)), MINUTE), 0);
        // Twelve rounds in a minute are no more than one.
        assert_eq!(fetches(None, Duration::from_secs(5)), 50);
        assert_eq!(fetches(None, Duration::from_secs(3600)), 600);
    }

    #[test]
    fn where_little_is_left_it_is_read_more_rarely() {
        let every = Duration::from_secs(5);
        assert_eq!(pause(None, every, NOW), every);
        assert_eq!(pause(Some(left(5000, 3600)), every, NOW), every);
        assert_eq!(pause(Some(left(100, 1800)), every, NOW), Duration::from_secs(36));
        assert_eq!(pause(Some(left(0, 1800)), every, NOW), Duration::from_secs(1800));
        assert_eq!(pause(Some(left(0, 1)), MINUTE, NOW), MINUTE);
    }

    #[test]
    fn lists_spread_a_quarter_of_what_is_left_over_the_time_until_it_is_full_again() {
        let every = Duration::from_secs(120);
        assert_eq!(questions(None, every, 300, NOW), 300);
        assert_eq!(questions(Some(left(5000, 3600)), every, 300, NOW), 41);
        assert_eq!(questions(Some(left(5000, 60)), every, 300, NOW), 300);
        assert_eq!(questions(Some(left(100, 3600)), every, 300, NOW), 0);
    }
}
