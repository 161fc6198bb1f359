//! Arithmetic on moments that cannot overflow. The moments themselves come from outside.

use jiff::Timestamp;
use std::time::Duration;

/// The moment `by` after `start`; the end of time where that overflows.
pub fn after(start: Timestamp, by: Duration) -> Timestamp {
    start.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// How long before `now` the moment `then` was; zero where it lies ahead (clocks of two machines differ).
pub fn age(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or(Duration::ZERO)
}
