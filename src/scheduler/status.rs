//! What the scheduler is about, for people.

use super::plan::{Decision, plan};
use super::state::State;
use crate::config::{Schedule, Task};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// As of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether `serve` does it.
    pub enabled: bool,
    /// From one run to the next, in seconds.
    pub every_seconds: u64,
    /// `07:00-23:00`.
    pub time_window: String,
    /// `mon`, ….
    pub days: Vec<String>,
    /// The zone of both.
    pub tz: String,
    /// What is done.
    pub actions: Vec<Task>,
    /// What is written down.
    pub state: State,
    /// When something happens next; now, if a run is due.
    pub next: Timestamp,
    /// Why not before.
    pub why: String,
    /// The moment.
    pub at: Timestamp,
}

/// What the scheduler is about.
pub fn status(schedule: &Schedule, state: &State, now: Timestamp) -> Status {
    let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let (next, why) = match plan(schedule, state, now) {
        Decision::Run(_) => (now, "a run is due now".to_owned()),
        Decision::Wait { until, why } => (until, why.to_string()),
    };
    Status {
        enabled: schedule.enabled,
        every_seconds: schedule.every.as_secs(),
        time_window: format!("{}-{}", time(schedule.window.start), time(schedule.window.end)),
        days: names.iter().zip(schedule.days).filter(|(_, on)| *on).map(|(name, _)| (*name).to_owned()).collect(),
        tz: schedule.tz.iana_name().unwrap_or("UTC").to_owned(),
        actions: schedule.actions.clone(),
        state: state.clone(),
        next,
        why,
        at: now,
    }
}
