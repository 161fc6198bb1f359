//! Orders carried out: each runner on its own, one drive for each at a time.

use super::difference::{There, difference};
use super::drive::{Drive, How};
use super::order::{Change, ChangeKind, Order, Outcome, OutcomeKind, Progress, Verb};
use super::spec;
use super::step::Goal;
use crate::clock;
use crate::config::{Config, Mode};
use crate::github::Client;
use crate::model::{HostId, ImageId, Observed, PoolName, RunnerName, Wanted};
use crate::notify::Notifier;
use crate::provider::{ContainerNews, Provider, ProviderError};
use crate::reconcile::memory::Memory;
use crate::store::Store;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Reads the file again; its problems in a person's words.
pub type Reread = Arc<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// What a keeper works with.
pub struct Parts {
    /// Pools and bounds.
    pub config: Arc<Config>,
    /// Rows.
    pub store: Arc<dyn Store>,
    /// Containers.
    pub provider: Arc<dyn Provider>,
    /// Registrations.
    pub client: Client,
    /// What is known.
    pub memory: Arc<Memory>,
    /// Creates and starts under way at once on this engine, ephemeral runners' among them.
    pub starts: Arc<Semaphore>,
    /// Reads the file again before a deploy; none: the configuration stays as it is.
    pub reread: Option<Reread>,
    /// Who wants to know.
    pub notifier: Notifier,
}

/// An order that is not begun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The file has problems.
    #[error("nothing is deployed, since the file has problems:\n{0}")]
    Config(String),
    /// The engine could not be looked at, so nobody knows what is there.
    #[error("the Docker engine cannot be looked at: {0}")]
    Engine(String),
}

/// Looks after persistent runners. Clones are the same one.
#[derive(Clone)]
pub struct Keeper {
    pub(super) inner: Arc<Inner>,
}

/// What all drives share.
pub(super) struct Inner {
    config: RwLock<Arc<Config>>,
    pub(super) store: Arc<dyn Store>,
    pub(super) provider: Arc<dyn Provider>,
    pub(super) client: Client,
    pub(super) memory: Arc<Memory>,
    pub(super) starts: Arc<Semaphore>,
    reread: Option<Reread>,
    pub(super) notifier: Notifier,
    /// One drive for each runner: whoever comes later ends the wait of the one before.
    turns: Mutex<BTreeMap<RunnerName, Arc<Turn>>>,
    /// Runners that the loop could not help, and when it tries again.
    pub(super) held: Mutex<BTreeMap<RunnerName, (Timestamp, u32)>>,
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
}

#[derive(Default)]
struct Turn {
    lock: Arc<tokio::sync::Mutex<()>>,
    /// Ends the wait of whoever has the lock.
    leave: Mutex<CancellationToken>,
    waiting: AtomicUsize,
}

/// An order that may begin: what a deploy is to change, looked at once for all its runners.
pub struct Prepared(Vec<Change>);

impl Keeper {
    /// Joins it. Nothing is asked of anybody yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { config, store, provider, client, memory, starts, reread, notifier } = parts;
        Self {
            inner: Arc::new(Inner {
                config: RwLock::new(config),
                store,
                provider,
                client,
                memory,
                starts,
                reread,
                notifier,
                turns: Mutex::default(),
                held: Mutex::default(),
                closing: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        }
    }

    /// The configuration that it keeps to: the persistent pools are those of the last deploy.
    pub fn config(&self) -> Arc<Config> {
        self.inner.config()
    }

    /// Keeps to other persistent pools from now on.
    pub fn set_pools(&self, fresh: &Config) {
        let mut config = self.inner.config.write().unwrap_or_else(PoisonError::into_inner);
        let mut pools: Vec<_> = config.pools.iter().filter(|pool| pool.mode == Mode::Ephemeral).cloned().collect();
        // A pool that was ephemeral when this program started is served as such until it starts again.
        let kept = fresh.pools.iter().filter(|pool| spec::is_kept(pool));
        let kept: Vec<_> = kept.filter(|pool| pools.iter().all(|known| known.name != pool.name)).cloned().collect();
        pools.extend(kept);
        *config = Arc::new(Config { pools, ..Config::clone(&config) });
    }

    /// Whether a runner of this name is a persistent one: described, remembered, or seen in the engine.
    pub fn knows(&self, runner: &RunnerName) -> bool {
        self.inner.row(runner).is_some()
            || self.inner.memory.container(runner).is_some_and(|container| container.kept.is_some())
            || spec::description(&self.config(), runner).is_some()
    }

    /// What a deploy would do with these pools; with all where none is given. Reads the file again, and keeps to what it kept
    /// to before.
    ///
    /// # Errors
    /// The file has problems, or the engine cannot be looked at.
    pub async fn difference(&self, pools: &[PoolName]) -> Result<Vec<Change>, Refused> {
        let config = match self.inner.read_again()? {
            Some(fresh) => Arc::new(fresh),
            None => self.config(),
        };
        self.inner.difference(&config, pools).await
    }

    /// What the images of persistent pools are now, by reference. One that is not there, or could not be looked at, is left
    /// out.
    pub async fn images(&self) -> BTreeMap<String, ImageId> {
        self.inner.images(&self.config()).await.unwrap_or_default()
    }

    /// Carries an order out, and tells of each runner as it goes; the last news of each has its outcome. Goes on after a
    /// failure, and when nobody listens any more.
    ///
    /// # Errors
    /// The order is not begun; no runner was touched.
    pub async fn carry_out(&self, order: Order, progress: mpsc::Sender<Progress>) -> Result<(), Refused> {
        let prepared = self.prepare(&order).await?;
        self.begin(prepared, order, progress).await;
        Ok(())
    }

    /// The first half of [`Keeper::carry_out`]: whether the order may begin.
    ///
    /// # Errors
    /// It may not.
    pub async fn prepare(&self, order: &Order) -> Result<Prepared, Refused> {
        if order.verb != Verb::Deploy {
            return Ok(Prepared(Vec::new()));
        }
        if let Some(fresh) = self.inner.read_again()? {
            self.set_pools(&fresh);
        }
        Ok(Prepared(self.inner.difference(&self.config(), &[]).await?))
    }

    /// The second half.
    pub async fn begin(&self, prepared: Prepared, order: Order, progress: mpsc::Sender<Progress>) {
        let config = self.config();
        // Only replacements wait for each other: what is missing or surplus takes nothing away.
        let places: BTreeMap<&PoolName, Semaphore> = config
            .persistent_pools()
            .map(|(pool, _)| (&pool.name, Semaphore::new(usize::try_from(pool.max_unavailable.max(1)).unwrap_or(1))))
            .collect();
        let drives: FuturesUnordered<_> = order
            .runners
            .iter()
            .map(|name| {
                let change = prepared.0.iter().find(|change| change.runner == *name);
                let (order, progress, places) = (&order, &progress, &places);
                async move {
                    if order.verb != Verb::Deploy {
                        return self.order_one(name, order, progress).await;
                    }
                    let place = change.filter(|change| change.kind == ChangeKind::Replace);
                    let _place = match place.and_then(|change| places.get(&change.pool)) {
                        Some(places) => {
                            tell(progress, name, "waiting for its turn (rollout.max_unavailable)");
                            places.acquire().await.ok()
                        }
                        None => None,
                    };
                    self.deploy(name, change.cloned(), order, progress).await;
                }
            })
            .collect();
        drives.collect::<()>().await;
    }

    async fn deploy(
        &self,
        name: &RunnerName,
        change: Option<Change>,
        order: &Order,
        progress: &mpsc::Sender<Progress>,
    ) {
        let outcome = match change {
            None => failed(format!("there is no persistent runner `{name}`, and the file does not describe one")),
            Some(change) => match change.kind {
                ChangeKind::Keep => {
                    // It may have been told to stop a moment ago, or to go.
                    let outcome =
                        self.drive(name, Goal::Up { renew: true }, Some(Wanted::Present), order, progress).await;
                    match outcome.kind {
                        OutcomeKind::Unchanged => Outcome { text: change.why, ..outcome },
                        _ => outcome,
                    }
                }
                ChangeKind::Create | ChangeKind::Start => {
                    self.drive(name, Goal::Up { renew: true }, Some(Wanted::Present), order, progress).await
                }
                ChangeKind::Replace => {
                    let outcome =
                        self.drive(name, Goal::Up { renew: true }, Some(Wanted::Present), order, progress).await;
                    match outcome.kind {
                        OutcomeKind::Changed => Outcome { text: format!("replaced: {}", change.why), ..outcome },
                        _ => outcome,
                    }
                }
                ChangeKind::Remove => {
                    let outcome = self.drive(name, Goal::Gone, Some(Wanted::Absent), order, progress).await;
                    match outcome.kind {
                        OutcomeKind::Changed => Outcome { text: format!("removed: {}", change.why), ..outcome },
                        _ => outcome,
                    }
                }
            },
        };
        end(progress, name, outcome).await;
    }

    async fn order_one(&self, name: &RunnerName, order: &Order, progress: &mpsc::Sender<Progress>) {
        let outcome = if self.knows(name) {
            match order.verb {
                Verb::Start | Verb::Deploy => {
                    self.drive(name, Goal::Up { renew: false }, Some(Wanted::Present), order, progress).await
                }
                Verb::Stop => self.drive(name, Goal::Down, Some(Wanted::Stopped), order, progress).await,
                Verb::Restart => self.restart(name, order, progress).await,
                Verb::Remove => self.drive(name, Goal::Gone, Some(Wanted::Absent), order, progress).await,
            }
        } else if self.inner.memory.runner(name).1.is_some() {
            failed(format!("runner `{name}` is ephemeral: it starts and ends with its job"))
        } else {
            failed(format!("there is no runner `{name}`; `runnerfleet list` shows them"))
        };
        if outcome.kind == OutcomeKind::Unchanged {
            self.inner.tell_skipped(name, order.verb, &outcome.text);
        }
        end(progress, name, outcome).await;
    }

    /// Between the two it is wanted as before: cut off in the middle, it comes up again.
    async fn restart(&self, name: &RunnerName, order: &Order, progress: &mpsc::Sender<Progress>) -> Outcome {
        if let Err(error) = self.inner.want(name, Wanted::Present).await {
            return failed(error.to_string());
        }
        let down = self.drive(name, Goal::Down, None, order, progress).await;
        match down.kind {
            OutcomeKind::Failed => return down,
            OutcomeKind::Deferred => return Outcome { kind: OutcomeKind::Failed, ..down },
            OutcomeKind::Changed | OutcomeKind::Unchanged => {}
        }
        let up = self.drive(name, Goal::Up { renew: false }, Some(Wanted::Present), order, progress).await;
        match (down.kind, up.kind) {
            // `serve` may have brought it up a moment before this did.
            (OutcomeKind::Changed, OutcomeKind::Changed | OutcomeKind::Unchanged) => {
                Outcome { kind: OutcomeKind::Changed, text: "restarted".to_owned() }
            }
            _ => up,
        }
    }

    async fn drive(
        &self,
        name: &RunnerName,
        goal: Goal,
        wanted: Option<Wanted>,
        order: &Order,
        progress: &mpsc::Sender<Progress>,
    ) -> Outcome {
        let how = How { force: order.options.force, timeout: order.options.timeout, wanted };
        let say = |phase: &str| tell(progress, name, phase);
        let turn = self.inner.turn(name, &say).await;
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let outcome = Drive::new(&self.inner, name, goal, how, turn.leave.clone()).run(&say).await;
        drop(turn);
        // Whatever the loop wanted to do meanwhile, it can look at again.
        self.inner.memory.wake();
        outcome
    }

    /// Work that outlives whoever began it; [`Keeper::close`] waits for it.
    pub fn tasks(&self) -> &TaskTracker {
        &self.inner.tasks
    }

    /// Ends waits: whoever ordered something is told that it is not finished.
    pub fn interrupt(&self) {
        self.inner.closing.cancel();
    }

    /// Ends waits, and lets steps under way end.
    pub async fn close(&self) {
        self.interrupt();
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

/// The right to work on a runner.
pub(super) struct MyTurn {
    _lock: tokio::sync::OwnedMutexGuard<()>,
    /// Somebody else wants to.
    pub(super) leave: CancellationToken,
}

impl Inner {
    pub(super) fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn read_again(&self) -> Result<Option<Config>, Refused> {
        self.reread.as_ref().map(|read| read().map_err(Refused::Config)).transpose()
    }

    fn slot(&self, name: &RunnerName) -> Arc<Turn> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner).entry(name.clone()).or_default().clone()
    }

    /// Takes a runner over from whoever works on it: that one ends its wait.
    async fn turn(&self, name: &RunnerName, say: &(dyn Fn(&str) + Send + Sync)) -> MyTurn {
        let slot = self.slot(name);
        if let Ok(guard) = slot.lock.clone().try_lock_owned() {
            return self.begin_turn(&slot, guard);
        }
        slot.waiting.fetch_add(1, Ordering::SeqCst);
        slot.leave.lock().unwrap_or_else(PoisonError::into_inner).cancel();
        say("waiting for another action on it to end");
        let guard = slot.lock.clone().lock_owned().await;
        slot.waiting.fetch_sub(1, Ordering::SeqCst);
        self.begin_turn(&slot, guard)
    }

    /// The same for the loop, which never pushes anybody aside.
    pub(super) fn free_turn(&self, name: &RunnerName) -> Option<MyTurn> {
        let slot = self.slot(name);
        let guard = slot.lock.clone().try_lock_owned().ok()?;
        Some(self.begin_turn(&slot, guard))
    }

    fn begin_turn(&self, slot: &Turn, guard: tokio::sync::OwnedMutexGuard<()>) -> MyTurn {
        let leave = self.closing.child_token();
        if slot.waiting.load(Ordering::SeqCst) > 0 {
            // Somebody with a newer order waits already.
            leave.cancel();
        }
        *slot.leave.lock().unwrap_or_else(PoisonError::into_inner) = leave.clone();
        MyTurn { _lock: guard, leave }
    }

    /// What the images of persistent pools are now.
    pub(super) async fn images(&self, config: &Config) -> Result<BTreeMap<String, ImageId>, ProviderError> {
        let references: BTreeSet<&String> = config.persistent_pools().map(|(pool, _)| &pool.image).collect();
        let mut images = BTreeMap::new();
        for reference in references {
            if let Some(id) = self.provider.image_id(reference).await? {
                images.insert(reference.clone(), id);
            }
        }
        Ok(images)
    }

    async fn difference(&self, config: &Config, pools: &[PoolName]) -> Result<Vec<Change>, Refused> {
        let away = |error: ProviderError| Refused::Engine(error.to_string());
        // What is removed for it must be what is there now.
        self.memory.apply_container(ContainerNews::All(self.provider.list().await.map_err(away)?));
        let images = self.images(config).await.map_err(away)?;
        let world = self.memory.world();
        let now = clock::now();
        let lives = |host: &HostId| *host != world.host && world.leases.get(host).is_some_and(|until| *until > now);
        let Observed::Known(containers) = &world.containers else {
            return Err(Refused::Engine("it went away a moment ago".to_owned()));
        };
        let there = There {
            rows: world
                .runners
                .iter()
                .filter(|(_, row)| row.kept.is_some())
                .map(|(name, row)| (name, row.as_ref()))
                .collect(),
            containers: containers
                .values()
                .filter(|container| container.kept.is_some())
                .map(|container| (&container.runner, container))
                .collect(),
            images,
            others: world.runners.values().map(|row| row.owner.clone()).filter(lives).collect(),
        };
        Ok(difference(config, &there, pools))
    }
}

/// News on the way may be dropped where the reader is slow; outcomes never are.
fn tell(progress: &mpsc::Sender<Progress>, runner: &RunnerName, phase: &str) {
    let _ = progress.try_send(Progress { runner: runner.clone(), phase: phase.to_owned(), outcome: None });
}

async fn end(progress: &mpsc::Sender<Progress>, runner: &RunnerName, outcome: Outcome) {
    let phase = outcome.text.clone();
    // Nobody may listen any more.
    let _ = progress.send(Progress { runner: runner.clone(), phase, outcome: Some(outcome) }).await;
}

fn failed(text: String) -> Outcome {
    Outcome { kind: OutcomeKind::Failed, text }
}
