//! Times as a person types them.

use jiff::Timestamp;
use std::time::Duration;

/// Longer ones are slips, and would only strain the arithmetic.
const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// `30s`, `10m`, `1h30m`, `500ms`, `2d`; a number alone is seconds.
///
/// # Errors
/// It is none, in words for clap.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a time, as in `30s`, `10m`, `1h30m` or `2d`".to_owned();
    if text.is_empty() {
        return Err(wrong());
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, tail) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "" if number == text => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = total.saturating_add(Duration::from_millis(number.saturating_mul(millis)));
        rest = tail;
    }
    if total > LONGEST { Err("a time of ten years (3650d) at most".to_owned()) } else { Ok(total) }
}

/// `--since`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Since {
    /// So long ago.
    Ago(Duration),
    /// From this moment on.
    At(Timestamp),
}

impl Since {
    /// `10m`, or a moment as in `2026-11-22T14:00:00Z`.
    ///
    /// # Errors
    /// It is neither, in words for clap.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Ok(ago) = duration(text) {
            return Ok(Self::Ago(ago));
        }
        let wrong = |_| "a time ago, as in `10m`, or a moment, as in `2026-11-22T14:00:00Z`".to_owned();
        text.parse().map(Self::At).map_err(wrong)
    }

    /// The moment, told at `now`.
    pub(super) fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
            Self::At(at) => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        for (text, seconds) in [("30s", 30), ("10m", 600), ("1h30m", 5400), ("2d", 172_800), ("90", 90), ("1500ms", 1)]
        {
            assert_eq!(duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for text in ["", "soon", "m", "10x", "1h30", "-5m", "99999999999999999999s", "4000d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn since_is_a_time_ago_or_a_moment() {
        let now: Timestamp = "2026-11-22T14:00:00Z".parse().unwrap();
        assert_eq!(Since::parse("10m").unwrap().moment(now), "2026-11-22T13:50:00Z".parse().unwrap());
        assert_eq!(
            Since::parse("2026-11-22T10:00:00+01:00").unwrap().moment(now),
            "2026-11-22T09:00:00Z".parse().unwrap()
        );
        assert!(Since::parse("yesterday").unwrap_err().contains("2026-11-22T14:00:00Z"));
    }
}
