//! When something may be done: days and times of day, in a time zone. Clocks that are put forward or back are the zone's
//! business; here only moments are looked at.

use crate::config::{Schedule, Window};
use jiff::{SignedDuration, Timestamp};

/// The week, and a day on each side for windows over midnight and zones far from UTC.
const DAYS_AHEAD: i32 = 9;

/// Whether `at` is in the window of an allowed day.
pub(super) fn is_allowed(schedule: &Schedule, at: Timestamp) -> bool {
    let local = schedule.tz.to_datetime(at);
    let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute())).unwrap_or_default();
    let today = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or_default();
    let yesterday = (today + 6) % 7;
    let Window { start, end } = schedule.window;
    if start <= end {
        schedule.days[today] && (start..=end).contains(&minute)
    } else {
        (minute >= start && schedule.days[today]) || (minute <= end && schedule.days[yesterday])
    }
}

/// The first allowed moment that is not before `from`.
pub(super) fn first_allowed(schedule: &Schedule, from: Timestamp) -> Timestamp {
    if is_allowed(schedule, from) {
        return from;
    }
    let tz = &schedule.tz;
    let horizon = from.saturating_add(SignedDuration::from_hours(24 * i64::from(DAYS_AHEAD))).unwrap_or(Timestamp::MAX);
    let today = tz.to_datetime(from).date();
    let (hour, minute) = (schedule.window.start / 60, schedule.window.start % 60);
    let (hour, minute) = (i8::try_from(hour).unwrap_or_default(), i8::try_from(minute).unwrap_or_default());
    // A window opens at its first minute, which a day may have twice; and where that is skipped, when the clock jumps.
    let openings =
        (-1..=DAYS_AHEAD).filter_map(|days| today.checked_add(SignedDuration::from_hours(24 * i64::from(days))).ok());
    let openings = openings.flat_map(|date| {
        let opening = tz.to_ambiguous_timestamp(date.at(hour, minute, 0, 0));
        [opening.earlier(), opening.later()].into_iter().flatten()
    });
    let jumps = tz.following(from).map(|jump| jump.timestamp()).take_while(|jump| *jump <= horizon);
    openings
        .chain(jumps)
        .filter(|moment| *moment > from && is_allowed(schedule, *moment))
        .min()
        // Only a schedule without a day has none.
        .unwrap_or(horizon)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZoneDatabase;

    fn schedule(zone: &str, start: &str, end: &str, days: &str) -> Schedule {
        let minute = |text: &str| {
            let (hours, minutes) = text.split_once(':').unwrap();
            hours.parse::<u16>().unwrap() * 60 + minutes.parse::<u16>().unwrap()
        };
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        Schedule {
            window: Window { start: minute(start), end: minute(end) },
            days: names.map(|name| days == "all" || days.contains(name)),
            tz: TimeZoneDatabase::bundled().get(zone).unwrap(),
            ..Schedule::default()
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_minute_is_in_and_days_gate_everything() {
        let schedule = schedule("UTC", "07:00", "23:00", "mon wed fri");
        // 2026-11-23 is a Monday.
        for (moment, allowed) in [
            ("2026-11-23T06:59:59.999Z", false),
            ("2026-11-23T07:00:00Z", true),
            ("2026-11-23T23:00:59.999Z", true),
            ("2026-11-23T23:01:00Z", false),
            ("2026-11-24T12:00:00Z", false),
            ("2026-11-25T12:00:00Z", true),
            ("2026-11-28T12:00:00Z", false),
        ] {
            assert_eq!(is_allowed(&schedule, at(moment)), allowed, "{moment}");
        }
        assert_eq!(first_allowed(&schedule, at("2026-11-23T23:01:00Z")), at("2026-11-25T07:00:00Z"));
        assert_eq!(first_allowed(&schedule, at("2026-11-27T23:30:00Z")), at("2026-11-30T07:00:00Z"));
        assert_eq!(first_allowed(&schedule, at("2026-11-25T12:00:00Z")), at("2026-11-25T12:00:00Z"));
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let schedule = schedule("UTC", "22:00", "06:00", "fri");
        for (moment, allowed) in [
            ("2026-11-27T05:00:00Z", false),
            ("2026-11-27T21:59:59Z", false),
            ("2026-11-27T22:00:00Z", true),
            ("2026-11-28T00:00:00Z", true),
            ("2026-11-28T06:00:59Z", true),
            ("2026-11-28T06:01:00Z", false),
            ("2026-11-28T22:00:00Z", false),
        ] {
            assert_eq!(is_allowed(&schedule, at(moment)), allowed, "{moment}");
        }
        assert_eq!(first_allowed(&schedule, at("2026-11-28T06:01:00Z")), at("2026-12-04T22:00:00Z"));
    }

    #[test]
    fn a_whole_day_has_no_gap() {
        let schedule = schedule("Europe/Paris", "00:00", "23:59", "all");
        let mut moment = at("2026-03-28T00:00:00Z");
        while moment < at("2026-03-30T00:00:00Z") {
            assert!(is_allowed(&schedule, moment), "{moment}");
            moment += SignedDuration::from_secs(59);
        }
    }

    /// Paris, 2026-03-29: 02:00 becomes 03:00; 2026-10-25: 03:00 becomes 02:00.
    #[test]
    fn clocks_that_are_put_forward_or_back() {
        let night = schedule("Europe/Paris", "02:30", "03:15", "all");
        // The window's first minute is skipped: it opens when the clock has jumped into it.
        assert_eq!(first_allowed(&night, at("2026-03-29T00:00:00Z")), at("2026-03-29T01:00:00Z"));
        assert!(is_allowed(&night, at("2026-03-29T01:15:59Z")));
        assert!(!is_allowed(&night, at("2026-03-29T01:16:00Z")));
        // All of it is skipped: the next day's.
        let gone = schedule("Europe/Paris", "02:10", "02:40", "all");
        assert_eq!(first_allowed(&gone, at("2026-03-28T12:00:00Z")), at("2026-03-30T00:10:00Z"));
        // It comes twice.
        assert_eq!(first_allowed(&gone, at("2026-10-24T12:00:00Z")), at("2026-10-25T00:10:00Z"));
        assert_eq!(first_allowed(&gone, at("2026-10-25T00:41:00Z")), at("2026-10-25T01:10:00Z"));
        assert_eq!(first_allowed(&gone, at("2026-10-25T01:41:00Z")), at("2026-10-26T01:10:00Z"));
        // Midnight itself is skipped: Cairo, 2026-04-24.
        let cairo = schedule("Africa/Cairo", "00:00", "00:30", "fri");
        assert_eq!(first_allowed(&cairo, at("2026-04-23T12:00:00Z")), at("2026-04-30T21:00:00Z"));
        let cairo = schedule("Africa/Cairo", "00:00", "01:30", "fri");
        assert_eq!(first_allowed(&cairo, at("2026-04-23T12:00:00Z")), at("2026-04-23T22:00:00Z"));
        // A zone that lost a Friday: Apia, 2011-12-30.
        let apia = schedule("Pacific/Apia", "00:00", "23:59", "fri");
        assert_eq!(first_allowed(&apia, at("2011-12-30T05:00:00Z")), at("2012-01-05T10:00:00Z"));
    }
}
