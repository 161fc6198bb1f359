//! The world in memory, kept current by its sources: the store's changes, the engine's events, GitHub's list.
//!
//! Between an event and the plan nobody is asked anything; [`Memory::world`] is a copy of what is here. Every change wakes the
//! reconciler.

use super::execute::Outcome;
use crate::clock;
use crate::model::{
    Access, Accounts, Bar, Capacity, Container, ContainerId, ContainerStatus, Group, Groups, HostId, Job, JobKey,
    JobState, Observed, Registration, RegistrationStatus, RunFacts, Runner, RunnerName, Scope, after,
};
use crate::plan::{Action, Blocked, Listed, Listing, RunAsked, World};
use crate::provider::ContainerNews;
use crate::store::{Snapshot, StoreChange, Version, Versioned};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// The first time that an action on a runner cannot be finished, it is tried again after this time; then twice as long each time.
const FIRST_HOLD: Duration = Duration::from_secs(1);

/// GitHub keeps a runner that died in a job "busy" for 10 to 15 minutes; asking it each minute is enough.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// A runner that has no row is forgotten so long after it was last held back.
const FORGET_HOLD: Duration = Duration::from_secs(10 * 60);

/// What was asked of GitHub. It counts registrations apart, and may refuse or break on them alone: that its list can be read
/// says nothing about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// A list, a job, the end of a registration.
    Other,
    /// A new runner's credential.
    Credential,
}

/// What is known.
pub struct Memory {
    known: Mutex<Known>,
    wake: Notify,
    wake_keeper: Notify,
    ask_github: Notify,
    ask_installations: Arc<Notify>,
    ask_groups: Arc<Notify>,
}

struct Known {
    host: HostId,
    jobs: BTreeMap<JobKey, Kept<Job>>,
    runners: BTreeMap<RunnerName, Kept<Runner>>,
    /// Counts the rows that were told one by one.
    told: u64,
    leases: BTreeMap<HostId, Timestamp>,
    containers: Observed<BTreeMap<ContainerId, Container>>,
    registrations: BTreeMap<Scope, Observed<Listing>>,
    accounts: Observed<Accounts>,
    capacity: Observed<Capacity>,
    blocked: BTreeMap<(Scope, Asked), (Blocked, u32)>,
    runners_in_flight: BTreeSet<RunnerName>,
    jobs_in_flight: BTreeSet<JobKey>,
    held: BTreeMap<RunnerName, (Timestamp, u32)>,
    asked: BTreeMap<JobKey, Timestamp>,
    /// What the rows say of runs, so that one job's answer serves the others.
    runs: BTreeMap<u64, RunFacts>,
    runs_asked: BTreeMap<u64, RunAsked>,
    granted: BTreeMap<String, Timestamp>,
    groups: Groups,
    /// Whether the rows are current.
    store: Observed<()>,
    /// Whether the store was read at least once: before that nothing can be decided.
    loaded: bool,
}

struct Kept<T> {
    version: Version,
    row: Arc<T>,
    /// As the how manieth it was told; 0 where it came with all others.
    told: u64,
}

/// The moment in which the store was asked for everything.
#[derive(Debug, Clone, Copy)]
pub struct AskedAt(u64);

impl Memory {
    /// Nothing is known yet.
    pub fn new(host: HostId) -> Self {
        Self {
            known: Mutex::new(Known {
                host,
                jobs: BTreeMap::new(),
                runners: BTreeMap::new(),
                told: 0,
                leases: BTreeMap::new(),
                containers: Observed::Unknown("the engine has not been looked at yet".to_owned()),
                registrations: BTreeMap::new(),
                accounts: Observed::Unknown("not looked at yet".to_owned()),
                capacity: Observed::Unknown("not looked at yet".to_owned()),
                blocked: BTreeMap::new(),
                runners_in_flight: BTreeSet::new(),
                jobs_in_flight: BTreeSet::new(),
                held: BTreeMap::new(),
                asked: BTreeMap::new(),
                runs: BTreeMap::new(),
                runs_asked: BTreeMap::new(),
                granted: BTreeMap::new(),
                groups: Groups::default(),
                store: Observed::Unknown("not read yet".to_owned()),
                loaded: false,
            }),
            wake: Notify::new(),
            wake_keeper: Notify::new(),
            ask_github: Notify::new(),
            ask_installations: Arc::new(Notify::new()),
            ask_groups: Arc::new(Notify::new()),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic while the lock was held cannot leave a half-made change: every change is one insert or remove.
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Wakes the reconciler, and whoever keeps the persistent runners. Wake-ups coalesce.
    pub fn wake(&self) {
        self.wake.notify_one();
        self.wake_keeper.notify_one();
    }

    /// Until something changed: the same for whoever keeps the persistent runners.
    pub async fn keeper_woken(&self) {
        self.wake_keeper.notified().await;
    }

    /// Until something changed.
    pub async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Asks for GitHub's list before its time: something is unclear.
    pub fn ask_github(&self) {
        self.ask_github.notify_waiters();
    }

    /// Until somebody asks for GitHub's list.
    pub async fn github_asked_for(&self) {
        self.ask_github.notified().await;
    }

    /// Rung when something is heard of the App's installations.
    pub fn installations_bell(&self) -> Arc<Notify> {
        self.ask_installations.clone()
    }

    /// A copy of everything, as of now.
    pub fn world(&self) -> World {
        let known = self.known();
        let mut github_blocked: BTreeMap<Scope, Blocked> = BTreeMap::new();
        for ((scope, _), (blocked, _)) in &known.blocked {
            match github_blocked.get(scope) {
                Some(other) if other.until >= blocked.until => {}
                _ => drop(github_blocked.insert(scope.clone(), blocked.clone())),
            }
        }
        World {
            now: clock::now(),
            host: known.host.clone(),
            store: known.store.clone(),
            jobs: known.jobs.iter().map(|(key, job)| (*key, job.row.clone())).collect(),
            runners: known.runners.iter().map(|(name, runner)| (name.clone(), runner.row.clone())).collect(),
            leases: known.leases.clone(),
            containers: known.containers.clone(),
            registrations: known.registrations.clone(),
            accounts: known.accounts.clone(),
            capacity: known.capacity.clone(),
            github_blocked,
            in_flight: known.runners_in_flight.clone(),
            held: known.held.iter().map(|(name, (until, _))| (name.clone(), *until)).collect(),
            asked: known.asked.clone(),
            runs_asked: known.runs_asked.clone(),
            granted: known.granted.clone(),
            groups: known.groups.clone(),
        }
    }

    // The store.

    /// To be called before the store is asked for everything.
    pub fn asking(&self) -> AskedAt {
        AskedAt(self.known().told)
    }

    /// Everything anew. What was told after the store was asked is newer than its answer and stays.
    pub fn load(&self, asked: AskedAt, snapshot: Snapshot) {
        let mut known = self.known();
        renew(&mut known.jobs, asked, snapshot.jobs);
        renew(&mut known.runners, asked, snapshot.runners);
        known.gather_runs();
        put_leases(&mut known.leases, snapshot.leases);
        // A row that went while the feed was cut takes along what is kept beside it. A registration without a row may be held
        // back as well, but not for ever.
        let (now, Known { asked, held, jobs, runners, .. }) = (clock::now(), &mut *known);
        asked.retain(|key, _| jobs.contains_key(key));
        held.retain(|name, (until, _)| runners.contains_key(name) || after(*until, FORGET_HOLD) > now);
        known.store = Observed::Known(());
        known.loaded = true;
        drop(known);
        self.wake();
    }

    /// The store does not answer: what is known of it may be old.
    pub fn lose_store(&self, why: String) {
        self.known().store = Observed::Unknown(why);
        self.wake();
    }

    /// Whether there is something to decide on: the store was read, and it says that this manager lives. Whoever acts without
    /// that would be taken for dead by the others, and what it makes for theirs to clear away.
    pub fn is_ready(&self) -> bool {
        let known = self.known();
        known.loaded && known.leases.get(&known.host).is_some_and(|until| *until > clock::now())
    }

    /// Whether other managers share the store.
    pub fn knows_other_managers(&self) -> bool {
        let known = self.known();
        known.leases.keys().any(|host| *host != known.host)
            || known.runners.values().any(|known_row| known_row.row.is_live() && known_row.row.owner != known.host)
    }

    /// This manager's lease was renewed.
    pub fn set_own_lease(&self, until: Timestamp) {
        let mut known = self.known();
        let host = known.host.clone();
        known.leases.insert(host, until);
        drop(known);
        self.wake();
    }

    /// The managers' leases.
    pub fn set_leases(&self, leases: BTreeMap<HostId, Timestamp>) {
        put_leases(&mut self.known().leases, leases);
        self.wake();
    }

    /// One change of the store; an older version than the known one changes nothing.
    pub fn apply(&self, change: StoreChange) {
        match change {
            StoreChange::Job(job) => self.put_job(job),
            StoreChange::Runner(runner) => self.put_runner(runner),
            StoreChange::JobForgotten(key) => {
                let mut known = self.known();
                known.jobs.remove(&key);
                known.asked.remove(&key);
            }
            StoreChange::RunnerForgotten(name) => {
                let mut known = self.known();
                known.runners.remove(&name);
                known.held.remove(&name);
            }
            StoreChange::Missed => {}
        }
    }

    /// A job's row.
    pub fn put_job(&self, job: Versioned<Job>) {
        let mut known = self.known();
        if let Some(runner) = job.row.state.runner() {
            known.held.remove(runner);
        }
        let key = job.row.key();
        if known.jobs.get(&key).is_none_or(|known| known.version < job.version) {
            if let Some(run) = &job.row.run {
                known.runs.insert(job.row.facts.run_id, run.clone());
            }
            let row = known.row(job);
            known.jobs.insert(key, row);
            drop(known);
            self.wake();
        }
    }

    /// A runner's row.
    pub fn put_runner(&self, runner: Versioned<Runner>) {
        let mut known = self.known();
        let name = runner.row.name.clone();
        if known.runners.get(&name).is_none_or(|known| known.version < runner.version) {
            let row = known.row(runner);
            known.runners.insert(name, row);
            drop(known);
            self.wake();
        }
    }

    /// Somebody deleted the row.
    pub fn drop_runner(&self, name: &RunnerName) {
        self.known().runners.remove(name);
    }

    /// Somebody deleted the row.
    pub fn drop_job(&self, key: JobKey) {
        self.known().jobs.remove(&key);
    }

    /// A job with its version; version 0 when there is none.
    pub fn job(&self, key: JobKey) -> (Version, Option<Arc<Job>>) {
        self.known().jobs.get(&key).map_or((0, None), |job| (job.version, Some(job.row.clone())))
    }

    /// What is known of a run.
    pub fn run(&self, run: u64) -> Option<RunFacts> {
        self.known().runs.get(&run).cloned()
    }

    /// The jobs of a run that are not over.
    pub fn open_jobs_of(&self, run: u64) -> Vec<JobKey> {
        let known = self.known();
        let is_one = |job: &Job| job.facts.run_id == run && !job.is_over();
        known.jobs.values().filter(|job| is_one(&job.row)).map(|job| job.row.key()).collect()
    }

    /// The job that runs on this runner, as far as events told.
    pub fn job_of(&self, runner: &RunnerName) -> Option<Arc<Job>> {
        let known = self.known();
        let mut jobs = known.jobs.values();
        let has = |job: &Job| matches!(&job.state, JobState::InProgress { runner: Some(name) } if name == runner);
        jobs.find(|job| has(&job.row)).map(|job| job.row.clone())
    }

    /// A runner with its version; version 0 when there is none.
    pub fn runner(&self, name: &RunnerName) -> (Version, Option<Arc<Runner>>) {
        self.known().runners.get(name).map_or((0, None), |runner| (runner.version, Some(runner.row.clone())))
    }

    // The engine.

    /// News from the engine.
    pub fn apply_container(&self, news: ContainerNews) {
        let mut known = self.known();
        match news {
            ContainerNews::All(list) => {
                for container in &list {
                    if matches!(container.status, ContainerStatus::Exited { .. }) {
                        known.held.remove(&container.runner);
                    }
                }
                known.containers =
                    Observed::Known(list.into_iter().map(|container| (container.id.clone(), container)).collect());
            }
            ContainerNews::Changed(container) => {
                known.held.remove(&container.runner);
                if let Observed::Known(containers) = &mut known.containers {
                    containers.insert(container.id.clone(), container);
                }
            }
            ContainerNews::Gone(id) => {
                if let Observed::Known(containers) = &mut known.containers {
                    containers.remove(&id);
                }
            }
            ContainerNews::Lost(why) => known.containers = Observed::Unknown(why),
        }
        drop(known);
        self.wake();
    }

    /// A runner's container, if the engine could be looked at and has one.
    pub fn container(&self, runner: &RunnerName) -> Option<Container> {
        self.known().containers.known()?.values().find(|container| container.runner == *runner).cloned()
    }

    /// What the engine's host has.
    pub fn set_capacity(&self, capacity: Observed<Capacity>) {
        let mut known = self.known();
        if known.capacity != capacity {
            known.capacity = capacity;
            drop(known);
            self.wake();
        }
    }

    // GitHub.

    /// GitHub's list of a scope, asked for at `at`.
    pub fn set_registrations(&self, scope: &Scope, at: Timestamp, list: Vec<Registration>) {
        let mut known = self.known();
        let before = known.registrations.get(scope).and_then(Observed::known);
        let runners = list
            .into_iter()
            .map(|registration| {
                let offline_since = (registration.status == RegistrationStatus::Offline).then(|| {
                    before
                        .and_then(|listing| listing.runners.get(&registration.name))
                        .and_then(|listed| listed.offline_since)
                        .unwrap_or(at)
                });
                (registration.name.clone(), Listed { registration, offline_since })
            })
            .collect();
        known.registrations.insert(scope.clone(), Observed::Known(Listing { at, runners }));
        drop(known);
        self.wake();
    }

    /// Where the App may do something. What was there before, for whoever tells of the difference. An account that stays away
    /// keeps the moment from which on it was.
    pub fn set_accounts(&self, mut accounts: Accounts) -> Observed<Accounts> {
        let mut known = self.known();
        for (login, access) in &mut accounts.0 {
            if let (Access::NotInstalled { since }, Some(Access::NotInstalled { since: before })) =
                (access, known.accounts.known().and_then(|before| before.of(login)))
            {
                *since = *before;
            }
        }
        let before = std::mem::replace(&mut known.accounts, Observed::Known(accounts));
        drop(known);
        self.wake();
        before
    }

    /// Why nothing can be done at the scope's account.
    pub fn bar(&self, scope: &Scope) -> Option<Bar> {
        self.known().accounts.known()?.bar_of(scope)
    }

    /// GitHub's list could not be read.
    pub fn lose_registrations(&self, scope: &Scope, why: String) {
        self.known().registrations.insert(scope.clone(), Observed::Unknown(why));
        self.wake();
    }

    /// GitHub wants no call, or does not answer. Without a moment of its own the pause grows from 1 s to a minute.
    pub fn block_github(&self, scope: &Scope, asked: Asked, until: Option<Timestamp>, why: String) {
        let now = clock::now();
        let mut known = self.known();
        let place = (scope.clone(), asked);
        let times = match known.blocked.get(&place) {
            // Those that were under way when it began are no further failure.
            Some((blocked, _)) if blocked.until > now && until.is_none_or(|until| until <= blocked.until) => return,
            Some((blocked, times)) if blocked.until > now => *times,
            Some((_, times)) => times + 1,
            None => 0,
        };
        let until = until.unwrap_or_else(|| after(now, doubled(FIRST_HOLD, times)));
        known.blocked.insert(place, (Blocked { until, why }, times));
    }

    /// GitHub answered.
    pub fn unblock_github(&self, scope: &Scope, asked: Asked) {
        let mut known = self.known();
        known.blocked.retain(|(other, about), _| other != scope || *about > asked);
    }

    /// GitHub did not say what is asked of a run, and why. None: it did.
    pub fn asked_about_run(&self, run: u64, error: Option<String>) {
        let mut known = self.known();
        match error {
            Some(error) => known.runs_asked.insert(run, RunAsked { at: clock::now(), error: Some(error) }),
            None => known.runs_asked.remove(&run),
        };
    }

    /// An account grants something else than before.
    pub fn set_granted(&self, account: &str) {
        self.known().granted.insert(account.to_lowercase(), clock::now());
        self.wake();
    }

    /// The runner groups of an account.
    pub fn set_groups(&self, account: &str, groups: Vec<Group>) {
        let mut known = self.known();
        let account = account.to_lowercase();
        if known.groups.0.get(&account) != Some(&groups) {
            known.groups.0.insert(account, groups);
            drop(known);
            self.wake();
        }
    }

    /// Rung when the runner groups are to be looked at again.
    pub fn groups_bell(&self) -> Arc<Notify> {
        self.ask_groups.clone()
    }

    /// GitHub was asked about a job, and answered or not.
    pub fn asked_about(&self, job: JobKey) {
        self.known().asked.insert(job, clock::now());
    }

    // Actions.

    /// Marks what an action works on. False: another action is at work on it.
    pub fn begin(&self, action: &Action) -> bool {
        let mut known = self.known();
        match (action.runner(), action.job()) {
            (Some(runner), _) => known.runners_in_flight.insert(runner.clone()),
            (None, Some(job)) => known.jobs_in_flight.insert(job),
            (None, None) => true,
        }
    }

    /// Takes the mark away and notes how it went.
    pub fn end(&self, action: &Action, outcome: Outcome) {
        let mut known = self.known();
        if let Some(runner) = action.runner() {
            known.runners_in_flight.remove(runner);
            match outcome {
                Outcome::Done => {
                    known.held.remove(runner);
                }
                Outcome::NotDone | Outcome::NotGranted => {
                    self.ask_github();
                    let first = if outcome == Outcome::NotDone { FIRST_HOLD } else { FIRST_HOLD / 20 };
                    let times = known.held.get(runner).map_or(0, |(_, times)| times + 1);
                    known.held.insert(runner.clone(), (after(clock::now(), doubled(first, times)), times));
                }
            }
        }
        if let Some(job) = action.job() {
            known.jobs_in_flight.remove(&job);
        }
        drop(known);
        self.wake();
    }
}

impl Known {
    /// What the rows say of runs, and nothing of runs that have no row any more.
    fn gather_runs(&mut self) {
        let told = self.jobs.values().filter_map(|job| Some((job.row.facts.run_id, job.row.run.clone()?)));
        self.runs = told.collect();
        let open: BTreeSet<u64> = self.jobs.values().map(|job| job.row.facts.run_id).collect();
        self.runs_asked.retain(|run, _| open.contains(run));
    }

    fn row<T>(&mut self, told: Versioned<T>) -> Kept<T> {
        self.told += 1;
        Kept { version: told.version, row: Arc::new(told.row), told: self.told }
    }
}

/// A whole answer of the store in the place of what is known, except for what is newer than it.
fn renew<K: Ord, T>(known: &mut BTreeMap<K, Kept<T>>, asked: AskedAt, answer: BTreeMap<K, Versioned<T>>) {
    known.retain(|_, row| row.told > asked.0);
    for (key, row) in answer {
        if known.get(&key).is_none_or(|known| known.version < row.version) {
            known.insert(key, Kept { version: row.version, row: Arc::new(row.row), told: 0 });
        }
    }
}

/// Leases only grow longer; an answer that was long on its way shortens none.
fn put_leases(known: &mut BTreeMap<HostId, Timestamp>, leases: BTreeMap<HostId, Timestamp>) {
    for (host, until) in leases {
        let known = known.entry(host).or_insert(until);
        *known = until.max(*known);
    }
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(LONGEST_HOLD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PoolName;

    fn row(name: &str, version: Version) -> Versioned<Runner> {
        let runner = Runner::intended(
            RunnerName::new(name),
            PoolName::new("linux"),
            Scope::Organization("acme".into()),
            HostId::new("here"),
            "image".into(),
            None,
            Timestamp::UNIX_EPOCH,
            "a test",
        );
        Versioned { version, row: runner }
    }

    fn answer(rows: &[(&str, Version)]) -> Snapshot {
        let runners = rows.iter().map(|(name, version)| (RunnerName::new(*name), row(name, *version))).collect();
        Snapshot { runners, ..Snapshot::default() }
    }

    #[test]
    fn an_answer_that_was_long_on_its_way_undoes_nothing() {
        let memory = Memory::new(HostId::new("here"));
        let asked = memory.asking();
        memory.put_runner(row("begun-meanwhile", 1));
        memory.put_runner(row("changed-meanwhile", 3));
        memory.load(asked, answer(&[("changed-meanwhile", 2), ("other", 1)]));
        let versions =
            ["begun-meanwhile", "changed-meanwhile", "other"].map(|name| memory.runner(&RunnerName::new(name)).0);
        assert_eq!(versions, [1, 3, 1]);
    }

    #[test]
    fn what_is_kept_beside_a_row_goes_with_it_even_if_nobody_told() {
        let memory = Memory::new(HostId::new("here"));
        let job = JobKey { id: crate::model::JobId(7), attempt: 1 };
        memory.asked_about(job);
        memory.load(memory.asking(), answer(&[]));
        assert!(memory.world().asked.is_empty());
    }

    #[test]
    fn what_the_store_does_not_have_any_more_is_forgotten() {
        let memory = Memory::new(HostId::new("here"));
        memory.put_runner(row("aged-out", 7));
        memory.put_runner(row("made-anew", 7));
        let asked = memory.asking();
        memory.load(asked, answer(&[("made-anew", 1)]));
        assert_eq!(memory.runner(&RunnerName::new("aged-out")).0, 0);
        assert_eq!(memory.runner(&RunnerName::new("made-anew")).0, 1);
    }
}
