//! A runner's life: six states, and the only changes between them.
//!
//! ```text
//! created -> started -> running
//!               |          |
//!               v          v
//!              stopped <---+
//! created, started, running, stopped -> error -> removed
//! created, stopped                   -> removed
//! ```
//!
//! A persistent runner goes from job to job, is stopped and started, and comes back after its end; it has these as well:
//!
//! ```text
//! running -> started                    its job is over
//! stopped -> started                    started again
//! created -> stopped                    stopped before its first start
//! error   -> started, stopped           mended, or stopped by hand
//! removed -> created                    made anew under the same name
//! ```

use super::container::Evidence;
use super::ids::{ContainerId, HostId, JobKey, PoolName, RegistrationId, RunnerName};
use super::scope::Scope;
use super::time::age;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// One runner: the row that the store keeps. It is written before anything is done for it (the intent), and stays
/// for a while after it is removed (the trace).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    /// Registered under this name; the container's name as well.
    pub name: RunnerName,
    /// The pool that it belongs to.
    pub pool: PoolName,
    /// Where it registers.
    pub scope: Scope,
    /// The manager that made it and looks after it.
    pub owner: HostId,
    /// Which state, since when, why.
    pub state: RunnerState,
    /// The registration that is held with GitHub.
    #[serde(default)]
    pub registration: RegistrationHold,
    /// Its container, once there is one.
    #[serde(default)]
    pub container: Option<ContainerId>,
    /// The queued job for whose demand it was made. GitHub may give it another.
    #[serde(default)]
    pub created_for: Option<JobKey>,
    /// The job that it runs or ran, as `in_progress` told.
    #[serde(default)]
    pub job: Option<JobKey>,
    /// The image it is made from.
    pub image: String,
    /// When the row was written.
    pub created_at: Timestamp,
    /// What it left when it ended badly.
    #[serde(default)]
    pub evidence: Option<Evidence>,
    /// Whether a failure was not the pool's: GitHub or the engine was away, a limit was reached, a person stopped it.
    /// Such a runner says nothing about whether the pool's next one will do.
    #[serde(default)]
    pub blameless: bool,
    /// All changes, oldest first. Bounded by the machine itself: an ephemeral runner has at most six. Of a persistent one
    /// the last 50 are kept.
    #[serde(default)]
    pub history: Vec<Change>,
    /// What is kept of a persistent runner; none: it is ephemeral.
    #[serde(default)]
    pub kept: Option<Kept>,
}

/// What a persistent runner has beyond an ephemeral one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its number in the pool, from 1.
    pub index: u32,
    /// What a person asked for last.
    pub wanted: Wanted,
    /// The settings that its container was made with, as a short digest; empty before there is one.
    #[serde(default)]
    pub spec: String,
    /// Restarts after ends that nobody asked for; the oldest leave. They tell a crash loop.
    #[serde(default)]
    pub restarts: Vec<Timestamp>,
}

/// So many changes of a persistent runner are kept.
pub const HISTORY_MAX: usize = 50;

/// So many restarts that nobody asked for are remembered: one more than a runner may have within
/// [`CRASH_LOOP`].
pub const RESTARTS_MAX: usize = 6;

/// Restarts that lie this close together are a crash loop.
pub const CRASH_LOOP: Duration = Duration::from_secs(10 * 60);

impl Kept {
    /// Before its first container.
    pub fn new(index: u32, wanted: Wanted) -> Self {
        Self { index, wanted, spec: String::new(), restarts: Vec::new() }
    }

    /// The same after one more end that nobody asked for.
    #[must_use]
    pub fn with_end_at(&self, now: Timestamp) -> Self {
        let mut next = self.clone();
        next.restarts.push(now);
        let surplus = next.restarts.len().saturating_sub(RESTARTS_MAX);
        next.restarts.drain(..surplus);
        next
    }

    /// Ends within the time that counts, as of `now`.
    pub fn recent_ends(&self, now: Timestamp) -> usize {
        self.restarts.iter().filter(|at| age(now, **at) < CRASH_LOOP).count()
    }

    /// Whether it ended so often in so short a time that only a person should start it again.
    pub fn is_in_a_crash_loop(&self) -> bool {
        match (self.restarts.first(), self.restarts.last()) {
            (Some(first), Some(last)) => self.restarts.len() >= RESTARTS_MAX && age(*last, *first) < CRASH_LOOP,
            _ => false,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Present => "present",
            Self::Stopped => "stopped",
            Self::Absent => "absent",
        })
    }
}

/// What a person asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Up, and taking jobs.
    Present,
    /// Its container is kept, stopped.
    Stopped,
    /// Gone.
    Absent,
}

/// What is known of the registration with GitHub.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "registration", content = "id")]
pub enum RegistrationHold {
    /// Perhaps there, perhaps not: asked for and not answered, or made by the agent itself (`registration: token`).
    /// A take-down looks it up by name.
    #[default]
    Unknown,
    /// There, under this id.
    Held(RegistrationId),
    /// Known to be gone.
    Gone,
}

/// Which of the six states, with the moment and the cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerState {
    /// The state.
    pub name: StateName,
    /// Since when.
    pub since: Timestamp,
    /// Why, in a person's words.
    pub cause: String,
}

/// The six states that a user sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateName {
    /// The row is there, then the container; not started.
    Created,
    /// The agent is up, or on its way up, and waits for a job.
    Started,
    /// It runs a job.
    Running,
    /// The container ended, or was stopped.
    Stopped,
    /// Container and registration are gone. The row stays as a trace until it ages out.
    Removed,
    /// An operation failed; the cause says which.
    Error,
}

/// One change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// To which state.
    pub to: StateName,
    /// Why.
    pub cause: String,
}

/// How a runner counts against its pool's bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// On its way or idle: it will take a job.
    Supply,
    /// It has a job, or is being taken down: it holds a place and takes no further job.
    Occupied,
    /// Removed.
    Gone,
}

/// A change that the machine does not have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("runner `{name}` cannot go from {from} to {to}")]
pub struct IllegalChange {
    /// Which runner.
    pub name: RunnerName,
    /// From where.
    pub from: StateName,
    /// To where.
    pub to: StateName,
}

impl StateName {
    /// Whether an ephemeral runner may go from here to `to`.
    pub fn may_become(self, to: Self) -> bool {
        use StateName::{Created, Error, Removed, Running, Started, Stopped};
        matches!(
            (self, to),
            // GitHub can tell of a job before we saw the agent come up.
            (Created, Started | Running | Removed | Error)
                | (Started, Running | Stopped | Error)
                | (Running, Stopped | Error)
                | (Stopped, Removed | Error)
                | (Error, Removed)
        )
    }

    /// Whether a persistent runner may go from here to `to`.
    pub fn kept_may_become(self, to: Self) -> bool {
        use StateName::{Created, Error, Removed, Running, Started, Stopped};
        self.may_become(to)
            || matches!(
                (self, to),
                (Running | Stopped | Error, Started) | (Created | Error, Stopped) | (Removed, Created)
            )
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Removed => "removed",
            Self::Error => "error",
        })
    }
}

impl Runner {
    /// A row for a runner that is about to be made.
    #[expect(
        clippy::too_many_arguments,
        reason = "a row has this many facts from its first moment on, and no default for any"
    )]
    pub fn intended(
        name: RunnerName,
        pool: PoolName,
        scope: Scope,
        owner: HostId,
        image: String,
        created_for: Option<JobKey>,
        now: Timestamp,
        cause: impl Into<String>,
    ) -> Self {
        let cause = cause.into();
        Self {
            name,
            pool,
            scope,
            owner,
            state: RunnerState { name: StateName::Created, since: now, cause: cause.clone() },
            registration: RegistrationHold::Unknown,
            container: None,
            created_for,
            job: None,
            image,
            created_at: now,
            evidence: None,
            blameless: false,
            history: vec![Change { at: now, to: StateName::Created, cause }],
            kept: None,
        }
    }

    /// The same runner in another state, if the machine has that change.
    ///
    /// # Errors
    /// [`IllegalChange`] where it has not; the runner stays as it was.
    pub fn become_state(&self, to: StateName, cause: impl Into<String>, now: Timestamp) -> Result<Self, IllegalChange> {
        if !self.may_become(to) {
            return Err(IllegalChange { name: self.name.clone(), from: self.state.name, to });
        }
        let cause = cause.into();
        let mut next = self.clone();
        next.state = RunnerState { name: to, since: now, cause: cause.clone() };
        next.history.push(Change { at: now, to, cause });
        let surplus = next.history.len().saturating_sub(HISTORY_MAX);
        next.history.drain(..surplus);
        Ok(next)
    }

    /// Whether its kind has this change.
    pub fn may_become(&self, to: StateName) -> bool {
        match self.kept {
            None => self.state.name.may_become(to),
            Some(_) => self.state.name.kept_may_become(to),
        }
    }

    /// How it counts. A persistent runner holds its place as long as it is there, and is nobody's supply: no runner is made
    /// or spared for its sake.
    pub fn standing(&self) -> Standing {
        match self.state.name {
            StateName::Created | StateName::Started if self.kept.is_some() => Standing::Occupied,
            StateName::Created | StateName::Started => Standing::Supply,
            StateName::Running | StateName::Stopped | StateName::Error => Standing::Occupied,
            StateName::Removed => Standing::Gone,
        }
    }

    /// Whether container or registration may still be there.
    pub fn is_live(&self) -> bool {
        self.state.name != StateName::Removed
    }

    /// Since when its row is a mere trace, which may age out. That of a persistent runner which is still wanted never is.
    pub fn over_since(&self) -> Option<Timestamp> {
        let wanted = self.kept.as_ref().is_some_and(|kept| kept.wanted != Wanted::Absent);
        (!self.is_live() && !wanted).then_some(self.state.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [StateName; 6] = [
        StateName::Created,
        StateName::Started,
        StateName::Running,
        StateName::Stopped,
        StateName::Removed,
        StateName::Error,
    ];

    #[test]
    fn nothing_follows_removed_and_everything_reaches_it() {
        assert!(ALL.iter().all(|to| !StateName::Removed.may_become(*to)));
        for from in ALL.into_iter().filter(|state| *state != StateName::Removed) {
            let mut reached = vec![from];
            let mut next = 0;
            while next < reached.len() {
                let more: Vec<_> =
                    ALL.into_iter().filter(|to| reached[next].may_become(*to) && !reached.contains(to)).collect();
                reached.extend(more);
                next += 1;
            }
            assert!(reached.contains(&StateName::Removed), "{from} never ends");
        }
    }

    #[test]
    fn a_persistent_runner_has_these_changes_beyond_an_ephemeral_one() {
        use StateName::{Created, Error, Removed, Running, Started, Stopped};
        let mut more = Vec::new();
        for from in ALL {
            for to in ALL {
                assert!(!from.may_become(to) || from.kept_may_become(to), "{from} -> {to}");
                if from.kept_may_become(to) && !from.may_become(to) {
                    more.push((from, to));
                }
            }
        }
        assert_eq!(
            more,
            [
                (Created, Stopped),
                (Running, Started),
                (Stopped, Started),
                (Removed, Created),
                (Error, Started),
                (Error, Stopped)
            ]
        );
        // It never goes from job to job, or up and down, while it is an ephemeral one.
        let mut ephemeral = row();
        ephemeral.state.name = Running;
        assert!(ephemeral.become_state(Started, "x", Timestamp::UNIX_EPOCH).is_err());
        ephemeral.kept = Some(Kept::new(1, Wanted::Present));
        assert!(ephemeral.become_state(Started, "x", Timestamp::UNIX_EPOCH).is_ok());
    }

    #[test]
    fn the_history_of_a_persistent_runner_is_bounded_and_keeps_its_end() {
        let mut runner = Runner { kept: Some(Kept::new(1, Wanted::Present)), ..row() };
        for job in 0..HISTORY_MAX {
            for state in [StateName::Started, StateName::Running] {
                let cause = format!("{state} for job {job}");
                runner = runner.become_state(state, cause, Timestamp::UNIX_EPOCH).unwrap();
            }
        }
        assert_eq!(runner.history.len(), HISTORY_MAX);
        assert_eq!(runner.history.last().unwrap().cause, format!("running for job {}", HISTORY_MAX - 1));
        assert_eq!(runner.history[0].cause, "started for job 25");
    }

    #[test]
    fn a_persistent_runner_holds_its_place_and_is_no_supply() {
        let kept = |state, wanted| {
            let mut runner = Runner { kept: Some(Kept::new(1, wanted)), ..row() };
            runner.state.name = state;
            runner
        };
        for state in ALL {
            let runner = kept(state, Wanted::Present);
            let expected = if state == StateName::Removed { Standing::Gone } else { Standing::Occupied };
            assert_eq!(runner.standing(), expected, "{state}");
            assert_eq!(runner.over_since(), None, "{state}");
            let unwanted = kept(state, Wanted::Absent);
            assert_eq!(unwanted.over_since().is_some(), state == StateName::Removed, "{state}");
        }
    }

    #[test]
    fn six_ends_in_ten_minutes_are_a_crash_loop_until_a_person_comes() {
        let at = |minutes: i64| Timestamp::from_second(minutes * 60).unwrap();
        let ended = |minutes: &[i64]| {
            minutes.iter().fold(Kept::new(1, Wanted::Present), |kept, minute| kept.with_end_at(at(*minute)))
        };
        assert!(!ended(&[0, 1, 2, 3, 4]).is_in_a_crash_loop());
        assert!(ended(&[0, 1, 2, 3, 4, 9]).is_in_a_crash_loop());
        assert!(!ended(&[0, 1, 2, 3, 4, 10]).is_in_a_crash_loop());
        assert!(ended(&[0, 100, 101, 102, 103, 104, 105]).is_in_a_crash_loop());
        assert_eq!(ended(&[0, 100, 101]).recent_ends(at(105)), 2);
        assert_eq!(ended(&[0; 40]).restarts.len(), RESTARTS_MAX);
    }

    fn row() -> Runner {
        Runner::intended(
            RunnerName::new("linux-7"),
            PoolName::new("linux"),
            Scope::Organization("acme".into()),
            HostId::new("h"),
            "img".into(),
            None,
            Timestamp::UNIX_EPOCH,
            "job 7 is queued",
        )
    }

    #[test]
    fn a_refused_change_names_the_runner_and_both_states() {
        let runner = row();
        let refused = runner.become_state(StateName::Stopped, "x", Timestamp::UNIX_EPOCH).unwrap_err();
        assert_eq!(refused.to_string(), "runner `linux-7` cannot go from created to stopped");
    }
}
