//! The agents' side: sessions, messages, taking and finishing jobs.

use super::runners::Session;
use super::{Conclusion, Model, Stage};
use crate::model::after;
use crate::simulation::protocol::{Acquired, Message};
use jiff::Timestamp;

/// What a test does to the next session that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionFault {
    /// It is never answered: the agent never comes online.
    NeverOnline,
    /// The agent is told to end at once with this exit code.
    Die(u8),
    /// The agent is told that it is too old.
    Deprecated,
}

/// What a look for messages shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// The session is gone.
    Gone,
    Nothing,
    Message(Message),
}

/// Why a session is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionRefused {
    /// The registration is gone, or the credential is not its own.
    Unknown,
    /// Another one is open.
    Conflict,
}

/// Why a job is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AcquireRefused {
    /// No such session: the registration was deleted.
    NoSession,
    /// The job is not this agent's (any more).
    NotYours,
}

impl Model {
    /// A fault for sessions to come.
    pub(crate) fn add_session_faults(&mut self, count: usize, fault: SessionFault) {
        self.session_faults.extend(std::iter::repeat_n(fault, count));
    }

    pub(crate) fn take_session_fault(&mut self) -> Option<SessionFault> {
        self.session_faults.pop_front()
    }

    /// Opens a session. GitHub allows one for each runner, and keeps that of a vanished agent for a while.
    pub(crate) fn open_session(
        &mut self,
        agent: u64,
        credential: &str,
        version: &str,
        now: Timestamp,
    ) -> Result<String, SessionRefused> {
        let offline_after = self.timings.offline_after;
        let id = self.seed.guid();
        let runner = self
            .runners
            .get_mut(&agent)
            .filter(|runner| runner.credential == credential)
            .ok_or(SessionRefused::Unknown)?;
        if runner.session.is_some() && runner.online(now, offline_after) {
            return Err(SessionRefused::Conflict);
        }
        runner.version = Some(version.to_owned());
        runner.last_seen = Some(now);
        let session = Session { id: id.clone(), polls: 0, told_to_cancel: None };
        if let Some(old) = runner.session.replace(session) {
            self.sessions.remove(&old.id);
        }
        self.sessions.insert(id.clone(), agent);
        Ok(id)
    }

    /// A poll begins or ends. False where the session is gone.
    pub(crate) fn poll(&mut self, session: &str, begins: bool, now: Timestamp) -> bool {
        let Some(runner) = self.sessions.get(session).and_then(|id| self.runners.get_mut(id)) else { return false };
        runner.last_seen = Some(now);
        if let Some(session) = &mut runner.session {
            session.polls = if begins { session.polls + 1 } else { session.polls.saturating_sub(1) };
        }
        true
    }

    /// What there is to tell an agent.
    pub(crate) fn message(&mut self, session: &str) -> News {
        let Some(runner) = self.sessions.get(session).and_then(|id| self.runners.get_mut(id)) else {
            return News::Gone;
        };
        let Some(id) = runner.job else { return News::Nothing };
        let Some(job) = self.jobs.get(&id) else { return News::Nothing };
        match job.stage {
            Stage::Assigned { .. } => News::Message(Message::Job { id }),
            Stage::InProgress { .. } if job.cancel_requested_at.is_some() => {
                let told = runner.session.as_mut().and_then(|session| session.told_to_cancel.replace(id));
                if told == Some(id) { News::Nothing } else { News::Message(Message::Cancel { id }) }
            }
            Stage::InProgress { .. } | Stage::Waiting | Stage::Queued | Stage::Completed => News::Nothing,
        }
    }

    /// An agent takes the job that it was told of.
    pub(crate) fn acquire(&mut self, session: &str, id: u64, now: Timestamp) -> Result<Acquired, AcquireRefused> {
        let runner = *self.sessions.get(session).ok_or(AcquireRefused::NoSession)?;
        let job = self
            .jobs
            .get(&id)
            .filter(|job| job.stage == Stage::Assigned { runner })
            .filter(|job| job.assigned_at.is_some_and(|since| now < after(since, self.timings.fetch_within)))
            .ok_or(AcquireRefused::NotYours)?;
        let acquired = Acquired {
            id,
            name: job.spec.name.clone(),
            duration_ms: u64::try_from(job.spec.duration.as_millis()).unwrap_or(u64::MAX),
            conclusion: job.spec.conclusion.as_str().to_owned(),
            output_lines: job.spec.output_lines,
            ending: job.spec.ending,
        };
        self.begin(id, runner, now);
        Ok(acquired)
    }

    /// An agent reports the end of its job. False where it is not its job.
    pub(crate) fn complete(&mut self, session: &str, id: u64, conclusion: &str, now: Timestamp) -> bool {
        let Some(runner) = self.sessions.get(session).copied() else { return false };
        let Some(job) = self.jobs.get(&id).filter(|job| job.stage == Stage::InProgress { runner }) else {
            return false;
        };
        // A cancelled job is cancelled, whatever its agent made of it.
        let conclusion = match job.cancel_requested_at {
            Some(_) => Conclusion::Cancelled,
            None => Conclusion::from_word(conclusion),
        };
        self.finish(id, conclusion, now);
        true
    }

    /// An agent goes. Its registration stays: only a finished job or a deletion ends that.
    pub(crate) fn close_session(&mut self, session: &str, now: Timestamp) {
        let Some(runner) = self.sessions.remove(session).and_then(|id| self.runners.get_mut(&id)) else { return };
        runner.last_seen = Some(now);
        if runner.session.as_ref().is_some_and(|open| open.id == session) {
            runner.session = None;
        }
    }
}
