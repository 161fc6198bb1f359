//! What must hold: after every step, and at the end. It keeps its own books of what was written, and never asks the program.

use super::fleet;
use super::life::Life;
use super::stage::Stage;
use crate::config::Config;
use crate::model::{ContainerStatus, Job, JobId, JobKey, PoolName, Runner, RunnerName, Scope, Standing, after};
use crate::simulation::github::Stage as JobStage;
use crate::store::{Reservation, queued_in};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Lines of a trace beyond which a run is one that does not come to rest.
const LINES_MAX: u64 = 400_000;

/// GitHub allows an installation 5000 requests an hour. A fleet of this size must stay far below.
const CALLS_IN_AN_HOUR: u64 = 2500;

/// How a row that is behind is told.
const ROW: &str = "[recovery] the row of job";

/// Whether what is told is no more than that.
pub(super) fn is_of_a_row(told: &str) -> bool {
    told.starts_with(ROW)
}

/// See the module.
pub(super) struct Judge {
    books: Mutex<Books>,
    /// Something did not hold.
    pub(super) over: CancellationToken,
}

#[derive(Default)]
struct Books {
    violation: Option<String>,
    jobs: BTreeMap<JobKey, Job>,
    runners: BTreeMap<RunnerName, Runner>,
    acknowledged: BTreeSet<JobId>,
    /// The highest bounds of the run: a lower one that comes later ends nobody.
    pool_max: BTreeMap<PoolName, u32>,
    fleet_max: u32,
    host_max: u32,
    launches: u64,
    calls: u64,
    /// When each of the last calls was, to count those of an hour.
    times: std::collections::VecDeque<Duration>,
    busiest_hour: u64,
    /// Until when GitHub wants to be left alone, and since when that is known.
    limited: BTreeMap<(String, &'static str), Duration>,
    jumped: bool,
}

/// What a run came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Runners that were begun.
    pub launches: u64,
    /// Calls of GitHub's API.
    pub calls: u64,
    /// The most in an hour.
    pub busiest_hour: u64,
}

impl Judge {
    pub(super) fn new(config: &Config) -> Self {
        let judge = Self { books: Mutex::default(), over: CancellationToken::new() };
        judge.allow(config);
        judge
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These bounds hold from now on; the higher of what held before and of them.
    pub(super) fn allow(&self, config: &Config) {
        let mut books = self.books();
        for pool in &config.pools {
            let max = books.pool_max.entry(pool.name.clone()).or_default();
            *max = (*max).max(pool.max);
        }
        books.fleet_max = books.fleet_max.max(config.limits.max_runners);
        books.host_max = books.host_max.max(config.docker.max_runners);
    }

    /// A clock jumped: what is said of moments is not held against anybody.
    pub(super) fn clock_jumped(&self) {
        self.books().jumped = true;
    }

    /// Something does not hold. The first one counts.
    pub(super) fn fail(&self, stage: &Stage, what: &str) {
        stage.note(&format!("VIOLATION {what}"));
        let mut books = self.books();
        if books.violation.is_none() {
            books.violation = Some(format!("after {:.3} s: {what}", stage.elapsed().as_secs_f64()));
        }
        drop(books);
        self.over.cancel();
    }

    pub(super) fn violation(&self) -> Option<String> {
        self.books().violation.clone()
    }

    pub(super) fn figures(&self) -> Figures {
        let books = self.books();
        Figures { launches: books.launches, calls: books.calls, busiest_hour: books.busiest_hour }
    }

    // What is told while it happens.

    pub(super) fn acknowledged(&self, job: JobId) {
        self.books().acknowledged.insert(job);
    }

    pub(super) fn job_written(&self, job: Job) {
        self.books().jobs.insert(job.key(), job);
    }

    /// A runner's row is written: only as the table says.
    pub(super) fn runner_written(&self, stage: &Stage, row: &Runner) {
        let before = self.books().runners.insert(row.name.clone(), row.clone());
        if let Some(before) = before {
            let (from, to) = (before.state.name, row.state.name);
            if from != to && !from.may_become(to) {
                self.fail(stage, &format!("[transition] runner {} went from {from} to {to}", row.name));
            }
        }
    }

    /// The right to add a runner was given: there must have been a deficit, and room.
    pub(super) fn granted(&self, stage: &Stage, wish: &Reservation) {
        let mut wrong = Vec::new();
        {
            let mut books = self.books();
            let (pool, name) = (&wish.runner.pool, &wish.runner.name);
            let queued = books.jobs.values().filter(|job| queued_in(job) == Some(pool)).count();
            let of_pool = || books.runners.values().filter(|row| row.pool == *pool);
            let supply = of_pool().filter(|row| row.standing() == Standing::Supply).count();
            if queued + wish.min_idle as usize <= supply {
                wrong.push(format!(
                    "[one deficit, one runner] {name} was begun though {supply} runners stand against {queued} queued jobs of {pool} and min_idle {}",
                    wish.min_idle
                ));
            }
            let live = of_pool().filter(|row| row.is_live()).count() + 1;
            let in_all = books.runners.values().filter(|row| row.is_live()).count() + 1;
            let on_host =
                books.runners.values().filter(|row| row.is_live() && row.owner == wish.runner.owner).count() + 1;
            let bounds = [
                ("pool", live, books.pool_max.get(pool).copied().unwrap_or(0)),
                ("fleet", in_all, books.fleet_max),
                ("host", on_host, books.host_max),
            ];
            for (what, count, max) in bounds {
                if count > max as usize {
                    wrong.push(format!(
                        "[bounds] {count} runners of the {what} of {name}, and at most {max} are allowed"
                    ));
                }
            }
            if books.runners.get(name).is_some_and(Runner::is_live) {
                wrong.push(format!("[one deficit, one runner] {name} was begun a second time"));
            }
            books.runners.insert(name.clone(), wish.runner.clone());
            books.launches += 1;
        }
        for what in wrong {
            self.fail(stage, &what);
        }
    }

    /// Old rows are gone.
    pub(super) fn forgotten(&self, before: Timestamp) {
        let mut books = self.books();
        books.jobs.retain(|_, job| !(job.is_over() && job.since < before));
        books.runners.retain(|_, row| row.over_since().is_none_or(|since| since >= before));
    }

    /// One manager alone never has more containers than it may have runners.
    pub(super) fn container_made(&self, stage: &Stage) {
        if stage.machines.len() > 1 {
            return;
        }
        let mut count: BTreeMap<PoolName, u32> = BTreeMap::new();
        let (rows, max) = {
            let books = self.books();
            (books.runners.clone(), books.pool_max.clone())
        };
        for container in stage.machines.iter().flat_map(|machine| machine.engine.containers()) {
            if rows.get(&container.runner).is_some_and(Runner::is_live) {
                *count.entry(container.pool).or_default() += 1;
            }
        }
        for (pool, count) in count {
            if count > max.get(&pool).copied().unwrap_or(0) {
                self.fail(stage, &format!("[bounds] {count} containers of pool {pool}"));
            }
        }
    }

    /// The program ends a container that lives. No job may run in it.
    pub(super) fn ended_from_outside(&self, stage: &Stage, runner: &RunnerName, job: Option<JobId>) {
        let Some(job) = job else { return };
        let runs = stage
            .github()
            .look(|model| model.jobs().any(|it| it.key.id == job && matches!(it.stage, JobStage::InProgress { .. })));
        if runs {
            self.fail(stage, &format!("[no job is killed] {runner} was removed while it ran job {job}"));
        }
    }

    /// GitHub said that it wants to be left alone for so many seconds.
    pub(super) fn limited(&self, stage: &Stage, life: &Life, payer: &'static str, seconds: u64) {
        let until = stage.elapsed() + Duration::from_secs(seconds);
        let mut books = self.books();
        let known = books.limited.entry((life.name.clone(), payer)).or_default();
        *known = until.max(*known);
    }

    /// The API is asked.
    pub(super) fn asked(&self, stage: &Stage, life: &Life, payer: &'static str, what: &str) {
        let now = stage.elapsed();
        let mut books = self.books();
        books.calls += 1;
        books.times.push_back(now);
        while books.times.front().is_some_and(|first| now.saturating_sub(*first) > Duration::from_secs(3600)) {
            books.times.pop_front();
        }
        books.busiest_hour = books.busiest_hour.max(books.times.len() as u64);
        let until = books.limited.get(&(life.name.clone(), payer)).copied().unwrap_or_default();
        let (jumped, calls) = (books.jumped, books.times.len() as u64);
        drop(books);
        // A tenth of a second for what was on its way when the answer came.
        if until > now + Duration::from_millis(100) && !jumped {
            let left = until.saturating_sub(now).as_secs();
            self.fail(stage, &format!("[limits] {} asks GitHub ({what}) {left} s before it may", life.name));
        }
        if calls > CALLS_IN_AN_HOUR * stage.machines.len() as u64 {
            self.fail(stage, &format!("[budget] {calls} calls of GitHub's API in an hour"));
        }
        if stage.trace.sum().1 > LINES_MAX {
            self.fail(stage, "[rest] the run does not come to rest");
        }
    }

    pub(super) fn launches(&self) -> u64 {
        self.books().launches
    }

    // What must be so in the end.

    /// What is still open after all faults are over; nothing: the end is as it must be.
    pub(super) async fn unsettled(&self, stage: &Arc<Stage>) -> Vec<String> {
        let mut open = Vec::new();
        let Some(config) = stage.machines.first().map(|machine| machine.config()) else { return open };
        self.jobs_over(stage, &config, &mut open);
        let scope = Scope::Organization("acme".to_owned());
        for pool in &config.pools {
            let (wanted, name) = (pool.min_idle as usize, &pool.name);
            let now = (stage.clock())();
            let registered = stage.github().look(|model| {
                let ours = model.runners().filter(|it| it.scope == scope && !it.foreign);
                let of_pool: Vec<_> = ours.filter(|it| fleet::pool_of(&config, &it.name) == Some(name)).collect();
                let online =
                    of_pool.iter().filter(|it| it.job.is_none() && it.online(now, Duration::from_secs(60))).count();
                (of_pool.len(), online)
            });
            if registered != (wanted, wanted) {
                let (all, online) = registered;
                open.push(format!(
                    "[exactly min_idle] {all} registrations of {name}, {online} of them online and idle, not {wanted}"
                ));
            }
            let containers: Vec<_> =
                stage.machines.iter().flat_map(|it| it.engine.containers()).filter(|it| it.pool == *name).collect();
            let running = containers.iter().filter(|it| it.status == ContainerStatus::Running).count();
            if containers.len() != wanted || running != wanted {
                open.push(format!(
                    "[exactly min_idle] {} containers of {name}, {running} of them running, not {wanted}",
                    containers.len()
                ));
            }
            let rows = self.books().runners.values().filter(|row| row.pool == *name && row.is_live()).count();
            if rows != wanted {
                open.push(format!("[exactly min_idle] {rows} live rows of {name}, not {wanted}"));
            }
        }
        for machine in stage.machines.iter().filter(|machine| !machine.is_lost()) {
            match machine.running() {
                None => open.push(format!("[recovery] nothing runs on {}", machine.host)),
                Some(running) => match running.queue.depth().await {
                    Ok(0) => {}
                    other => open.push(format!("[recovery] events wait in the queue: {other:?}")),
                },
            }
        }
        open
    }

    fn jobs_over(&self, stage: &Stage, config: &Config, open: &mut Vec<String>) {
        let books = self.books();
        stage.github().look(|model| {
            for job in model.jobs().filter(|job| job.stage != JobStage::Completed && job.stage != JobStage::Waiting) {
                if books.acknowledged.contains(&job.key.id) && fleet::serves(config, &job.spec.labels) {
                    open.push(format!("[no job is lost] job {} {:?} is {:?}", job.key, job.spec.labels, job.stage));
                } else if fleet::serves(config, &job.spec.labels) {
                    open.push(format!(
                        "[no job is lost] job {} is {:?}, and its event was never taken",
                        job.key, job.stage
                    ));
                }
            }
        });
        for job in books.jobs.values().filter(|job| !job.is_over() && fleet::serves(config, &job.facts.labels.to_vec()))
        {
            let waits =
                stage.github().look(|model| model.job(job.key()).is_some_and(|it| it.stage == JobStage::Waiting));
            if !waits {
                open.push(format!("{ROW} {} says {}", job.key(), job.state.word()));
            }
        }
    }

    /// What must be so whatever happened.
    pub(super) fn always(&self, stage: &Arc<Stage>) {
        let mut had: BTreeMap<u64, Vec<JobKey>> = BTreeMap::new();
        stage.github().look(|model| {
            for job in model.jobs() {
                if let Some(stamp) = job.runner.as_ref().filter(|stamp| !stamp.name.starts_with("foreign")) {
                    had.entry(stamp.id).or_default().push(job.key);
                }
            }
        });
        for (runner, jobs) in had.into_iter().filter(|(_, jobs)| jobs.len() > 1) {
            self.fail(stage, &format!("[one job each] runner {runner} ran {jobs:?}"));
        }
    }

    /// After the time that finished rows are kept: what is left in store and memory.
    pub(super) fn grown(&self, stage: &Arc<Stage>, config: &Config) {
        let spares: usize = config.pools.iter().map(|pool| pool.min_idle as usize).sum();
        let old = config.store.retention + Duration::from_secs(25 * 60);
        let now = (stage.clock())();
        let (jobs, rows) = {
            let books = self.books();
            let over = |at: Timestamp| after(at, old) < now;
            let jobs = books.jobs.values().filter(|job| job.is_over() && over(job.since)).count();
            let rows = books.runners.values().filter(|row| row.over_since().is_some_and(over)).count();
            (jobs, rows)
        };
        if jobs + rows > 0 {
            self.fail(stage, &format!("[nothing grows] {jobs} jobs and {rows} runners are older than they are kept"));
        }
        for machine in &stage.machines {
            let Some(running) = machine.running() else { continue };
            let world = running.memory.world();
            let unknown_jobs = world.asked.keys().filter(|key| !world.jobs.contains_key(key)).count();
            let unknown_runners = world.held.keys().filter(|name| !world.runners.contains_key(name)).count();
            let beyond = world.runners.values().filter(|row| row.is_live()).count() > spares;
            if unknown_jobs + unknown_runners > 0 || beyond || !world.in_flight.is_empty() {
                self.fail(
                    stage,
                    &format!(
                        "[nothing grows] the memory of {} keeps {unknown_jobs} jobs and {unknown_runners} runners that are not there any more; under way: {:?}",
                        machine.host, world.in_flight
                    ),
                );
            }
        }
    }
}
