//! What `serve` does about a persistent runner by itself: it follows what is seen, brings back what ended, and finishes what a
//! person ordered. It never replaces one for new settings: that is a deploy's word. Pure.

use super::effects::likely_wanted;
use super::step::Goal;
use crate::model::{
    Container, ContainerStatus, Job, JobKey, RegistrationHold, RegistrationStatus, Runner, StateName, Wanted, after,
    age,
};
use crate::plan::{Listed, Listing};
use jiff::Timestamp;
use std::time::Duration;

/// A runner that GitHub has not seen for so long, though its container runs, is in error. A short break of the network is none.
const OFFLINE: Duration = Duration::from_secs(5 * 60);

/// The wait before the first restart after an end that nobody asked for; doubled with each end that is not long ago.
const FIRST_RESTART: Duration = Duration::from_secs(1);

/// What is known of one runner.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// Its row.
    pub(super) row: Option<&'a Runner>,
    /// Its container; the engine was looked at.
    pub(super) container: Option<&'a Container>,
    /// GitHub's list of its scope, if it could be read.
    pub(super) listing: Option<&'a Listing>,
    /// The job that runs on it, as events told.
    pub(super) job: Option<&'a Job>,
    /// The job of its row.
    pub(super) last_job: Option<&'a Job>,
    /// Whether the file describes it.
    pub(super) described: bool,
    /// How often the engine had brought this container back when it was looked at before.
    pub(super) restarts_before: u32,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tend {
    /// Nothing, until something changes.
    Nothing,
    /// Nothing before this moment.
    LookAt(Timestamp),
    /// Bring it where it is wanted.
    Drive(Goal),
    /// Its row says something else than what is seen.
    Record { state: StateName, job: Option<JobKey>, cause: String },
    /// Its job seems to be over: if no job's process is in its container, it is idle.
    Settle,
    /// Its container ended though nobody asked for that.
    Ended(String),
    /// The engine brought its container back so many times more.
    Restarted(u32),
    /// It kept ending: it is left alone until a person starts it.
    Hold,
}

/// The decision.
pub(super) fn tend(view: &View<'_>, now: Timestamp) -> Tend {
    let Some((row, kept)) = view.row.and_then(|row| Some((row, row.kept.as_ref()?))) else {
        // The store was lost; the container's labels say whose it is.
        return match view.container {
            Some(container) => Tend::Drive(goal(likely_wanted(container))),
            None => Tend::Nothing,
        };
    };
    match kept.wanted {
        Wanted::Absent if row.is_live() || view.container.is_some() => Tend::Drive(Goal::Gone),
        Wanted::Absent => Tend::Nothing,
        Wanted::Stopped => {
            let runs = view.container.is_some_and(|container| container.status == ContainerStatus::Running);
            let is_down = match row.state.name {
                StateName::Stopped => !runs,
                StateName::Removed => view.container.is_none(),
                StateName::Created | StateName::Started | StateName::Running | StateName::Error => false,
            };
            if is_down { Tend::Nothing } else { Tend::Drive(Goal::Down) }
        }
        Wanted::Present => present(view, row, now),
    }
}

fn goal(wanted: Wanted) -> Goal {
    match wanted {
        Wanted::Present => Goal::Up { renew: false },
        Wanted::Stopped => Goal::Down,
        Wanted::Absent => Goal::Gone,
    }
}

fn present(view: &View<'_>, row: &Runner, now: Timestamp) -> Tend {
    let up = Tend::Drive(Goal::Up { renew: false });
    let Some(container) = view.container else {
        return if view.described { up } else { Tend::Nothing };
    };
    let kept = row.kept.as_ref();
    let in_a_loop = kept.is_some_and(crate::model::Kept::is_in_a_crash_loop);
    match &container.status {
        ContainerStatus::Created => up,
        ContainerStatus::Exited { exit_code, oom_killed } => match row.state.name {
            StateName::Started | StateName::Running => {
                let memory = if *oom_killed { ", killed for memory" } else { "" };
                Tend::Ended(format!("its container ended with exit code {exit_code}{memory}"))
            }
            StateName::Error if in_a_loop => Tend::Nothing,
            StateName::Error => {
                let ends = kept.map_or(0, |kept| kept.recent_ends(now));
                let doubled = u32::try_from(ends).unwrap_or(u32::MAX).saturating_sub(1).min(16);
                let due = after(row.state.since, FIRST_RESTART.saturating_mul(2_u32.saturating_pow(doubled)));
                if ends > 0 && now < due { Tend::LookAt(due) } else { up }
            }
            StateName::Created | StateName::Stopped | StateName::Removed => up,
        },
        ContainerStatus::Running => {
            let restarts = container.kept.as_ref().map_or(0, |kept| kept.restarts);
            if restarts > view.restarts_before {
                return Tend::Restarted(restarts - view.restarts_before);
            }
            if in_a_loop {
                return Tend::Hold;
            }
            running(view, row, now)
        }
    }
}

/// Its container runs, and it is wanted.
fn running(view: &View<'_>, row: &Runner, now: Timestamp) -> Tend {
    let up = Tend::Drive(Goal::Up { renew: false });
    let is_up = matches!(row.state.name, StateName::Started | StateName::Running);
    if let Some(job) = view.job.filter(|_| is_up) {
        let is_known = row.state.name == StateName::Running && row.job == Some(job.key());
        return if is_known {
            // Events told of its begin; where its end is lost, GitHub's list and the engine together tell it.
            match listed(view, row) {
                entry if entry.is_idle() => Tend::Settle,
                _ => Tend::Nothing,
            }
        } else {
            let cause = format!("GitHub gave it job {} of {}", job.key(), job.facts.repository);
            Tend::Record { state: StateName::Running, job: Some(job.key()), cause }
        };
    }
    let entry = listed(view, row);
    match row.state.name {
        StateName::Created | StateName::Stopped | StateName::Removed => up,
        StateName::Error => match entry {
            Entry::Listed(listed) if listed.registration.status == RegistrationStatus::Online => Tend::Record {
                state: StateName::Started,
                job: None,
                cause: "GitHub lists it as online again".to_owned(),
            },
            // One that GitHub has not seen for a while may come back by itself.
            Entry::Listed(listed) if row.registration == RegistrationHold::Held(listed.registration.id) => {
                Tend::Nothing
            }
            Entry::Absent | Entry::Listed(_) => up,
            Entry::NoList => Tend::Nothing,
        },
        StateName::Running => {
            let over = view.last_job.is_some_and(Job::is_over);
            if over || entry.is_idle() { Tend::Settle } else { Tend::Nothing }
        }
        StateName::Started => match entry {
            // Its start was not seen to its end.
            _ if !matches!(row.registration, RegistrationHold::Held(_)) => up,
            Entry::NoList => Tend::Nothing,
            Entry::Absent => up,
            Entry::Listed(listed) if listed.registration.busy => {
                Tend::Record { state: StateName::Running, job: None, cause: "GitHub lists it as busy".to_owned() }
            }
            Entry::Listed(listed) => offline(listed, now),
        },
    }
}

/// What GitHub's list says of it.
#[derive(Clone, Copy)]
enum Entry<'a> {
    /// There is no list that was asked for after its last change.
    NoList,
    /// The list does not have it.
    Absent,
    /// The list has it.
    Listed(&'a Listed),
}

impl Entry<'_> {
    /// Whether the list says that it has no job.
    fn is_idle(self) -> bool {
        match self {
            Self::NoList => false,
            Self::Absent => true,
            Self::Listed(listed) => !listed.registration.busy,
        }
    }
}

fn listed<'a>(view: &View<'a>, row: &Runner) -> Entry<'a> {
    match view.listing.filter(|listing| listing.at > row.state.since) {
        None => Entry::NoList,
        Some(listing) => listing.runners.get(&row.name).map_or(Entry::Absent, Entry::Listed),
    }
}

fn offline(listed: &Listed, now: Timestamp) -> Tend {
    let Some(since) = listed.offline_since else { return Tend::Nothing };
    let due = after(since, OFFLINE);
    if now < due {
        return Tend::LookAt(due);
    }
    Tend::Record {
        state: StateName::Error,
        job: None,
        cause: format!("GitHub has not seen its agent for {} s, though its container runs", age(now, since).as_secs()),
    }
}

#[cfg(test)]
mod tests;
