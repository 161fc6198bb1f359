//! `scheduler:` as the file has it.

use super::collection::List;
use super::leaf::{AnyText, Leaf, Whole, Wrong, choice};
use super::schedule::Window;
use super::section::{Field, section};
use super::units::Seconds;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use serde_json::{Value as Json, json};
use std::time::Duration;

choice! {
    /// What is done.
    TaskName {
        /// Base images are looked up.
        Check = "check",
        /// Images are built.
        Build = "build",
        /// Reality is made to match the file.
        Deploy = "deploy",
        /// Of newer base images it is told.
        Notify = "notify",
    }
    later { "prune", "gc", "redeliver" }
}

choice! {
    /// Of which ends it is told.
    EndName {
        /// It was done.
        Success = "success",
        /// It was not.
        Failure = "failure",
    }
}

section! {
    /// What is done at regular times. `serve` does it; the verb `scheduler` does it alone.
    Scheduler {
        /// Whether `serve` does it.
        enabled: Field<bool> = "true",
        /// From one run to the next: `30m`, `6h`, `1d`.
        check_interval: Field<Interval> = "6h",
        /// Only then, in local time, the last minute included. It may go over midnight: `22:00-06:00`.
        time_window: Field<WindowText> = "'00:00-24:00'",
        /// Only on these days. A window over midnight belongs to the day on which it begins.
        days: Field<List<Day>> = "[mon, tue, wed, thu, fri, sat, sun]",
        /// What is done, in this order: `check` looks for newer base images, `build` builds on them, `deploy` puts the runners on them, `notify` tells of them.
        actions: Field<List<TaskName>> = "[]",
        /// Further tries of a run that failed, each after a longer wait. The next run comes in any case.
        max_retries: Field<Whole<0, 20>> = "3",
        /// Of which ends of a run the recipients of notifications are told: `success` (update_applied), `failure` (update_error).
        notify_on: Field<List<EndName>> = "[success, failure]",
        /// The time zone of `time_window` and `days`, such as `Europe/Paris`; by default that of the variable TZ, or UTC.
        tz | timezone: Field<Zone>,
        /// A run begins up to so much later, so that many fleets do not ask a registry in the same second.
        jitter: Field<Seconds> = "0s",
        /// Never had an effect; recipients stand under `webhooks`.
        webhook: OldWebhook,
    }
    later { cron }
}

section! {
    /// A key of the tool before this one, without effect there as here.
    OldWebhook {
        /// Never had an effect.
        url: Field<AnyText>,
        /// Never had an effect.
        events: Field<List<AnyText>>,
    }
}

/// `6h`: more than nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Interval(pub(super) Duration);

impl Leaf for Interval {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let every = <Duration as Leaf>::parse(text)?;
        if every < Duration::from_secs(1) {
            return Err(Wrong::new("is too short", "one minute is the least that makes sense"));
        }
        if every > Duration::from_secs(366 * 86400) {
            return Err(Wrong::new("is too long", "a year is the most"));
        }
        Ok(Self(every))
    }

    fn schema() -> Json {
        <Duration as Leaf>::schema()
    }
}

/// `07:00-23:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WindowText(pub(super) Window);

impl Leaf for WindowText {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let wrong = || Wrong::new("is no time window", "write two times of day, as in `07:00-23:00` or `22:00-06:00`");
        let minute = |text: &str| -> Option<u16> {
            let (hours, minutes) = text.trim().split_once(':')?;
            let number = |text: &str| -> Option<u16> {
                let digits = !text.is_empty() && text.len() <= 2 && text.bytes().all(|byte| byte.is_ascii_digit());
                digits.then(|| text.parse().ok())?
            };
            let (hours, minutes) = (number(hours)?, number(minutes).filter(|_| minutes.len() == 2)?);
            (minutes < 60 && (hours < 24 || (hours == 24 && minutes == 0))).then_some(hours * 60 + minutes)
        };
        let (start, end) = text.split_once('-').ok_or_else(wrong)?;
        let (start, end) = (minute(start).ok_or_else(wrong)?, minute(end).ok_or_else(wrong)?);
        if start == 24 * 60 {
            return Err(Wrong::new("begins when the day is over", "write `00:00` for the day that follows"));
        }
        // 24:00 is no minute of the day: the last one is 23:59.
        Ok(Self(Window { start, end: end.min(24 * 60 - 1) }))
    }

    fn schema() -> Json {
        json!({
            "type": "string",
            "pattern": r"^[0-9]{1,2}:[0-9]{2} *- *[0-9]{1,2}:[0-9]{2}$|\$\{",
            "examples": ["07:00-23:00", "22:00-06:00"],
        })
    }
}

/// `mon`, `Monday`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day(pub(super) Weekday);

impl Leaf for Day {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let day = match text.to_ascii_lowercase().as_str() {
            "mon" | "monday" => Weekday::Monday,
            "tue" | "tuesday" => Weekday::Tuesday,
            "wed" | "wednesday" => Weekday::Wednesday,
            "thu" | "thursday" => Weekday::Thursday,
            "fri" | "friday" => Weekday::Friday,
            "sat" | "saturday" => Weekday::Saturday,
            "sun" | "sunday" => Weekday::Sunday,
            _ => return Err(Wrong::new("is no day", "it is `mon`, `tue`, `wed`, `thu`, `fri`, `sat` or `sun`")),
        };
        Ok(Self(day))
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] })
    }
}

/// `Europe/Paris`.
#[derive(Debug, Clone)]
pub(super) struct Zone(pub(super) TimeZone);

impl Leaf for Zone {
    fn parse(text: &str) -> Result<Self, Wrong> {
        let hint = "write a name of the IANA database, such as `Europe/Paris`, `America/New_York` or `UTC`";
        zone(text).map(Self).ok_or_else(|| Wrong::new("is no time zone", hint))
    }

    fn schema() -> Json {
        json!({ "type": "string", "examples": ["Europe/Paris", "UTC"] })
    }
}

/// The zone of that name, from the program's own copy of the database.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    let is_name =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+'));
    if !is_name {
        return None;
    }
    jiff::tz::TimeZoneDatabase::bundled().get(name).ok()
}

#[cfg(test)]
mod tests {
    use super::super::leaf::takes;
    use super::*;

    #[test]
    fn windows_days_and_zones() {
        let window = |text| WindowText::parse(text).unwrap().0;
        assert_eq!(window("07:00-23:00"), Window { start: 420, end: 1380 });
        assert_eq!(window("22:00 - 06:00"), Window { start: 1320, end: 360 });
        assert_eq!(window("00:00-24:00"), Window { start: 0, end: 1439 });
        assert_eq!(window("7:05-24:00"), Window { start: 425, end: 1439 });
        takes::<WindowText>(
            &["00:00-23:59", "23:59-23:59"],
            &[
                "",
                "07:00",
                "7-23",
                "07:00-23:00x",
                "x07:00-23:00",
                "24:00-06:00",
                "24:01-01:00",
                "07:60-08:00",
                "+7:00-08:00",
                "07:0-08:00",
            ],
        );
        takes::<Interval>(
            &["15s", "6h", "1d", "90m", "1h30m"],
            &["", "0s", "0h", "15sfoo", "15", "500ms", "-1h", "400d"],
        );
        takes::<Day>(&["mon", "Mon", "SUNDAY"], &["", "lundi", "0", "mo"]);
        takes::<Zone>(
            &["Europe/Paris", "UTC", "America/Sao_Paulo"],
            &["", "Europe/Nowhere", "../etc/passwd", "CET-1 x"],
        );
    }
}
