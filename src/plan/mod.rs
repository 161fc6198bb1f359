//! The decision: everything that is known now -> what to do, and for each job that waits, why.
//!
//! `plan` is pure: no clock, no I/O, no randomness, no failure. The same input gives the same output, and planning
//! again after the actions took effect gives nothing. A part of the world that could not be looked at is `Unknown`, never
//! empty, and nothing destructive follows from it. The reconciler feeds it and carries out what it says.

mod admit;
mod backoff;
mod demand;
mod launch;
pub mod naming;
mod recovery;
mod surplus;
mod upkeep;
mod why;

pub use admit::Rule;
pub use demand::{Match, match_pool};
pub use why::Why;

use crate::config::Config;
use crate::model::{
    Accounts, Bar, Capacity, Container, ContainerId, Groups, HostId, Job, JobKey, Observed, PoolName, Registration,
    RegistrationId, Runner, RunnerName, Scope, StateName, age,
};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A manager of which no lease is known counts as living for so long after a change of its runner: leases are read every
/// few seconds, and taking a living manager's runner away would be worse than waiting.
const UNKNOWN_MANAGER: Duration = Duration::from_secs(180);

/// All that is known, as of one moment.
#[derive(Debug, Clone)]
pub struct World {
    /// The moment.
    pub now: Timestamp,
    /// The manager that plans.
    pub host: HostId,
    /// Whether what follows is what the store holds now. While it does not answer nothing can be written down, so nothing is
    /// done.
    pub store: Observed<()>,
    /// From the store.
    pub jobs: BTreeMap<JobKey, Arc<Job>>,
    /// From the store; removed ones are there until they age out.
    pub runners: BTreeMap<RunnerName, Arc<Runner>>,
    /// From the store: until when each manager is known to live.
    pub leases: BTreeMap<HostId, Timestamp>,
    /// From this host's engine.
    pub containers: Observed<BTreeMap<ContainerId, Container>>,
    /// From GitHub, scope by scope.
    pub registrations: BTreeMap<Scope, Observed<Listing>>,
    /// From GitHub: where the App may do something. Unknown before the first look, and with a personal token.
    pub accounts: Observed<Accounts>,
    /// From GitHub: since when an account grants what it grants now, where that changed. What failed before says nothing any more.
    pub granted: BTreeMap<String, Timestamp>,
    /// From GitHub: runner groups and who may use them, where they could be looked at.
    pub groups: Groups,
    /// From this host's engine; bounds by memory and disk.
    pub capacity: Observed<Capacity>,
    /// Scopes for which GitHub wants no further call before a moment (limits), or did not answer. An entry whose moment is
    /// over stays until GitHub gives a credential again.
    pub github_blocked: BTreeMap<Scope, Blocked>,
    /// Runners that an action of this process is busy with. They are left alone until it ends.
    pub in_flight: BTreeSet<RunnerName>,
    /// Runners with which an action could not be finished (refused, or somebody was away): left alone until then, or
    /// until there is news of them.
    pub held: BTreeMap<RunnerName, Timestamp>,
    /// When GitHub was last asked about a job.
    pub asked: BTreeMap<JobKey, Timestamp>,
    /// When GitHub was last asked about a run of which still nothing is known.
    pub runs_asked: BTreeMap<u64, RunAsked>,
}

/// GitHub was asked about a run, and did not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunAsked {
    /// When.
    pub at: Timestamp,
    /// Why it did not say; none while it is asked.
    pub error: Option<String>,
}

/// GitHub's list of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// When it was asked for. What began later cannot be in it.
    pub at: Timestamp,
    /// By name.
    pub runners: BTreeMap<RunnerName, Listed>,
}

/// One entry of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As GitHub tells it.
    pub registration: Registration,
    /// Since which list it has been offline without a break.
    pub offline_since: Option<Timestamp>,
}

/// Why and until when GitHub is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// Until then.
    pub until: Timestamp,
    /// In a person's words.
    pub why: String,
}

/// What to do, and why not more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// In the order in which they are begun.
    pub actions: Vec<Action>,
    /// Every queued job, oldest first, with the reason why it does not run yet.
    pub waiting: Vec<Waiting>,
    /// The next moment at which time alone would change the plan.
    pub look_again: Option<Timestamp>,
}

/// A queued job and its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// Which job.
    pub job: JobKey,
    /// Why.
    pub why: Why,
}

/// One thing to do. Each may be repeated or cut off; the next plan goes on from what is then seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Action {
    /// A job matches another pool than its row says (the configuration changed).
    Assign {
        /// Which job.
        job: JobKey,
        /// Its pool now.
        pool: Option<PoolName>,
    },
    /// A job has been queued for longer than GitHub keeps one.
    Expire {
        /// Which job.
        job: JobKey,
    },
    /// A job of an account that the App is not installed on any more: nobody will tell how it ends.
    Drop {
        /// Which job.
        job: JobKey,
        /// The account.
        account: String,
    },
    /// Ask GitHub how far a job is: its runner is gone and no `completed` came.
    AskJob {
        /// Which job.
        job: JobKey,
    },
    /// Ask GitHub what began the run of a job, and whose code it runs: a pool's rules want to know.
    AskRun {
        /// The oldest of its jobs.
        job: JobKey,
        /// Which run.
        run: u64,
    },
    /// Make a runner.
    Launch {
        /// Under this name.
        runner: RunnerName,
        /// Of this pool.
        pool: PoolName,
        /// For this job's demand; a spare where none.
        job: Option<JobKey>,
        /// Why, in a person's words.
        cause: String,
    },
    /// A runner is seen to be in another state than its row says.
    Record {
        /// Which runner.
        runner: RunnerName,
        /// What it is.
        state: StateName,
        /// The job that it runs.
        job: Option<JobKey>,
        /// Its container, if the row does not know it yet.
        container: Option<ContainerId>,
        /// Why, in a person's words.
        cause: String,
    },
    /// A container of ours has no row: write one.
    Adopt {
        /// Its runner.
        runner: RunnerName,
        /// The container.
        container: ContainerId,
    },
    /// The row of a manager whose lease lapsed, with a container on this engine: look after it.
    TakeOver {
        /// Which runner.
        runner: RunnerName,
    },
    /// End a runner: registration, container, network, volumes, row. Where the container runs, only after GitHub gave
    /// the registration up and no job's process is in it.
    TakeDown {
        /// Which runner.
        runner: RunnerName,
        /// Whether something went wrong (its row goes through `error`).
        failed: bool,
        /// Why, in a person's words.
        cause: String,
    },
    /// A container whose runner is removed already.
    RemoveContainer {
        /// Its runner.
        runner: RunnerName,
        /// The container.
        container: ContainerId,
    },
    /// A registration of ours that nothing stands behind.
    Deregister {
        /// Where.
        scope: Scope,
        /// GitHub's id.
        id: RegistrationId,
        /// Its name.
        runner: RunnerName,
    },
}

impl Action {
    /// The runner that it is about.
    pub fn runner(&self) -> Option<&RunnerName> {
        match self {
            Self::Assign { .. }
            | Self::Expire { .. }
            | Self::Drop { .. }
            | Self::AskJob { .. }
            | Self::AskRun { .. } => None,
            Self::Launch { runner, .. }
            | Self::Record { runner, .. }
            | Self::Adopt { runner, .. }
            | Self::TakeOver { runner }
            | Self::TakeDown { runner, .. }
            | Self::RemoveContainer { runner, .. }
            | Self::Deregister { runner, .. } => Some(runner),
        }
    }

    /// The job that it is about, for those that touch a job's row.
    pub fn job(&self) -> Option<JobKey> {
        match self {
            Self::Assign { job, .. }
            | Self::Expire { job }
            | Self::Drop { job, .. }
            | Self::AskJob { job }
            | Self::AskRun { job, .. } => Some(*job),
            Self::Launch { .. }
            | Self::Record { .. }
            | Self::Adopt { .. }
            | Self::TakeOver { .. }
            | Self::TakeDown { .. }
            | Self::RemoveContainer { .. }
            | Self::Deregister { .. } => None,
        }
    }
}

/// The decision.
pub fn plan(world: &World, config: &Config) -> Plan {
    let mut draft = Draft::new(world, config);
    if let Some(why) = world.store.why_unknown() {
        demand::all_wait(&mut draft, why);
        return draft.finish();
    }
    demand::expire_and_assign(&mut draft);
    recovery::hold_against_each_other(&mut draft);
    upkeep::follow_runners(&mut draft);
    launch::fill_deficits(&mut draft);
    surplus::let_go(&mut draft);
    demand::ask_after_lost_jobs(&mut draft);
    draft.finish()
}

/// A plan in the making: what the steps above share.
struct Draft<'a> {
    world: &'a World,
    config: &'a Config,
    /// Which job names which runner (in progress or completed).
    ran: BTreeMap<&'a RunnerName, &'a Job>,
    /// Queued jobs of each pool, in the order of the line.
    queued: BTreeMap<&'a PoolName, Vec<&'a Job>>,
    /// Runners that are healthy and have no job yet, by pool, oldest first.
    supply: BTreeMap<&'a PoolName, Vec<&'a Runner>>,
    /// Queued jobs for which a runner is up, and since when: GitHub gives them away at once, or their events are lost.
    passed_over: Vec<(JobKey, Timestamp)>,
    /// Pools of which no runner may be begun now, each with the oldest job that would get it and must not.
    kept_back: BTreeMap<&'a PoolName, (Timestamp, JobKey)>,
    plan: Plan,
    waiting: BTreeMap<(Timestamp, JobKey), Why>,
}

impl<'a> Draft<'a> {
    fn new(world: &'a World, config: &'a Config) -> Self {
        let ran = world.jobs.values().filter_map(|job| Some((job.state.runner()?, job.as_ref()))).collect();
        let mut draft = Self {
            world,
            config,
            ran,
            queued: BTreeMap::new(),
            supply: BTreeMap::new(),
            passed_over: Vec::new(),
            kept_back: BTreeMap::new(),
            plan: Plan::default(),
            waiting: BTreeMap::new(),
        };
        for until in world.held.values() {
            draft.look_at(*until);
        }
        draft
    }

    /// Whether an action is at work on the runner, or was refused a moment ago.
    fn is_left_alone(&self, runner: &RunnerName) -> bool {
        self.world.in_flight.contains(runner)
            || self.world.held.get(runner).is_some_and(|until| *until > self.world.now)
    }

    fn act(&mut self, action: Action) {
        self.plan.actions.push(action);
    }

    /// Asks to be called again at a moment that is still ahead.
    fn look_at(&mut self, moment: Timestamp) {
        if moment > self.world.now && self.plan.look_again.is_none_or(|known| moment < known) {
            self.plan.look_again = Some(moment);
        }
    }

    fn wait(&mut self, job: &Job, why: Why) {
        self.waiting.insert(demand::place_in_line(job), why);
    }

    /// The container that stands for a runner, if the engine could be looked at.
    fn container_of(&self, runner: &Runner) -> Option<&'a Container> {
        let containers = self.world.containers.known()?;
        match runner.container.as_ref().and_then(|id| containers.get(id)) {
            Some(container) => Some(container),
            None => containers.values().find(|container| container.runner == runner.name),
        }
    }

    /// Why nothing can be done at the scope's account.
    fn bar(&self, scope: &Scope) -> Option<Bar> {
        self.world.accounts.known()?.bar_of(scope)
    }

    fn listing(&self, scope: &Scope) -> Option<&'a Listing> {
        self.world.registrations.get(scope)?.known()
    }

    /// Whether this manager looks after the runner.
    fn is_mine(&self, runner: &Runner) -> bool {
        runner.owner == self.world.host
    }

    /// Whether the manager that looks after the runner must be taken to live. One that has just come has rows before its
    /// lease is read here.
    fn owner_lives(&self, runner: &Runner) -> bool {
        let now = self.world.now;
        self.is_mine(runner)
            || match self.world.leases.get(&runner.owner) {
                Some(until) => *until > now,
                None => age(now, runner.state.since) < UNKNOWN_MANAGER,
            }
    }

    fn finish(mut self) -> Plan {
        self.plan.waiting = self.waiting.into_iter().map(|((_, job), why)| Waiting { job, why }).collect();
        self.plan
    }
}
