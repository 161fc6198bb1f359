//! The program on a machine: the same loops as `serve` runs, on a machine that can be switched off.

use super::engine::{Engine, Reached};
use super::life::Life;
use super::roads::ToGitHub;
use super::stage::Stage;
use super::stores::Through;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::github::Client;
use crate::ingest;
use crate::missed::{self, report::Missed};
use crate::model::after;
use crate::notify::Notifier;
use crate::provider::Provider;
use crate::queue::Queue;
use crate::reconcile::execute::Executor;
use crate::reconcile::memory::Memory;
use crate::reconcile::{self, feeds, installations};
use crate::store::Store;
use crate::webhook::{Readiness, Receiver};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

/// As in `serve`: how long requests and actions have after SIGTERM.
const LAST_ANSWERS: Duration = Duration::from_secs(10);
const LAST_ACTIONS: Duration = Duration::from_secs(60);

/// A host with its engine, its clock, and the program on it.
pub(super) struct Machine {
    pub(super) host: String,
    pub(super) engine: Arc<Engine>,
    config: Mutex<Arc<Config>>,
    /// By how much its clock is wrong, in milliseconds.
    ahead: Arc<AtomicI64>,
    running: Mutex<Option<Arc<Running>>>,
    lives: AtomicU64,
    wanted_down: Notify,
    lost: AtomicBool,
}

/// The program as it runs.
pub(super) struct Running {
    pub(super) life: Arc<Life>,
    pub(super) memory: Arc<Memory>,
    pub(super) receiver: Arc<Receiver>,
    pub(super) queue: Arc<dyn Queue>,
    loops: TaskTracker,
    actions: TaskTracker,
}

impl Machine {
    pub(super) fn new(host: &str, engine: Arc<Engine>, config: Config) -> Self {
        Self {
            host: host.to_owned(),
            engine,
            config: Mutex::new(Arc::new(config)),
            ahead: Arc::default(),
            running: Mutex::default(),
            lives: AtomicU64::new(0),
            wanted_down: Notify::new(),
            lost: AtomicBool::new(false),
        }
    }

    pub(super) fn config(&self) -> Arc<Config> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// For the next start.
    pub(super) fn set_config(&self, config: Config) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    pub(super) fn running(&self) -> Option<Arc<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The run is over.
    pub(super) fn forget(&self) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// SIGTERM; its supervisor starts it again.
    pub(super) fn restart(&self) {
        self.wanted_down.notify_waiters();
    }

    /// It burns down.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
        self.engine.burn_down();
        if let Some(running) = self.running() {
            running.life.die();
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// This machine's clock.
    pub(super) fn clock(&self, stage: &Stage) -> Clock {
        let (ahead, true_one) = (self.ahead.clone(), stage.clock());
        Arc::new(move || {
            let ahead = ahead.load(Ordering::Relaxed);
            let now = true_one();
            if ahead >= 0 {
                after(now, Duration::from_millis(ahead.unsigned_abs()))
            } else {
                now.checked_sub(Duration::from_millis(ahead.unsigned_abs())).unwrap_or(now)
            }
        })
    }

    pub(super) fn set_clock_ahead(&self, millis: i64) {
        self.ahead.store(millis, Ordering::Relaxed);
    }

    /// Keeps the program running, as a service manager does.
    pub(super) async fn supervise(self: Arc<Self>, stage: Arc<Stage>) {
        while !self.is_lost() {
            let started = clock::under(self.clock(&stage), self.start(&stage)).await;
            let running = match started {
                Ok(running) => running,
                Err(why) => return stage.judge.fail(&stage, &format!("the program does not start: {why}")),
            };
            *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(running.clone());
            let end = async {
                self.wanted_down.notified().await;
                stage.note(&format!("{} is told to end", running.life.name));
                running.life.stop.cancel();
                running.loops.close();
                running.actions.close();
                let _ = tokio::time::timeout(LAST_ANSWERS, running.loops.wait()).await;
                let _ = tokio::time::timeout(LAST_ACTIONS, running.actions.wait()).await;
            };
            tokio::select! {
                biased;
                () = running.life.died() => {}
                () = end => running.life.die(),
            }
            *self.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
            let pause = if stage.is_calm() { Duration::from_secs(1) } else { stage.dice.millis(100, 20_000) };
            tokio::time::sleep(pause).await;
        }
    }

    /// Joins the parts as `serve` does, and starts its loops.
    #[expect(clippy::unused_async, reason = "it is begun by the machine's clock, which goes with futures")]
    async fn start(&self, stage: &Arc<Stage>) -> Result<Arc<Running>, String> {
        let number = self.lives.fetch_add(1, Ordering::Relaxed) + 1;
        let life = Life::new(stage, format!("{}.{number}", self.host));
        stage.note(&format!("{} starts", life.name));
        let config = self.config();
        let db = stage.database(number)?;
        let queue: Arc<dyn Queue> = Arc::new(Through { life: life.clone(), inner: db.queue() });
        let store: Arc<dyn Store> = Arc::new(Through { life: life.clone(), inner: db.store() });
        let provider: Arc<dyn Provider> = Arc::new(Reached { life: life.clone(), engine: self.engine.clone() });
        let road = Arc::new(ToGitHub { life: life.clone() });
        let client = Client::carried(&config.github, road).map_err(|error| error.to_string())?;
        let memory = Arc::new(Memory::new(config.host.clone()));
        let executor = Arc::new(Executor {
            config: config.clone(),
            store: store.clone(),
            provider: provider.clone(),
            client: client.clone(),
            memory: memory.clone(),
            starts: Arc::new(Semaphore::new(4)),
            notifier: Notifier::silent(),
        });
        let (stop, loops, actions) = (life.stop.clone(), TaskTracker::new(), TaskTracker::new());
        let ours = self.clock(stage);
        let begin = |name: &'static str, work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let (told, stop) = (Told { name, stage: stage.clone() }, stop.clone());
            loops.spawn(clock::under(ours.clone(), async move {
                work.await;
                if !stop.is_cancelled() && told.name != "networks" {
                    told.stage.judge.fail(&told.stage, &format!("[recovery] the loop `{}` ended", told.name));
                }
            }));
        };
        begin("store", Box::pin(feeds::store(store.clone(), memory.clone(), stop.clone())));
        begin("lease", Box::pin(feeds::lease(store.clone(), memory.clone(), config.clone(), stop.clone())));
        begin("containers", Box::pin(feeds::containers(provider.clone(), memory.clone(), stop.clone())));
        begin("capacity", Box::pin(feeds::capacity(provider.clone(), memory.clone(), stop.clone())));
        begin("age_out", Box::pin(feeds::age_out(store.clone(), queue.clone(), config.clone(), stop.clone())));
        for scope in feeds::scopes(&config) {
            let (client, memory, config, stop) = (client.clone(), memory.clone(), config.clone(), stop.clone());
            begin("registrations", Box::pin(feeds::registrations(client, memory, config, scope, stop)));
        }
        begin(
            "installations",
            Box::pin(installations::follow(client.clone(), memory.clone(), config.clone(), stop.clone())),
        );
        begin("networks", Box::pin(feeds::networks(provider.clone(), config.clone(), stop.clone())));
        begin(
            "ingest",
            Box::pin(ingest::run(config.clone(), queue.clone(), store.clone(), memory.clone(), stop.clone())),
        );
        begin(
            "reconcile",
            Box::pin(reconcile::run(config.clone(), memory.clone(), executor, actions.clone(), stop.clone())),
        );
        let parts = missed::Parts {
            config: config.clone(),
            queue: queue.clone(),
            store: store.clone(),
            client: client.clone(),
            memory: memory.clone(),
        };
        if config.github.poll_deliveries.is_some() {
            begin("log", Box::pin(missed::read_log(parts.clone(), Missed::default(), stop.clone())));
        }
        if config.github.poll_jobs.is_some() {
            begin("jobs", Box::pin(missed::list_jobs(parts, Missed::default(), stop.clone())));
        }
        let mut receiver = Receiver::new(config, Some(queue.clone()), Arc::new(Unasked));
        receiver.installations = memory.installations_bell();
        Ok(Arc::new(Running { life, memory, receiver: Arc::new(receiver), queue: db.queue(), loops, actions }))
    }
}

/// A loop that broke is told.
struct Told {
    name: &'static str,
    stage: Arc<Stage>,
}

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.stage.judge.fail(&self.stage, &format!("[panic] the loop `{}` broke", self.name));
        }
    }
}

/// Nobody asks whether it is ready.
struct Unasked;

#[async_trait::async_trait]
impl Readiness for Unasked {
    async fn check(&self) -> BTreeMap<&'static str, Result<String, String>> {
        BTreeMap::new()
    }
}
