//! Rate limits: a budget for each token and resource, and the secondary limit for each route.

use super::options::Limits;
use crate::model::after;
use jiff::Timestamp;
use std::collections::HashMap;
use std::time::Duration;

/// A kind of request with a budget of its own, as in `x-ratelimit-resource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Resource {
    Core,
    Registration,
    Manifest,
}

impl Resource {
    pub(super) const ALL: [Self; 3] = [Self::Core, Self::Registration, Self::Manifest];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Registration => "actions_runner_registration",
            Self::Manifest => "integration_manifest",
        }
    }

    fn limit(self, limits: &Limits) -> u32 {
        match self {
            Self::Core | Self::Manifest => limits.core,
            Self::Registration => limits.registration,
        }
    }
}

/// What the headers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) limit: u32,
    pub(super) used: u32,
    pub(super) reset: Timestamp,
}

impl Standing {
    pub(super) fn remaining(self) -> u32 {
        self.limit.saturating_sub(self.used)
    }
}

/// A request that is one too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exceeded {
    Primary,
    Secondary { retry_after: Duration },
}

/// All budgets.
#[derive(Debug)]
pub(super) struct Budgets {
    pub(super) limits: Limits,
    used: HashMap<(String, Resource), (u32, Timestamp)>,
    points: HashMap<(String, &'static str), (u32, Timestamp)>,
}

impl Budgets {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, used: HashMap::new(), points: HashMap::new() }
    }

    /// How a budget stands, with nothing taken from it.
    pub(super) fn look(&mut self, who: &str, resource: Resource, now: Timestamp) -> Standing {
        let reset = after(now, self.limits.window);
        let entry = self.used.entry((who.to_owned(), resource)).or_insert((0, reset));
        if entry.1 <= now {
            *entry = (0, reset);
        }
        Standing { limit: resource.limit(&self.limits), used: entry.0, reset: entry.1 }
    }

    /// Takes one request from its budgets.
    pub(super) fn take(
        &mut self,
        who: &str,
        resource: Resource,
        route: &'static str,
        changes: bool,
        now: Timestamp,
    ) -> Result<Standing, (Exceeded, Standing)> {
        let standing = self.look(who, resource, now);
        if standing.remaining() == 0 {
            return Err((Exceeded::Primary, standing));
        }
        if let Some(limit) = self.limits.secondary_points {
            let minute = after(now, Duration::from_secs(60));
            let entry = self.points.entry((who.to_owned(), route)).or_insert((0, minute));
            if entry.1 <= now {
                *entry = (0, minute);
            }
            entry.0 += if changes { 5 } else { 1 };
            if entry.0 > limit {
                let retry_after = Duration::from_secs(60);
                return Err((Exceeded::Secondary { retry_after }, standing));
            }
        }
        if let Some(entry) = self.used.get_mut(&(who.to_owned(), resource)) {
            entry.0 += 1;
        }
        Ok(self.look(who, resource, now))
    }

    /// Gives one request back: a 304 is free.
    pub(super) fn give_back(&mut self, who: &str, resource: Resource) {
        if let Some(entry) = self.used.get_mut(&(who.to_owned(), resource)) {
            entry.0 = entry.0.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_apart_and_come_back_after_the_window() {
        let limits = Limits { core: 2, registration: 1, ..Limits::default() };
        let mut budgets = Budgets::new(limits);
        let start = Timestamp::UNIX_EPOCH;
        assert_eq!(budgets.take("a", Resource::Core, "/x", false, start).unwrap().remaining(), 1);
        budgets.take("a", Resource::Registration, "/y", true, start).unwrap();
        assert_eq!(budgets.take("a", Resource::Registration, "/y", true, start).unwrap_err().0, Exceeded::Primary);
        budgets.take("a", Resource::Core, "/x", false, start).unwrap();
        budgets.take("b", Resource::Core, "/x", false, start).unwrap();
        let (exceeded, standing) = budgets.take("a", Resource::Core, "/x", false, start).unwrap_err();
        assert_eq!((exceeded, standing.remaining()), (Exceeded::Primary, 0));
        budgets.take("a", Resource::Core, "/x", false, after(start, Duration::from_secs(3600))).unwrap();
    }

    #[test]
    fn the_secondary_limit_counts_changes_five_times() {
        let mut budgets = Budgets::new(Limits { secondary_points: Some(10), ..Limits::default() });
        let now = Timestamp::UNIX_EPOCH;
        budgets.take("a", Resource::Core, "/x", true, now).unwrap();
        budgets.take("a", Resource::Core, "/x", true, now).unwrap();
        let (exceeded, _) = budgets.take("a", Resource::Core, "/x", false, now).unwrap_err();
        assert!(matches!(exceeded, Exceeded::Secondary { .. }));
        budgets.take("a", Resource::Core, "/other", false, now).unwrap();
    }
}
