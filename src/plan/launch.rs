//! Supply against demand, per pool; who gets the next place where places are short.

use super::{Action, Blocked, Draft, Why, backoff, demand, naming};
use crate::config::{Mode, Pool};
use crate::model::{
    ContainerStatus, Job, JobKey, PoolName, RegistrationHold, Runner, RunnerName, Scope, Standing, StateName, after,
};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Begins a runner for each queued job that no runner is on its way for, oldest job first over all pools, then spares.
/// A bound that is reached leaves the job in the line with its reason.
pub(super) fn fill_deficits(draft: &mut Draft<'_>) {
    count_supply(draft);
    let mut room = Room::of(draft);
    let uncovered = cover(draft);
    let mut tries: BTreeMap<JobKey, usize> = BTreeMap::new();
    for runner in draft.world.runners.values() {
        if let Some(job) = runner.created_for {
            *tries.entry(job).or_default() += 1;
        }
    }
    for (pool, job) in uncovered {
        if let Some((_, refused)) = draft.kept_back.get(&pool.name) {
            draft.wait(job, Why::KeptBack { pool: pool.name.clone(), refused: *refused });
            continue;
        }
        let attempt = tries.get(&job.key()).copied().unwrap_or(0) + 1;
        let name = naming::for_job(pool, job.key(), attempt, &draft.config.instance);
        match room.take(draft, pool) {
            Ok(()) => {
                let cause = format!("job {} of {} is queued", job.key(), job.facts.repository);
                room.begun(pool, &name);
                draft.wait(job, Why::Launching { runner: name.clone() });
                if !draft.is_left_alone(&name) {
                    draft.act(Action::Launch { runner: name, pool: pool.name.clone(), job: Some(job.key()), cause });
                }
            }
            Err(why) => draft.wait(job, why),
        }
    }
    keep_spares(draft, &mut room);
}

/// Healthy runners without a job. What is past its deadline was sent away by `upkeep` and is no supply.
fn count_supply(draft: &mut Draft<'_>) {
    let leaving: BTreeSet<_> = draft
        .plan
        .actions
        .iter()
        .filter(|action| matches!(action, Action::TakeDown { .. } | Action::Record { state: StateName::Running, .. }))
        .filter_map(Action::runner)
        .cloned()
        .collect();
    let world = draft.world;
    for runner in world.runners.values() {
        let ended = draft
            .container_of(runner)
            .is_some_and(|container| matches!(container.status, ContainerStatus::Exited { .. }));
        if runner.standing() == Standing::Supply
            && draft.owner_lives(runner)
            && !ended
            && !draft.ran.contains_key(&runner.name)
            && !leaving.contains(&runner.name)
            && !is_overdue(draft, runner)
        {
            draft.supply.entry(&runner.pool).or_default().push(runner);
        }
    }
    for runners in draft.supply.values_mut() {
        runners.sort_by_key(|runner| (runner.created_at, &runner.name));
    }
}

/// A runner that has been on its way for longer than its pool allows is no supply; the action that makes it ends by the
/// same deadline.
fn is_overdue(draft: &mut Draft<'_>, runner: &Runner) -> bool {
    let Some(pool) = draft.config.pool(&runner.pool) else { return true };
    if runner.state.name != StateName::Created {
        return false;
    }
    let due = after(runner.state.since, pool.provision_timeout);
    draft.look_at(due);
    due <= draft.world.now
}

/// Gives each queued job a runner in thought: the one made for it, else any other of the pool (GitHub decides in the
/// end). Those for whom none is left are the deficit, in the order of the line over all pools.
fn cover<'a>(draft: &mut Draft<'a>) -> Vec<(&'a Pool, &'a Job)> {
    let mut uncovered: Vec<(&Pool, &Job)> = Vec::new();
    let mut reasons = Vec::new();
    let mut kept = Vec::new();
    for (name, line) in &draft.queued {
        let Some(pool) = draft.config.pool(name) else { continue };
        if let Mode::Persistent { count } = pool.mode {
            kept.extend(line.iter().map(|job| (*job, pool, count)));
            continue;
        }
        let mut free: Vec<&Runner> = draft.supply.get(name).cloned().unwrap_or_default();
        let mut rest = Vec::new();
        for job in line {
            match free.iter().position(|runner| runner.created_for == Some(job.key())) {
                Some(place) => reasons.push((*job, free.remove(place))),
                None => rest.push(*job),
            }
        }
        let mut free = free.into_iter();
        for job in rest {
            match free.next() {
                Some(runner) => reasons.push((job, runner)),
                None => uncovered.push((pool, job)),
            }
        }
    }
    for (job, pool, count) in kept {
        draft.wait(job, Why::WaitsForKept { pool: pool.name.clone(), count });
        if let Some(since) = idle_since(draft, &pool.name) {
            draft.passed_over.push((job.key(), since.max(job.since)));
        }
    }
    for (job, runner) in reasons {
        if runner.state.name == StateName::Started {
            draft.passed_over.push((job.key(), runner.state.since.max(job.since)));
        }
        draft.wait(job, on_its_way(runner));
    }
    uncovered.sort_by_key(|(_, job)| demand::place_in_line(job));
    uncovered
}

/// Since when a persistent runner of the pool waits for a job: GitHub gives it one at once, or events are lost.
fn idle_since(draft: &Draft<'_>, pool: &PoolName) -> Option<Timestamp> {
    let kept = draft.world.runners.values().filter(|row| row.kept.is_some() && row.pool == *pool);
    kept.filter(|row| row.state.name == StateName::Started).map(|row| row.state.since).min()
}

fn on_its_way(runner: &Runner) -> Why {
    let runner_name = runner.name.clone();
    if runner.state.name == StateName::Started {
        Why::RunnerReady { runner: runner_name }
    } else {
        Why::RunnerComing { runner: runner_name }
    }
}

/// Runners kept idle on top of the demand.
fn keep_spares(draft: &mut Draft<'_>, room: &mut Room) {
    let config = draft.config;
    for pool in config.ephemeral_pools() {
        let kept_back = draft.kept_back.contains_key(&pool.name);
        if kept_back || draft.bar(&pool.scope).is_some() || demand::group_is_missing(draft, pool).is_some() {
            continue;
        }
        let queued = draft.queued.get(&pool.name).map_or(0, Vec::len);
        let supply = draft.supply.get(&pool.name).map_or(0, Vec::len);
        // Each uncovered job got a runner above or the pool is at a bound; spares are what is wanted beyond them.
        let wanted = (pool.min_idle as usize).saturating_sub(supply.saturating_sub(queued));
        let mut number = 0;
        for _ in 0..wanted {
            let name = loop {
                number += 1;
                let name = naming::for_spare(pool, number, &config.instance);
                if !draft.world.runners.contains_key(&name) {
                    break name;
                }
            };
            if room.take(draft, pool).is_err() {
                break;
            }
            room.begun(pool, &name);
            if !draft.is_left_alone(&name) {
                let cause = format!("min_idle is {}", pool.min_idle);
                draft.act(Action::Launch { runner: name, pool: pool.name.clone(), job: None, cause });
            }
        }
    }
}

/// The bounds, counted down as runners are begun.
struct Room {
    live: BTreeMap<PoolName, u32>,
    fleet: u32,
    host: u32,
    /// Bytes given out to this host's runners.
    memory: u64,
    /// The first job that found this host full: nobody overtakes it.
    host_is_short: bool,
    failures: BTreeMap<PoolName, backoff::Failures>,
    probes: BTreeMap<PoolName, RunnerName>,
    /// After an outage of GitHub: the runner that shows whether it is over.
    github_probes: BTreeMap<Scope, RunnerName>,
    /// A part that did not answer a moment ago.
    away: Option<backoff::Away>,
}

impl Room {
    fn of(draft: &mut Draft<'_>) -> Self {
        let mut room = Self {
            live: BTreeMap::new(),
            fleet: 0,
            host: 0,
            memory: 0,
            host_is_short: false,
            failures: BTreeMap::new(),
            probes: BTreeMap::new(),
            github_probes: BTreeMap::new(),
            away: backoff::away(draft),
        };
        for runner in draft.world.runners.values().filter(|runner| runner.is_live()) {
            *room.live.entry(runner.pool.clone()).or_default() += 1;
            room.fleet += 1;
            if draft.is_mine(runner) {
                room.host += 1;
                room.memory += draft.config.pool(&runner.pool).map_or(0, |pool| pool.resources.memory);
            }
        }
        for (scope, blocked) in &draft.world.github_blocked {
            if let Some(probe) = github_probe(draft, scope, blocked) {
                room.github_probes.insert(scope.clone(), probe);
            }
        }
        for pool in &draft.config.pools {
            let failures = backoff::failures(draft, pool);
            if failures.count >= backoff::PROBE_FROM
                && let Some((runner, shows_at)) = backoff::probe(draft, pool)
            {
                room.probes.insert(pool.name.clone(), runner.clone());
                if let Some(shows_at) = shows_at {
                    draft.look_at(shows_at);
                }
            }
            room.failures.insert(pool.name.clone(), failures);
        }
        room
    }

    /// Whether there is a place for one more runner of the pool.
    fn take(&mut self, draft: &mut Draft<'_>, pool: &Pool) -> Result<(), Why> {
        let (world, config) = (draft.world, draft.config);
        if let Some(why) = world.containers.why_unknown() {
            return Err(Why::DockerAway { why: why.to_owned() });
        }
        if let Some(blocked) = world.github_blocked.get(&pool.scope) {
            if blocked.until > world.now {
                draft.look_at(blocked.until);
                return Err(Why::GitHubBlocked { until: blocked.until, why: blocked.why.clone() });
            }
            if let Some(runner) = self.github_probes.get(&pool.scope) {
                return Err(Why::Probing { runner: runner.clone(), last: blocked.why.clone() });
            }
        }
        if let Some(away) = self.away.as_ref().filter(|away| away.until > world.now) {
            draft.look_at(away.until);
            return Err(Why::TriedInVain { until: away.until, last: away.last.clone() });
        }
        if let Some(failures) = self.failures.get(&pool.name).filter(|failures| failures.count > 0) {
            if let Some(until) = failures.until.filter(|until| *until > world.now) {
                draft.look_at(until);
                return Err(Why::BackingOff { until, failures: failures.count, last: failures.last.clone() });
            }
            if let Some(runner) = self.probes.get(&pool.name) {
                return Err(Why::Probing { runner: runner.clone(), last: failures.last.clone() });
            }
        }
        if self.live.get(&pool.name).copied().unwrap_or(0) >= pool.max {
            return Err(Why::PoolFull { max: pool.max });
        }
        if self.fleet >= config.limits.max_runners {
            return Err(Why::FleetFull { max: config.limits.max_runners });
        }
        self.take_host(draft, pool)
    }

    fn take_host(&mut self, draft: &Draft<'_>, pool: &Pool) -> Result<(), Why> {
        let config = draft.config;
        let needs = pool.resources.memory;
        let capacity = draft.world.capacity.known();
        let has = capacity.map(|capacity| capacity.memory.saturating_sub(config.docker.reserve_memory));
        if let Some(has) = has.filter(|has| needs > *has) {
            return Err(Why::NeverFits { needs, has });
        }
        if self.host_is_short {
            return Err(Why::BehindOthers);
        }
        let short = if self.host >= config.docker.max_runners {
            Some(Why::HostFull { max: config.docker.max_runners })
        } else if let Some(left) = has.map(|has| has.saturating_sub(self.memory)).filter(|left| needs > *left) {
            Some(Why::MemoryFull { needs, left })
        } else {
            capacity
                .and_then(|capacity| capacity.disk_free)
                .filter(|free| *free < config.limits.disk_free_min)
                .map(|free| Why::DiskFull { free, min: config.limits.disk_free_min })
        };
        match short {
            Some(why) => {
                self.host_is_short = true;
                Err(why)
            }
            None => Ok(()),
        }
    }

    fn begun(&mut self, pool: &Pool, name: &RunnerName) {
        *self.live.entry(pool.name.clone()).or_default() += 1;
        self.fleet += 1;
        self.host += 1;
        self.memory += pool.resources.memory;
        if self.failures.get(&pool.name).is_some_and(|failures| failures.count >= backoff::PROBE_FROM) {
            self.probes.insert(pool.name.clone(), name.clone());
        }
        self.github_probes.entry(pool.scope.clone()).or_insert_with(|| name.clone());
    }
}

/// What will show whether GitHub is back: a runner that was begun after the pause, or one that could not be made and whose
/// registration GitHub has not told us of yet. A second one beside it would learn nothing more, and a crowd of them would meet
/// a GitHub that is just getting up.
fn github_probe(draft: &Draft<'_>, scope: &Scope, blocked: &Blocked) -> Option<RunnerName> {
    let is_probe = |runner: &Runner| match runner.state.name {
        StateName::Created => runner.state.since >= blocked.until && draft.is_left_alone(&runner.name),
        StateName::Error => runner.blameless && runner.registration == RegistrationHold::Unknown,
        StateName::Started | StateName::Running | StateName::Stopped | StateName::Removed => false,
    };
    let mut mine = draft.world.runners.values().filter(|runner| draft.is_mine(runner) && runner.scope == *scope);
    mine.find(|runner| is_probe(runner)).map(|runner| runner.name.clone())
}
