//! What is done at regular times: the checked values of `scheduler:`.

use super::reading::Reading;
use super::schedule_shape::{self as shape, EndName, TaskName};
use super::section::Field;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Registries and GitHub count each look; a new version comes once a week.
const SHORTEST: Duration = Duration::from_secs(60);

/// `scheduler:`.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Whether `serve` does it.
    pub enabled: bool,
    /// From one run to the next.
    pub every: Duration,
    /// Only then.
    pub window: Window,
    /// Only on these days, Monday first. A window over midnight belongs to the day on which it begins.
    pub days: [bool; 7],
    /// The zone of window and days.
    pub tz: TimeZone,
    /// A run begins up to so much later.
    pub jitter: Duration,
    /// What is done, in the order in which it is done.
    pub actions: Vec<Task>,
    /// Further tries of a run that failed.
    pub max_retries: u32,
    /// Whether it is told that an update was applied.
    pub tell_success: bool,
    /// Whether it is told that a run failed.
    pub tell_failure: bool,
}

/// Minutes of the day, both included. An end before the start goes over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first minute.
    pub start: u16,
    /// The last minute.
    pub end: u16,
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Look for newer base images.
    Check,
    /// Tell of them.
    Notify,
    /// Build the images of pools.
    Build,
    /// Make reality match the file.
    Deploy,
}

impl Default for Schedule {
    /// What holds where the file has no such section: nothing to do, at any time.
    fn default() -> Self {
        Self {
            enabled: true,
            every: Duration::from_secs(6 * 3600),
            window: Window { start: 0, end: 24 * 60 - 1 },
            days: [true; 7],
            tz: TimeZone::UTC,
            jitter: Duration::ZERO,
            actions: Vec::new(),
            max_retries: 3,
            tell_success: true,
            tell_failure: true,
        }
    }
}

impl std::fmt::Display for Task {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Check => "check",
            Self::Notify => "notify",
            Self::Build => "build",
            Self::Deploy => "deploy",
        })
    }
}

/// The section as it was read -> what holds. None where the file has no such section.
pub(super) fn schedule(file: &shape::Scheduler, reading: &mut Reading<'_>) -> Option<Schedule> {
    if !file.given {
        return None;
    }
    if file.webhook.given {
        reading.warning(&file.webhook.at, "never had an effect", "recipients stand under `webhooks`");
    }
    let mut every = file.check_interval.good()?.0;
    if let Field::Good(given) = &file.check_interval
        && every < SHORTEST
    {
        every = SHORTEST;
        let hint = "registries and GitHub count each look; `6h` is plenty";
        reading.warning(&given.spot, "is raised to one minute", hint);
    }
    let mut days = [false; 7];
    for day in &file.days.good()?.0 {
        let at = usize::try_from(day.value.0.to_monday_zero_offset()).unwrap_or_default();
        days[at] = true;
    }
    if let Field::Good(list) = &file.days
        && list.value.0.is_empty()
    {
        reading.problem(&list.spot, "has no day: nothing would ever be done", "leave the key out for all days");
    }
    let jitter = file.jitter.good()?.0;
    if let Field::Good(given) = &file.jitter
        && jitter >= every
    {
        reading.problem(&given.spot, "is not less than the interval (`check_interval`)", "");
    }
    let tz = match &file.tz {
        Field::Good(zone) => zone.value.0.clone(),
        Field::Bad => return None,
        Field::Absent => {
            let name = (reading.env)("TZ").filter(|name| !name.is_empty());
            match name.as_deref().map(|name| shape::zone(name.strip_prefix(':').unwrap_or(name))) {
                None => TimeZone::UTC,
                Some(Some(zone)) => zone,
                Some(None) => {
                    let hint = "give `scheduler.tz`, such as `Europe/Paris`";
                    reading.warning(
                        &file.at.missing("tz"),
                        "the variable `TZ` names no zone that is known: UTC holds",
                        hint,
                    );
                    TimeZone::UTC
                }
            }
        }
    };
    let ends = &file.notify_on.good()?.0;
    let tells = |end: EndName| ends.iter().any(|given| given.value == end);
    Some(Schedule {
        enabled: file.enabled.good().copied()?,
        every,
        window: file.time_window.good()?.0,
        days,
        tz,
        jitter,
        actions: tasks(file, reading),
        max_retries: file.max_retries.good()?.get().unwrap_or_default(),
        tell_success: tells(EndName::Success),
        tell_failure: tells(EndName::Failure),
    })
}

fn tasks(file: &shape::Scheduler, reading: &mut Reading<'_>) -> Vec<Task> {
    let given = file.actions.good().map(|list| list.0.as_slice()).unwrap_or_default();
    let mut tasks: Vec<_> = given
        .iter()
        .map(|task| match task.value {
            TaskName::Check => Task::Check,
            TaskName::Notify => Task::Notify,
            TaskName::Build => Task::Build,
            TaskName::Deploy => Task::Deploy,
        })
        .collect();
    // Whatever the order in the file: nothing is built before it was looked for, or deployed before it was built.
    tasks.sort_unstable();
    tasks.dedup();
    let enabled = file.enabled.good().copied().unwrap_or(true);
    // A default stands nowhere.
    let given = file.actions.placed().filter(|list| !list.spot.path.is_empty());
    let spot = given.map_or_else(|| file.at.missing("actions"), |list| list.spot.clone());
    if tasks.is_empty() && enabled {
        reading.warning(&spot, "there is nothing to do", "write `actions: [check, notify]`");
    } else if tasks.contains(&Task::Notify) && !tasks.contains(&Task::Check) {
        reading.warning(&spot, "`notify` has nothing to tell without `check`", "add `check`");
    }
    tasks
}
