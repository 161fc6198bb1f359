//! The loop: asks the plan, claims the run in the store, does it, and writes down how it ended.

use super::plan::{CLAIM, Decision, Due, plan};
use super::state::{End, Run, State};
use super::{Actions, BuildResult, CheckResult};
use crate::clock;
use crate::config::{Config, Schedule, Task};
use crate::model::{HostId, after, age};
use crate::notify::Notifier;
use crate::notify::event::{Event, Update};
use crate::store::{Saved, Store, StoreError};
use jiff::Timestamp;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The note's name in the store.
const NOTE: &str = "scheduler";

/// However long there is nothing to do: other managers and people write the note, too.
const LOOK: Duration = Duration::from_secs(5);

/// The wait after the store did not answer.
const PAUSE: Duration = Duration::from_secs(10);

/// Somebody else writes the note at most so often in between.
const TRIES: usize = 16;

/// A run that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(12 * 3600);

/// Does what the schedule says, until `stop`. One line of the program's log for each run.
pub async fn run(
    config: Arc<Config>,
    store: Arc<dyn Store>,
    actions: Arc<dyn Actions>,
    notifier: Notifier,
    stop: CancellationToken,
) {
    let schedule = config.scheduler.clone().unwrap_or_default();
    let hands = Hands { schedule, host: config.host.clone(), store, actions, notifier };
    let mut told = false;
    loop {
        let pause = match hands.look(&stop).await {
            Ok(pause) => {
                told = false;
                pause
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    warn!("the scheduler waits: {error}");
                }
                PAUSE
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// What is written down. An empty note where nothing ever was.
///
/// # Errors
/// The store does not answer.
pub async fn read(store: &dyn Store) -> Result<State, StoreError> {
    Ok(store.note(NOTE).await?.map(|note| parse(&note.row)).unwrap_or_default())
}

/// Asks for a run now; whoever runs the loop does it.
///
/// # Errors
/// The store does not answer.
pub async fn ask(store: &dyn Store, now: Timestamp) -> Result<(), StoreError> {
    change(store, |state| {
        state.asked = Some(now);
        Some(())
    })
    .await?;
    Ok(())
}

fn parse(text: &str) -> State {
    serde_json::from_str(text).unwrap_or_else(|error| {
        warn!("what is written down of the scheduler cannot be read, and begins anew: {error}");
        State::default()
    })
}

/// Changes the note by compare-and-set until it holds. `change` answers `None` where it is not to be changed.
async fn change<T>(store: &dyn Store, change: impl Fn(&mut State) -> Option<T>) -> Result<Option<T>, StoreError> {
    let mut note = store.note(NOTE).await?;
    for _ in 0..TRIES {
        let (version, mut state) = note.as_ref().map_or((0, State::default()), |note| (note.version, parse(&note.row)));
        let Some(answer) = change(&mut state) else { return Ok(None) };
        let text = serde_json::to_string(&state).map_err(|error| StoreError(error.to_string()))?;
        match store.set_note(NOTE, &text, version).await? {
            Saved::Saved(_) => return Ok(Some(answer)),
            Saved::Stale(other) => note = other,
        }
    }
    Err(StoreError(format!("the scheduler's note was written by others {TRIES} times in a row")))
}

struct Hands {
    schedule: Schedule,
    host: HostId,
    store: Arc<dyn Store>,
    actions: Arc<dyn Actions>,
    notifier: Notifier,
}

/// What a run did, as far as it came.
#[derive(Default)]
struct Progress {
    done: Vec<Task>,
    found: Option<CheckResult>,
    built: Option<BuildResult>,
    changed: Option<usize>,
}

impl Hands {
    /// Looks once, and does a run if one is due. Returns how long nothing is to be done.
    async fn look(&self, stop: &CancellationToken) -> Result<Duration, StoreError> {
        let state = read(self.store.as_ref()).await?;
        let now = clock::now();
        if let Decision::Wait { until, .. } = plan(&self.schedule, &state, now) {
            return Ok(age(until, now).clamp(Duration::from_millis(10), LOOK));
        }
        if let Some(due) = self.claim(now).await? {
            self.one_run(&due, now, stop).await?;
        }
        Ok(Duration::ZERO)
    }

    /// Takes the run that is due, unless somebody else has.
    async fn claim(&self, now: Timestamp) -> Result<Option<Due>, StoreError> {
        change(self.store.as_ref(), |state| {
            let Decision::Run(due) = plan(&self.schedule, state, now) else { return None };
            if state.seed == 0 {
                state.seed = std::hash::RandomState::new().build_hasher().finish().max(1);
            }
            state.asked = None;
            state.last = Some(Run {
                slot: due.slot,
                attempt: due.attempt,
                began: now,
                by: self.host.clone(),
                lapses: after(now, CLAIM),
                end: None,
            });
            Some(due)
        })
        .await
    }

    async fn one_run(&self, due: &Due, began: Timestamp, stop: &CancellationToken) -> Result<(), StoreError> {
        info!(slot = %due.slot, attempt = due.attempt, "the scheduler's run begins");
        let told = read(self.store.as_ref()).await?.told;
        let work = do_all(self.schedule.clone(), self.actions.clone(), self.notifier.clone(), told);
        // Its own task, so that an action that breaks is a run that failed, and the loop goes on.
        let mut work = tokio::spawn(tokio::time::timeout(LONGEST, work));
        let mut renew = tokio::time::interval_at(tokio::time::Instant::now() + CLAIM / 4, CLAIM / 4);
        let (progress, error) = loop {
            tokio::select! {
                ended = &mut work => break match ended {
                    Ok(Ok((progress, error))) => (progress, error),
                    Ok(Err(_)) => (Progress::default(), Some("it took longer than 12 hours".to_owned())),
                    Err(broken) => (Progress::default(), Some(format!("it broke: {broken}"))),
                },
                _ = renew.tick() => self.renew(began).await,
                () = stop.cancelled() => {
                    work.abort();
                    break (Progress::default(), Some("the program was stopped meanwhile".to_owned()));
                }
            }
        };
        self.close(due, began, progress, error).await
    }

    /// Says that the run still goes on. If that cannot be written, it is tried again soon.
    async fn renew(&self, began: Timestamp) {
        let lapses = after(clock::now(), CLAIM);
        let renewed = change(self.store.as_ref(), |state| {
            let run = state.last.as_mut().filter(|run| run.by == self.host && run.began == began)?;
            run.lapses = lapses;
            Some(())
        });
        match renewed.await {
            Ok(Some(())) => {}
            Ok(None) => warn!("another manager took the scheduler's run over"),
            Err(error) => warn!("the claim on the scheduler's run was not renewed: {error}"),
        }
    }

    async fn close(
        &self,
        due: &Due,
        began: Timestamp,
        progress: Progress,
        error: Option<String>,
    ) -> Result<(), StoreError> {
        let summary = progress.summary();
        match &error {
            None => info!("the scheduler's run is done: {summary}"),
            Some(error) => warn!(attempt = due.attempt, "the scheduler's run failed: {error}"),
        }
        let gives_up = due.attempt >= self.schedule.max_retries;
        if let (Some(error), true, true) = (&error, gives_up, self.schedule.tell_failure) {
            self.notifier.tell(Event::UpdateError { image: None, pools: Vec::new(), error: error.clone() });
        }
        let end = End { at: clock::now(), done: progress.done, summary, error };
        let told = progress.found.map(|found| found.updates);
        let closed = change(self.store.as_ref(), |state| {
            let run = state.last.as_mut().filter(|run| run.by == self.host && run.began == began)?;
            run.end = Some(end.clone());
            if let Some(updates) = told.as_ref().filter(|_| end.done.contains(&Task::Notify)) {
                state.told = updates.iter().map(|update| (update.image.clone(), update.to.clone())).collect();
            }
            Some(())
        });
        closed.await?;
        Ok(())
    }
}

/// All actions, one after the other, up to the first that fails.
async fn do_all(
    schedule: Schedule,
    actions: Arc<dyn Actions>,
    notifier: Notifier,
    told: std::collections::BTreeMap<String, String>,
) -> (Progress, Option<String>) {
    let mut progress = Progress::default();
    for task in &schedule.actions {
        let done = match task {
            Task::Check => actions.check().await.map(|found| progress.found = Some(found)),
            Task::Notify => {
                let updates = progress.found.iter().flat_map(|found| &found.updates);
                // Of each version once, not with every look.
                for update in updates.filter(|update| told.get(&update.image) != Some(&update.to)) {
                    notifier.tell(Event::UpdateAvailable(update.clone()));
                }
                Ok(())
            }
            Task::Build => actions.build(progress.found.as_ref()).await.map(|built| progress.built = Some(built)),
            Task::Deploy => {
                let deployed = actions.deploy(progress.built.as_ref()).await;
                deployed.map(|deployed| progress.changed = Some(deployed.changed))
            }
        };
        if let Err(error) = done {
            return (progress, Some(format!("{task}: {error}")));
        }
        progress.done.push(*task);
    }
    if schedule.tell_success {
        let applied: Vec<Update> = progress.built.as_ref().map(|built| built.applied.clone()).unwrap_or_default();
        for update in applied {
            notifier.tell(Event::UpdateApplied(update));
        }
    }
    (progress, None)
}

impl Progress {
    fn summary(&self) -> String {
        let mut words = Vec::new();
        if let Some(found) = &self.found {
            words.push(match found.updates.as_slice() {
                [] => "base images are up to date".to_owned(),
                some => {
                    let each: Vec<_> = some.iter().map(|it| format!("{} {} -> {}", it.image, it.from, it.to)).collect();
                    format!("newer: {}", each.join(", "))
                }
            });
        }
        if let Some(built) = &self.built {
            words.push(format!("{} images built", built.built.len()));
        }
        if let Some(changed) = self.changed {
            words.push(format!("{changed} runners changed"));
        }
        if words.is_empty() { "nothing to do".to_owned() } else { words.join("; ") }
    }
}
