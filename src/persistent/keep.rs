//! The loop of `serve`: holds persistent runners at what is wanted of them.

use super::drive::{Drive, How};
use super::keeper::{Inner, Keeper};
use super::order::OutcomeKind;
use super::rows::Failure;
use super::spec;
use super::tend::{Tend, View, tend};
use crate::clock;
use crate::model::{
    Container, ContainerId, ContainerStatus, JobKey, JobState, Observed, Runner, RunnerName, StateName, after, age,
};
use crate::plan::World;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// With nothing to wait for, everything is looked at again after this time all the same.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// What could not be done is tried again after this time, then twice as long each time.
const HOLD: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));

/// A job whose end is told, while its process is still there, is looked at again after this time.
const SETTLE: Duration = Duration::from_secs(1);

/// A container that kept ending is stopped within this time.
const GRACE: Duration = Duration::from_secs(10);

/// A container that ended for nobody: how often the engine had brought it back, by container.
type Restarts = BTreeMap<RunnerName, (ContainerId, u32)>;

impl Keeper {
    /// Keeps to what is wanted until `stop`. What is under way then goes on until [`Keeper::close`].
    pub async fn keep(self, stop: CancellationToken) {
        let mut restarts = Restarts::new();
        loop {
            let began = Instant::now();
            let sleep = self.look_after_all(&mut restarts);
            // Looking takes at most half of the time, however much changes.
            tokio::time::sleep(began.elapsed()).await;
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.inner.memory.keeper_woken() => {}
                () = tokio::time::sleep(sleep) => {}
            }
        }
    }

    /// Lets the rows follow what is seen, and nothing else: for whoever looks while no `serve` runs.
    pub async fn follow(&self) {
        let inner = &self.inner;
        let world = inner.memory.world();
        if world.containers.known().is_none() || world.store.known().is_none() {
            return;
        }
        for name in names(&world) {
            let decided = inner.decide(&world, &name, u32::MAX);
            if !matches!(decided, Tend::Record { .. } | Tend::Settle) {
                continue;
            }
            let Some(turn) = inner.free_turn(&name) else { continue };
            if let Err(failure) = inner.tend_to(&name, decided, turn.leave.clone()).await {
                debug!(runner.name = %name, "its row stays behind what is seen: {failure}");
            }
        }
    }

    /// Begins what is to be done now. Returns for how long time alone changes nothing.
    fn look_after_all(&self, restarts: &mut Restarts) -> Duration {
        let inner = &self.inner;
        if !inner.memory.is_ready() {
            return LONGEST_SLEEP;
        }
        let world = inner.memory.world();
        if world.containers.known().is_none() || world.store.known().is_none() {
            return LONGEST_SLEEP;
        }
        let mut sleep = LONGEST_SLEEP;
        let mut until = |moment: Timestamp| sleep = sleep.min(age(moment, world.now).max(Duration::from_millis(5)));
        let names = names(&world);
        restarts.retain(|name, _| names.contains(name));
        for name in names {
            if let Some(held) = inner.held_until(&name).filter(|held| *held > world.now) {
                until(held);
                continue;
            }
            note_restarts(restarts, &world, &name);
            let before = restarts.get(&name).map_or(0, |(_, count)| *count);
            match inner.decide(&world, &name, before) {
                Tend::Nothing => {}
                Tend::LookAt(moment) => until(moment),
                Tend::Restarted(more) => {
                    // Counted once.
                    let begun = self.begin_tending(name.clone(), Tend::Restarted(more));
                    if let Some((_, count)) = restarts.get_mut(&name).filter(|_| begun) {
                        *count += more;
                    }
                }
                decided => drop(self.begin_tending(name, decided)),
            }
        }
        sleep
    }

    /// False: somebody else works on it, who wakes this loop at the end.
    fn begin_tending(&self, name: RunnerName, decided: Tend) -> bool {
        let Some(turn) = self.inner.free_turn(&name) else { return false };
        let keeper = self.clone();
        self.inner.tasks.spawn(async move {
            let inner = &keeper.inner;
            // Whoever had the runner until a moment ago may have changed everything.
            let world = inner.memory.world();
            let again = match &decided {
                Tend::Restarted(_) => decided.clone(),
                _ => inner.decide(&world, &name, u32::MAX),
            };
            if again == decided {
                debug!(runner.name = %name, ?decided, "tending");
                match inner.tend_to(&name, decided, turn.leave.clone()).await {
                    Ok(true) => inner.release(&name),
                    Ok(false) => inner.hold(&name, HOLD.0),
                    Err(failure) => {
                        debug!(runner.name = %name, "not done, will be tried again: {failure}");
                        inner.hold(&name, HOLD.0);
                    }
                }
            }
            drop(turn);
            inner.memory.wake();
        });
        true
    }
}

impl Inner {
    fn decide(&self, world: &World, name: &RunnerName, restarts_before: u32) -> Tend {
        let row = world.runners.get(name).filter(|row| row.kept.is_some()).map(AsRef::as_ref);
        let container = container_of(world, name);
        if let Some(row) = row
            && row.owner != world.host
        {
            let lives = world.leases.get(&row.owner).is_some_and(|until| *until > world.now);
            if lives || container.is_none() {
                return Tend::Nothing;
            }
        }
        let config = self.config();
        let scope = row.map(|row| &row.scope).or(container.map(|container| &container.scope));
        let on_it = |job: &JobState| matches!(job, JobState::InProgress { runner: Some(runner) } if runner == name);
        let view = View {
            row,
            container,
            listing: scope.and_then(|scope| world.registrations.get(scope)).and_then(Observed::known),
            job: world.jobs.values().find(|job| on_it(&job.state)).map(AsRef::as_ref),
            last_job: row.and_then(|row| row.job).and_then(|key| world.jobs.get(&key)).map(AsRef::as_ref),
            described: spec::description(&config, name).is_some(),
            restarts_before,
        };
        tend(&view, world.now)
    }

    /// True: done. False: to be tried again later.
    async fn tend_to(&self, name: &RunnerName, decided: Tend, leave: CancellationToken) -> Result<bool, Failure> {
        self.take_over(name).await?;
        match decided {
            Tend::Nothing | Tend::LookAt(_) => Ok(true),
            Tend::Drive(goal) => {
                let outcome = Drive::new(self, name, goal, How::default(), leave.clone()).run(&|_| {}).await;
                let done = matches!(outcome.kind, OutcomeKind::Changed | OutcomeKind::Unchanged);
                if !done {
                    debug!(runner.name = %name, ?goal, "not there yet: {}", outcome.text);
                }
                // Whoever took over does the rest.
                Ok(done || leave.is_cancelled())
            }
            Tend::Record { state, job, cause } => {
                self.note(name, state, job, &cause).await?;
                Ok(true)
            }
            Tend::Settle => self.settle(name).await,
            Tend::Ended(cause) => {
                self.note_end(name, &cause).await?;
                Ok(true)
            }
            Tend::Restarted(times) => {
                self.count_ends(name, times).await?;
                Ok(true)
            }
            Tend::Hold => {
                self.give_up_on(name).await?;
                Ok(true)
            }
        }
    }

    /// The runner of a manager that is gone, whose container is here.
    async fn take_over(&self, name: &RunnerName) -> Result<(), Failure> {
        let host = self.config().host.clone();
        let Some(row) = self.row(name).filter(|row| row.owner != host) else { return Ok(()) };
        info!(runner.name = %name, "taking runner {name} over from {}: its container is here", row.owner);
        self.change(name, |row| (row.owner != host).then(|| Runner { owner: host.clone(), ..row.clone() })).await?;
        Ok(())
    }

    async fn note(&self, name: &RunnerName, state: StateName, job: Option<JobKey>, cause: &str) -> Result<(), Failure> {
        self.change(name, |row| {
            let mut next = if row.state.name == state {
                // Another job, one after the other: the history tells both.
                let mut next = row.clone();
                cause.clone_into(&mut next.state.cause);
                next
            } else {
                row.become_state(state, cause, clock::now()).ok()?
            };
            next.job = job;
            (next != *row).then_some(next)
        })
        .await?;
        Ok(())
    }

    /// The second sign: no job's process.
    async fn settle(&self, name: &RunnerName) -> Result<bool, Failure> {
        let Some(container) = self.provider.find(name).await? else { return Ok(true) };
        if self.provider.runs_a_job(&container.id).await? {
            self.hold(name, SETTLE);
            return Ok(true);
        }
        self.note(name, StateName::Started, None, "its job is over").await?;
        Ok(true)
    }

    async fn note_end(&self, name: &RunnerName, cause: &str) -> Result<(), Failure> {
        let Some(container) = self.provider.find(name).await? else { return Ok(()) };
        if container.status == ContainerStatus::Running {
            return Ok(());
        }
        let evidence = self.provider.evidence(&container.id).await?;
        self.change(name, |row| {
            let now = clock::now();
            let kept = row.kept.as_ref()?.with_end_at(now);
            let cause = if kept.is_in_a_crash_loop() { crash_loop(cause) } else { cause.to_owned() };
            let mut next = row.become_state(StateName::Error, cause, now).ok()?;
            next.kept = Some(kept);
            next.evidence.clone_from(&evidence);
            Some(next)
        })
        .await?;
        Ok(())
    }

    async fn count_ends(&self, name: &RunnerName, times: u32) -> Result<(), Failure> {
        info!(runner.name = %name, "the engine brought the container of runner {name} back ({times} times)");
        self.change(name, |row| {
            let now = clock::now();
            let kept = (0..times).fold(row.kept.clone()?, |kept, _| kept.with_end_at(now));
            Some(Runner { kept: Some(kept), ..row.clone() })
        })
        .await?;
        Ok(())
    }

    /// It ended too often: the engine is not to bring it back any more.
    async fn give_up_on(&self, name: &RunnerName) -> Result<(), Failure> {
        let Some(container) = self.provider.find(name).await? else { return Ok(()) };
        if self.provider.runs_a_job(&container.id).await? {
            self.hold(name, HOLD.0);
            return Ok(());
        }
        self.provider.keep_up(&container.id, false).await?;
        self.provider.stop(&container.id, GRACE).await?;
        let evidence = self.provider.evidence(&container.id).await?;
        self.change(name, |row| {
            let cause = crash_loop("its container");
            let mut next = row.become_state(StateName::Error, cause.clone(), clock::now()).unwrap_or_else(|_| {
                let mut next = row.clone();
                next.state.cause = cause;
                next
            });
            next.evidence.clone_from(&evidence);
            Some(next)
        })
        .await?;
        Ok(())
    }

    fn held_until(&self, name: &RunnerName) -> Option<Timestamp> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(|(until, _)| *until)
    }

    fn hold(&self, name: &RunnerName, first: Duration) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let times = held.get(name).map_or(0, |(_, times)| times + 1);
        let pause = first.saturating_mul(1_u32.checked_shl(times).unwrap_or(u32::MAX)).min(HOLD.1);
        held.insert(name.clone(), (after(clock::now(), pause), times));
    }

    fn release(&self, name: &RunnerName) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // What was put off a moment ago stays so.
        if held.get(name).is_some_and(|(until, _)| *until <= clock::now()) {
            held.remove(name);
        }
    }
}

fn crash_loop(what: &str) -> String {
    format!(
        "{what} ended {} times within {} minutes: it is left alone until `runnerfleet start` or `deploy`",
        crate::model::RESTARTS_MAX,
        crate::model::CRASH_LOOP.as_secs() / 60
    )
}

/// Persistent runners with a row, or a container.
fn names(world: &World) -> BTreeSet<RunnerName> {
    let rows = world.runners.values().filter(|row| row.kept.is_some()).map(|row| row.name.clone());
    let containers = world.containers.known().into_iter().flat_map(BTreeMap::values);
    let kept = containers.filter(|container| container.kept.is_some()).map(|container| container.runner.clone());
    rows.chain(kept).collect()
}

fn container_of<'a>(world: &'a World, name: &RunnerName) -> Option<&'a Container> {
    world.containers.known()?.values().find(|container| container.runner == *name && container.kept.is_some())
}

/// A container that is seen for the first time has its past; one that was started by hand begins anew.
fn note_restarts(restarts: &mut Restarts, world: &World, name: &RunnerName) {
    let Some(container) = container_of(world, name) else { return };
    let count = container.kept.as_ref().map_or(0, |kept| kept.restarts);
    match restarts.get_mut(name) {
        Some((id, known)) if *id == container.id => *known = (*known).min(count),
        _ => drop(restarts.insert(name.clone(), (container.id.clone(), count))),
    }
}
