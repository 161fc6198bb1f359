//! The next thing to do for one runner: a pure function of what is wanted and what is seen.
//!
//! ```text
//! Up    nothing -> Intend -> Create -> Start -> online            exited -> StartAgain -> online
//!       outdated: as Gone, without GitHub's being away, then from the start
//! Down  no job, looked at twice -> Stop
//! Gone  no job -> Deregister -> looked at once more -> Stop -> RemoveContainer -> Close
//! ```
//!
//! Whoever calls it does that one thing and looks again; so it never matters where a process was cut off. Nothing that cannot be
//! taken back follows from something that could not be looked at.

use crate::model::{
    ContainerStatus, JobKey, Observed, Registration, RegistrationHold, RegistrationId, RegistrationStatus, Runner,
    StateName, after, age,
};
use jiff::Timestamp;
use std::time::Duration;

/// What GitHub refused is asked for again after this time.
const REFUSED: Duration = Duration::from_secs(4);

/// An agent that vanished is online for GitHub for about a minute. A runner of the same name that is online for longer and is
/// not in this engine is somebody else's.
const STRANGER_AFTER: Duration = Duration::from_secs(120);

/// A container that the engine had to bring back so often since its start is not waited for any longer.
const RESTARTS: u32 = 2;

/// So many looks in a row must find no sign of a job before a container that runs is ended.
pub const QUIET_LOOKS: u32 = 2;

/// Where a runner is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Online.
    Up {
        /// Made anew where it is outdated.
        renew: bool,
    },
    /// Stopped, with its container and registration.
    Down,
    /// Gone from GitHub and from the engine.
    Gone,
}

/// What is to be done with a runner, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Where it is to be.
    pub goal: Goal,
    /// End a running job.
    pub force: bool,
    /// When this began.
    pub began: Timestamp,
    /// Until when a running job is waited for.
    pub drain_until: Timestamp,
    /// From a start until GitHub lists it as online.
    pub online_timeout: Duration,
    /// Whether the file describes it, so that it can be made.
    pub described: bool,
}

/// A container as far as a step depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it does.
    pub status: ContainerStatus,
    /// Why it is not as described any more.
    pub outdated: Option<String>,
    /// How often the engine brought it back since somebody started it.
    pub restarts: u32,
}

/// What is seen of a runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Its row.
    pub row: Option<&'a Runner>,
    /// Its container.
    pub container: Observed<Option<Found>>,
    /// GitHub's runner of that name.
    pub registration: Observed<Option<Registration>>,
    /// Whether a job's process is in its container.
    pub worker: Observed<bool>,
    /// A job that is not over and names it, as events told.
    pub job: Option<JobKey>,
    /// So many looks in a row, this one among them, found no sign of a job.
    pub quiet: u32,
    /// So often its container was started by this task, and when last.
    pub starts: u32,
    /// When it was started last by this task.
    pub started_at: Option<Timestamp>,
    /// When GitHub refused to give the registration up, and its words.
    pub refused: Option<(Timestamp, String)>,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It is where it should be.
    Done,
    /// Write its row: nothing is there yet.
    Intend,
    /// A container has no row, or that of a runner that was removed: write one.
    Adopt,
    /// Make its container.
    Create,
    /// Start the container for the first time, with a credential.
    Start,
    /// Start a container that was started before.
    StartAgain,
    /// Give its registration back.
    Deregister {
        /// GitHub's id.
        id: RegistrationId,
    },
    /// Stop its container.
    Stop {
        /// A job runs in it, which needs time to be cancelled.
        with_job: bool,
    },
    /// Remove its container.
    RemoveContainer,
    /// Container and registration are gone: write that down.
    Close,
    /// Its row says something else than what is seen.
    Record {
        /// What is seen.
        state: StateName,
        /// Why, in a person's words.
        cause: String,
        /// Its registration, where that is news.
        registration: Option<RegistrationId>,
    },
    /// Nothing can be done now but to look again.
    Wait(String),
    /// Something that must be known could not be looked at.
    Blocked(String),
    /// It does not get there.
    GiveUp(GiveUp),
}

/// Why a runner does not get where it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiveUp {
    /// In a person's words.
    pub why: String,
    /// What is to become of it.
    pub then: Then,
}

/// What becomes of a runner that does not get where it should be now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is in error.
    Error,
    /// It stays as it is; the order is not carried out.
    Refused,
    /// It stays as it is; what is missing is done when it can be.
    Later,
}

/// Why it is to go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    ForGood,
    ToComeBack,
}

/// Whether it runs a job.
enum Work {
    None,
    Job(String),
    Unknown(String),
}

/// The next step.
pub fn next(task: &Task, seen: &Seen<'_>, now: Timestamp) -> Step {
    let container = match &seen.container {
        Observed::Known(container) => container.as_ref(),
        Observed::Unknown(why) => return Step::Blocked(why.clone()),
    };
    if container.is_some() && !seen.row.is_some_and(Runner::is_live) {
        return Step::Adopt;
    }
    match task.goal {
        Goal::Up { renew } => up(task, seen, container, renew, now),
        Goal::Down => down(task, seen, container, now),
        Goal::Gone => leave(task, seen, container, Leaving::ForGood, now),
    }
}

fn up(task: &Task, seen: &Seen<'_>, container: Option<&Found>, renew: bool, now: Timestamp) -> Step {
    let Some(row) = seen.row else { return intend(task) };
    let Some(found) = container else {
        return match row.state.name {
            StateName::Removed => intend(task),
            // The last try failed before there was a container.
            StateName::Created | StateName::Error if row.container.is_none() => create(task, seen, row, now),
            StateName::Created | StateName::Started | StateName::Running => {
                record(StateName::Error, "its container vanished: somebody else removed it")
            }
            StateName::Stopped | StateName::Error => Step::Close,
        };
    };
    if renew && found.outdated.is_some() && task.described {
        return leave(task, seen, container, Leaving::ToComeBack, now);
    }
    match found.status {
        ContainerStatus::Created => Step::Start,
        ContainerStatus::Running => until_online(task, seen, container, row, now),
        ContainerStatus::Exited { exit_code, oom_killed } => {
            let memory = if oom_killed { ", killed for memory" } else { "" };
            let first = if row.state.name == StateName::Created { " before it was registered" } else { "" };
            let cause = format!("its container ended with exit code {exit_code}{memory}{first}");
            if seen.starts > 0 {
                return give_up(Then::Error, cause);
            }
            match (row.state.name, &seen.registration) {
                (StateName::Created | StateName::Started | StateName::Running | StateName::Removed, _) => {
                    record(StateName::Error, cause)
                }
                // Without it the agent would never come online.
                (StateName::Stopped | StateName::Error, Observed::Known(None)) if task.described => {
                    Step::RemoveContainer
                }
                (StateName::Stopped | StateName::Error, _) => Step::StartAgain,
            }
        }
    }
}

fn intend(task: &Task) -> Step {
    if task.described {
        Step::Intend
    } else {
        give_up(Then::Refused, "the file does not describe it, and it is not there".to_owned())
    }
}

/// A runner of that name which GitHub still knows goes first: what comes online must be the new one.
fn create(task: &Task, seen: &Seen<'_>, row: &Runner, now: Timestamp) -> Step {
    if !task.described {
        return give_up(Then::Refused, "the file does not describe it, so it cannot be made".to_owned());
    }
    match &seen.registration {
        Observed::Unknown(why) => Step::Blocked(why.clone()),
        Observed::Known(None) => Step::Create,
        Observed::Known(Some(registration)) => give_back(task, seen, row, registration, now),
    }
}

/// The container runs: until GitHub lists it as online.
fn until_online(task: &Task, seen: &Seen<'_>, container: Option<&Found>, row: &Runner, now: Timestamp) -> Step {
    let online = |registration: &Registration| registration.status == RegistrationStatus::Online;
    match &seen.registration {
        Observed::Known(Some(registration)) if online(registration) => {
            let held = RegistrationHold::Held(registration.id);
            let is_up = matches!(row.state.name, StateName::Started | StateName::Running);
            if is_up && row.registration == held {
                return Step::Done;
            }
            let works = registration.busy || seen.worker == Observed::Known(true);
            let state = match row.state.name {
                StateName::Running => StateName::Running,
                // From an error a runner comes back by way of `started`.
                StateName::Created | StateName::Started if works => StateName::Running,
                _ => StateName::Started,
            };
            return Step::Record {
                state,
                cause: "GitHub lists it as online".to_owned(),
                registration: Some(registration.id),
            };
        }
        // It had one, and somebody deleted it; or it never got one, and was in error for that.
        Observed::Known(None)
            if task.described
                && (matches!(row.registration, RegistrationHold::Held(_))
                    || (row.state.name == StateName::Error && seen.starts == 0)) =>
        {
            return leave(task, seen, container, Leaving::ToComeBack, now);
        }
        // Its agent hangs.
        Observed::Known(Some(_)) if row.state.name == StateName::Error && seen.starts == 0 => {
            return match work(seen, now) {
                Work::Job(what) => drain(task, &what, now),
                Work::Unknown(why) => Step::Blocked(why),
                Work::None => stop_when_quiet(seen),
            };
        }
        Observed::Known(_) | Observed::Unknown(_) => {}
    }
    if let Some(found) = container.filter(|found| seen.starts > 0 && found.restarts >= RESTARTS) {
        return give_up(Then::Error, format!("its container ended {} times since its start", found.restarts));
    }
    let since = seen.started_at.unwrap_or(task.began);
    if now < after(since, task.online_timeout) {
        return Step::Wait("waiting until GitHub lists it as online".to_owned());
    }
    match &seen.registration {
        Observed::Unknown(why) => {
            give_up(Then::Later, format!("its container runs; whether it is online cannot be seen: {why}"))
        }
        Observed::Known(_) => give_up(
            Then::Error,
            format!("GitHub has not seen its agent online within {} s (timeouts.online)", age(now, since).as_secs()),
        ),
    }
}

fn down(task: &Task, seen: &Seen<'_>, container: Option<&Found>, now: Timestamp) -> Step {
    let Some(row) = seen.row.filter(|row| row.is_live()) else { return Step::Done };
    match container.map(|found| &found.status) {
        None | Some(ContainerStatus::Created | ContainerStatus::Exited { .. }) => {
            if row.state.name == StateName::Stopped {
                Step::Done
            } else {
                record(StateName::Stopped, "stopped by hand")
            }
        }
        Some(ContainerStatus::Running) => match work(seen, now) {
            _ if task.force => Step::Stop { with_job: true },
            Work::Job(what) => drain(task, &what, now),
            Work::Unknown(why) => Step::Blocked(why),
            Work::None => stop_when_quiet(seen),
        },
    }
}

fn leave(task: &Task, seen: &Seen<'_>, container: Option<&Found>, leaving: Leaving, now: Timestamp) -> Step {
    let Some(row) = seen.row.filter(|row| row.is_live()) else {
        // Nothing is known of it here; GitHub may have its registration all the same.
        return match &seen.registration {
            Observed::Known(Some(registration))
                if task.described && registration.status == RegistrationStatus::Offline && !registration.busy =>
            {
                match just_refused(seen, now) {
                    Some(why) => give_up(Then::Later, format!("GitHub does not give its registration up yet: {why}")),
                    None => Step::Deregister { id: registration.id },
                }
            }
            Observed::Known(_) => Step::Done,
            Observed::Unknown(why) => Step::Blocked(why.clone()),
        };
    };
    match (container.map(|found| &found.status), &seen.registration) {
        // A runner that is to come back is not taken away while GitHub could not take the new one.
        (Some(_), Observed::Unknown(why)) if leaving == Leaving::ToComeBack => Step::Blocked(why.clone()),
        (Some(ContainerStatus::Running), _) if task.force => Step::Stop { with_job: true },
        (Some(ContainerStatus::Running), registration) => match (work(seen, now), registration) {
            (Work::Job(what), _) => drain(task, &what, now),
            (Work::Unknown(why), _) => Step::Blocked(why),
            (Work::None, Observed::Known(Some(registration))) => Step::Deregister { id: registration.id },
            (Work::None, Observed::Known(None) | Observed::Unknown(_)) => stop_when_quiet(seen),
        },
        // Its end is written down before its traces go.
        (_, _) if matches!(row.state.name, StateName::Started | StateName::Running) => {
            record(StateName::Stopped, "its container ended")
        }
        // Where it registers next may be elsewhere: nothing may be left where it is registered now.
        (Some(_), Observed::Known(Some(registration))) if leaving == Leaving::ToComeBack => {
            give_back(task, seen, row, registration, now)
        }
        (Some(ContainerStatus::Created | ContainerStatus::Exited { .. }), _) => Step::RemoveContainer,
        (None, Observed::Known(None)) => Step::Close,
        (None, Observed::Known(Some(registration))) => give_back(task, seen, row, registration, now),
        (None, Observed::Unknown(why)) => Step::Blocked(why.clone()),
    }
}

/// No container stands behind the registration.
fn give_back(task: &Task, seen: &Seen<'_>, row: &Runner, registration: &Registration, now: Timestamp) -> Step {
    let ours = row.registration == RegistrationHold::Held(registration.id);
    if !ours && registration.status == RegistrationStatus::Online {
        if now < after(task.began, STRANGER_AFTER) {
            return Step::Wait("GitHub lists a runner of this name as online".to_owned());
        }
        return give_up(
            Then::Error,
            format!(
                "GitHub lists an online runner `{}` ({}) which does not run in this engine: stop that one, or choose another `name_prefix`",
                registration.name, registration.id
            ),
        );
    }
    match just_refused(seen, now) {
        Some(why) if now < task.drain_until.max(after(task.began, REFUSED)) => {
            Step::Wait(format!("waiting until GitHub gives its registration up: {why}"))
        }
        Some(why) => give_up(Then::Later, format!("GitHub does not give its registration up yet: {why}")),
        None => Step::Deregister { id: registration.id },
    }
}

fn stop_when_quiet(seen: &Seen<'_>) -> Step {
    if seen.quiet < QUIET_LOOKS {
        Step::Wait("making sure that it runs no job".to_owned())
    } else {
        Step::Stop { with_job: false }
    }
}

fn drain(task: &Task, what: &str, now: Timestamp) -> Step {
    if now < task.drain_until {
        return Step::Wait(format!("waiting for its job to end: {what}"));
    }
    give_up(Then::Later, format!("it still runs a job after {} s ({what})", age(now, task.began).as_secs()))
}

fn just_refused<'a>(seen: &'a Seen<'_>, now: Timestamp) -> Option<&'a str> {
    seen.refused.as_ref().filter(|(at, _)| age(now, *at) < REFUSED).map(|(_, why)| why.as_str())
}

/// Two signs must say that there is no job: GitHub's and the engine's. Without GitHub's, events stand in for it.
fn work(seen: &Seen<'_>, now: Timestamp) -> Work {
    if seen.worker == Observed::Known(true) {
        return Work::Job("a job's process is in its container".to_owned());
    }
    if let Some(why) = just_refused(seen, now) {
        return Work::Job(format!("GitHub keeps it: {why}"));
    }
    match (&seen.registration, seen.job) {
        (Observed::Known(Some(registration)), _) if registration.busy => {
            return Work::Job("GitHub says that it has one".to_owned());
        }
        (Observed::Unknown(_), Some(job)) => return Work::Job(format!("GitHub gave it job {job}")),
        _ => {}
    }
    match &seen.worker {
        Observed::Known(_) => Work::None,
        Observed::Unknown(why) => Work::Unknown(why.clone()),
    }
}

/// Whether a look finds no sign of a job.
pub fn is_quiet(seen: &Seen<'_>, now: Timestamp) -> bool {
    matches!(work(seen, now), Work::None)
}

fn record(state: StateName, cause: impl Into<String>) -> Step {
    Step::Record { state, cause: cause.into(), registration: None }
}

fn give_up(then: Then, why: String) -> Step {
    Step::GiveUp(GiveUp { why, then })
}

#[cfg(test)]
mod tests;
