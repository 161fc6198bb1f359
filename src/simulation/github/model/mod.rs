//! What the simulated GitHub knows, and how it changes: pure state. Moments come as arguments, choices from the seed;
//! what GitHub would tell its hooks is put into an outbox for the shell to send.

mod agents;
mod app;
mod jobs;
mod runners;
mod settle;
mod spec;
mod tokens;

pub use agents::SessionFault;
pub use jobs::{Job, RunnerStamp};
pub use runners::Runner;
pub use spec::{Conclusion, JobSpec, Stage};

pub(super) use agents::{AcquireRefused, News, SessionRefused};
pub(super) use app::{Manifest, slug};
pub(super) use jobs::{Run, steps};
pub(super) use runners::{Group, Held, NewRunner, RegisterRefused, Visibility};
pub(super) use tokens::{NarrowRefused, TokenKind, TokenWish, rank};

use super::options::{AccountKind, App, Options, Timings};
use super::payload;
use super::seed::Seed;
use crate::model::{JobId, JobKey, Scope};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

/// Finished jobs are kept for GitHub's lists and for whoever looks; the oldest go beyond this.
const FINISHED_JOBS: usize = 20_000;

/// Where this GitHub can be reached, without a slash at the end.
#[derive(Debug, Clone)]
pub(super) struct Urls {
    /// `https://api.github.com`
    pub(super) api: String,
    /// `https://github.com`
    pub(super) web: String,
    /// What agents are told.
    pub(super) agents: String,
}

/// An account as the model keeps it.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    pub(super) id: u64,
    pub(super) login: String,
    pub(super) kind: AccountKind,
    pub(super) installation: Option<super::options::Installation>,
}

/// A repository as the model keeps it.
#[derive(Debug, Clone)]
pub(super) struct Repo {
    pub(super) id: u64,
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) private: bool,
    pub(super) fork: bool,
    /// When a run was last begun by a push.
    pub(super) pushed_at: Option<Timestamp>,
}

impl Repo {
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

/// Something that GitHub would tell a hook.
#[derive(Debug, Clone)]
pub(super) struct Announcement {
    pub(super) event: &'static str,
    pub(super) action: Option<String>,
    pub(super) installation: Option<u64>,
    pub(super) repository: Option<u64>,
    pub(super) payload: Value,
}

/// The state of the simulated GitHub. Tests read it in `Handle::wait_until`.
#[derive(Debug)]
pub struct Model {
    pub(super) urls: Urls,
    pub(super) app: App,
    pub(super) timings: Timings,
    pub(super) owners: Vec<Owner>,
    pub(super) repos: Vec<Repo>,
    pub(super) groups: BTreeMap<u64, Group>,
    pub(super) outbox: Vec<Announcement>,
    pub(super) seed: Seed,
    /// Agents older than this register and come online, and never get a job.
    pub(super) version_floor: Option<String>,
    /// Names in addresses that Apps of others have.
    pub(super) taken_names: Vec<String>,
    /// Owners let nobody install anything.
    pub(super) owners_refuse: bool,
    /// Of what an App asks for, owners grant only these; all where none.
    pub(super) grants: Option<Vec<String>>,
    jobs: BTreeMap<u64, Job>,
    /// The jobs that are not over, in the order in which they came.
    open: BTreeSet<u64>,
    finished: VecDeque<u64>,
    runs: BTreeMap<u64, Run>,
    runners: BTreeMap<u64, Runner>,
    sessions: HashMap<String, u64>,
    session_faults: VecDeque<SessionFault>,
    tokens: tokens::Tokens,
    last_job: u64,
    last_run: u64,
    last_runner: u64,
    last_group: u64,
    last_installation: u64,
}

impl Model {
    pub(super) fn new(options: &Options, urls: Urls) -> Self {
        let seed = options.seed;
        let mut model = Self {
            urls,
            app: options.app.clone(),
            timings: options.timings.clone(),
            owners: Vec::new(),
            repos: Vec::new(),
            groups: BTreeMap::new(),
            outbox: Vec::new(),
            seed: Seed::new(seed),
            version_floor: None,
            taken_names: Vec::new(),
            owners_refuse: false,
            grants: None,
            jobs: BTreeMap::new(),
            open: BTreeSet::new(),
            finished: VecDeque::new(),
            runs: BTreeMap::new(),
            runners: BTreeMap::new(),
            sessions: HashMap::new(),
            session_faults: VecDeque::new(),
            tokens: tokens::Tokens::default(),
            // Ids of the size that GitHub's have today: they do not fit 32 bits.
            last_job: 52_000_000_000 + (seed % 1000) * 1_000_000,
            last_run: 18_000_000_000 + (seed % 1000) * 1_000_000,
            last_runner: 20,
            last_group: 0,
            last_installation: 61_000_000 + seed % 1000,
        };
        for (index, account) in (0u64..).zip(&options.accounts) {
            model.owners.push(Owner {
                id: 9_000_000 + index,
                login: account.login.clone(),
                kind: account.kind,
                installation: account.installation.clone(),
            });
            if account.kind == AccountKind::Organization {
                model.add_group("Default", &account.login, Visibility::All, account.default_group_public, true);
            }
        }
        for (index, repository) in (0u64..).zip(&options.repositories) {
            model.repos.push(Repo {
                id: 700_000_000 + index,
                owner: repository.owner.clone(),
                name: repository.name.clone(),
                private: repository.private,
                fork: repository.fork,
                pushed_at: None,
            });
        }
        for group in &options.groups {
            let visibility = match &group.repositories {
                None => Visibility::All,
                Some(names) => Visibility::Selected(
                    model
                        .repos
                        .iter()
                        .filter(|repo| repo.owner == group.organization && names.contains(&repo.name))
                        .map(|repo| repo.id)
                        .collect(),
                ),
            };
            model.add_group(&group.name, &group.organization, visibility, group.allows_public, false);
        }
        model
    }

    /// All jobs that are remembered, oldest first.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// One job.
    pub fn job(&self, key: JobKey) -> Option<&Job> {
        self.jobs.get(&key.id.0).filter(|job| job.key == key)
    }

    /// All registered runners, oldest first.
    pub fn runners(&self) -> impl Iterator<Item = &Runner> {
        self.runners.values()
    }

    /// The runner of this name, whichever its scope.
    pub fn runner(&self, name: &str) -> Option<&Runner> {
        self.runners.values().find(|runner| runner.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn runner_by_id(&self, id: u64) -> Option<&Runner> {
        self.runners.get(&id)
    }

    pub(super) fn job_by_id(&self, id: u64) -> Option<&Job> {
        self.jobs.get(&id)
    }

    pub(super) fn runs(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.runs.values()
    }

    pub(super) fn run(&self, id: u64) -> Option<&Run> {
        self.runs.get(&id)
    }

    pub(super) fn owner(&self, login: &str) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.login.eq_ignore_ascii_case(login))
    }

    pub(super) fn owner_mut(&mut self, login: &str) -> Option<&mut Owner> {
        self.owners.iter_mut().find(|owner| owner.login.eq_ignore_ascii_case(login))
    }

    pub(super) fn repo(&self, owner: &str, name: &str) -> Option<&Repo> {
        self.repos.iter().find(|repo| repo.owner.eq_ignore_ascii_case(owner) && repo.name.eq_ignore_ascii_case(name))
    }

    /// The repository of a full name.
    pub(super) fn repo_named(&self, full_name: &str) -> Option<&Repo> {
        let (owner, name) = full_name.split_once('/')?;
        self.repo(owner, name)
    }

    /// The installation with this id, and whose it is.
    pub(super) fn installed(&self, id: u64) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.installation.as_ref().is_some_and(|it| it.id == id))
    }

    /// Whether the App was given this repository.
    pub(super) fn has_app(&self, repo: &Repo) -> bool {
        self.owner(&repo.owner).and_then(|owner| owner.installation.as_ref()).is_some_and(|installation| {
            installation.repositories.as_ref().is_none_or(|names| names.contains(&repo.name))
        })
    }

    /// The scope of a registration URL.
    pub(super) fn scope_of_url(&self, url: &str) -> Option<Scope> {
        let path = url.split_once("://").map_or(url, |(_, rest)| rest);
        let mut parts = path.split('/').skip(1).filter(|part| !part.is_empty());
        match (parts.next(), parts.next(), parts.next()) {
            (Some(login), None, None) => self
                .owner(login)
                .filter(|owner| owner.kind == AccountKind::Organization)
                .map(|owner| Scope::Organization(owner.login.clone())),
            (Some(owner), Some(name), None) => self
                .repo(owner, name)
                .map(|repo| Scope::Repository { owner: repo.owner.clone(), name: repo.name.clone() }),
            _ => None,
        }
    }

    /// Puts a `workflow_job` event into the outbox, if the App hears of that repository.
    fn announce(&mut self, job: u64, action: &str) {
        let Some(job) = self.jobs.get(&job) else { return };
        let Some(repo) = self.repo_named(&job.spec.repository) else { return };
        let Some(owner) = self.owner(&repo.owner) else { return };
        let Some(installation) = owner.installation.as_ref().filter(|it| self.has_app(repo) && !it.suspended) else {
            return;
        };
        let announcement = Announcement {
            event: "workflow_job",
            action: Some(action.to_owned()),
            installation: Some(installation.id),
            repository: Some(repo.id),
            payload: payload::workflow_job_event(&self.urls, action, job, repo, owner, installation.id),
        };
        self.outbox.push(announcement);
    }

    /// The next job id. GitHub's are not consecutive.
    fn next_job_id(&mut self) -> JobId {
        self.last_job += 1 + self.seed.below(9) as u64;
        JobId(self.last_job)
    }
}

/// Forgets the oldest finished jobs beyond the bound.
fn age_out(model: &mut Model, now_finished: u64) {
    model.finished.push_back(now_finished);
    while model.finished.len() > FINISHED_JOBS {
        let Some(oldest) = model.finished.pop_front() else { break };
        let Some(job) = model.jobs.remove(&oldest) else { continue };
        if !model.jobs.values().any(|other| other.run_id == job.run_id) {
            model.runs.remove(&job.run_id);
        }
    }
}

/// The later of two optional moments' earlier one: for deadlines.
fn sooner(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// So much before a moment.
pub(super) fn earlier(moment: Timestamp, by: std::time::Duration) -> Timestamp {
    moment.checked_sub(by).unwrap_or(Timestamp::MIN)
}
