//! Runners and runner groups: registration, what is shown of them, deletion.

use super::{Model, Repo};
use crate::model::{LabelSet, Scope};
use jiff::Timestamp;
use std::time::Duration;

/// A registered runner.
#[derive(Debug, Clone)]
pub struct Runner {
    /// GitHub's id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Where it is registered.
    pub scope: Scope,
    /// Its group.
    pub group_id: u64,
    /// The group's name.
    pub group_name: String,
    /// Its labels, in lower case.
    pub labels: LabelSet,
    /// One job only.
    pub ephemeral: bool,
    /// The agent's version, once one came.
    pub version: Option<String>,
    /// The job that it was given.
    pub job: Option<u64>,
    /// Whether that job has begun; since when.
    pub busy_since: Option<Timestamp>,
    /// When its last job ended.
    pub idle_since: Option<Timestamp>,
    /// Registered at.
    pub created_at: Timestamp,
    /// A runner of someone else: no agent connects, it counts as online, and it gets a job only when a test says so.
    pub foreign: bool,
    pub(crate) work_folder: String,
    pub(crate) credential: String,
    pub(crate) session: Option<Session>,
    pub(crate) last_seen: Option<Timestamp>,
}

/// An agent's session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) id: String,
    /// Polls that are held now.
    pub(crate) polls: u32,
    /// The job whose cancellation was told.
    pub(crate) told_to_cancel: Option<u64>,
}

/// A runner group.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) organization: String,
    pub(crate) visibility: Visibility,
    pub(crate) allows_public: bool,
    pub(crate) default: bool,
}

/// Which repositories may use a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Visibility {
    All,
    Private,
    Selected(Vec<u64>),
}

impl Visibility {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Private => "private",
            Self::Selected(_) => "selected",
        }
    }
}

impl Group {
    /// Whether this repository's jobs may run on the group's runners.
    pub(crate) fn lets_in(&self, repo: &Repo) -> bool {
        self.organization.eq_ignore_ascii_case(&repo.owner)
            && (repo.private || self.allows_public)
            && match &self.visibility {
                Visibility::All => true,
                Visibility::Private => repo.private,
                Visibility::Selected(ids) => ids.contains(&repo.id),
            }
    }
}

/// A registration that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct NewRunner {
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) group_id: u64,
    pub(crate) labels: Vec<String>,
    pub(crate) ephemeral: bool,
    pub(crate) work_folder: String,
}

/// Why it is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegisterRefused {
    NameTaken(u64),
    NoSuchGroup,
}

/// Why a runner is not deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    NotThere,
    RunsAJob,
}

impl Runner {
    /// Whether its agent is there. An agent that vanished counts as there for a while.
    pub fn online(&self, now: Timestamp, offline_after: Duration) -> bool {
        self.foreign
            || self.session.as_ref().is_some_and(|session| {
                session.polls > 0 || self.last_seen.is_some_and(|seen| now < crate::model::after(seen, offline_after))
            })
    }

    /// Whether GitHub's list says that it runs a job: late by `lag` in both directions.
    pub(crate) fn shows_busy(&self, now: Timestamp, lag: Duration) -> bool {
        match (self.busy_since, self.idle_since) {
            (Some(since), _) => now >= crate::model::after(since, lag),
            (None, Some(since)) => now < crate::model::after(since, lag),
            (None, None) => false,
        }
    }
}

impl Model {
    pub(crate) fn add_group(
        &mut self,
        name: &str,
        organization: &str,
        visibility: Visibility,
        allows_public: bool,
        default: bool,
    ) -> u64 {
        self.last_group += 1;
        let id = self.last_group;
        self.groups.insert(
            id,
            Group {
                id,
                name: name.to_owned(),
                organization: organization.to_owned(),
                visibility,
                allows_public,
                default,
            },
        );
        id
    }

    /// The group that a registration names, as GitHub resolves it: a repository has only number 1.
    fn group_name(&self, scope: &Scope, id: u64) -> Option<String> {
        match scope {
            Scope::Organization(login) => self
                .groups
                .get(&id)
                .filter(|group| group.organization.eq_ignore_ascii_case(login))
                .map(|group| group.name.clone()),
            Scope::Repository { .. } => (id == 1).then(|| "Default".to_owned()),
        }
    }

    /// The id of a group by its name; the default group where no name is given.
    pub(crate) fn group_id(&self, scope: &Scope, name: Option<&str>) -> Option<u64> {
        match scope {
            Scope::Repository { .. } => Some(1),
            Scope::Organization(login) => self
                .groups
                .values()
                .filter(|group| group.organization.eq_ignore_ascii_case(login))
                .find(|group| match name {
                    Some(name) => group.name.eq_ignore_ascii_case(name),
                    None => group.default,
                })
                .map(|group| group.id),
        }
    }

    /// Registers a runner. Labels are stored in lower case; no label is added (seen live by a project that measured it:
    /// a JIT runner has exactly the labels that were asked for).
    pub(crate) fn register(&mut self, new: NewRunner, now: Timestamp) -> Result<Runner, RegisterRefused> {
        let group_name = self.group_name(&new.scope, new.group_id).ok_or(RegisterRefused::NoSuchGroup)?;
        let taken = self.runners.values().find(|it| it.scope == new.scope && it.name.eq_ignore_ascii_case(&new.name));
        if let Some(other) = taken {
            return Err(RegisterRefused::NameTaken(other.id));
        }
        self.last_runner += 1;
        let runner = Runner {
            id: self.last_runner,
            name: new.name,
            scope: new.scope,
            group_id: new.group_id,
            group_name,
            labels: LabelSet::from(new.labels),
            ephemeral: new.ephemeral,
            version: None,
            job: None,
            busy_since: None,
            idle_since: None,
            created_at: now,
            foreign: false,
            work_folder: new.work_folder,
            credential: self.seed.secret(86),
            session: None,
            last_seen: None,
        };
        self.runners.insert(runner.id, runner.clone());
        Ok(runner)
    }

    /// Marks a runner as someone else's.
    pub(crate) fn make_foreign(&mut self, id: u64) {
        if let Some(runner) = self.runners.get_mut(&id) {
            runner.foreign = true;
        }
    }

    /// Runners of a scope, oldest first.
    pub(crate) fn runners_of<'a>(&'a self, scope: &'a Scope) -> impl Iterator<Item = &'a Runner> {
        self.runners.values().filter(move |runner| runner.scope == *scope)
    }

    /// What `DELETE` does: a runner with a job stays.
    pub(crate) fn delete_runner(&mut self, scope: &Scope, id: u64) -> Result<(), Held> {
        let runner = self.runners.get(&id).filter(|runner| runner.scope == *scope).ok_or(Held::NotThere)?;
        if runner.job.is_some() {
            return Err(Held::RunsAJob);
        }
        self.forget_runner(id);
        Ok(())
    }

    pub(super) fn forget_runner(&mut self, id: u64) {
        if let Some(session) = self.runners.remove(&id).and_then(|runner| runner.session) {
            self.sessions.remove(&session.id);
        }
    }

    /// A runner's job is over, or was taken from it.
    pub(super) fn release(&mut self, id: u64, now: Timestamp, began: bool) {
        let Some(runner) = self.runners.get_mut(&id) else { return };
        runner.job = None;
        if began {
            runner.busy_since = None;
            runner.idle_since = Some(now);
            if runner.ephemeral {
                self.forget_runner(id);
            }
        }
    }
}
