//! The scheduler's loop on real stores: who runs, how often, and what becomes of runs that fail.

use crate::support::app::PATIENCE;
use crate::support::fleet;
use crate::support::redis::RedisServer;
use crate::support::told::{Got, Told, generic};
use async_trait::async_trait;
use jiff::Timestamp;
use runnerfleet::config::{Config, Schedule, Task};
use runnerfleet::durable;
use runnerfleet::model::{HostId, PoolName};
use runnerfleet::notify::Notifier;
use runnerfleet::notify::event::Update;
use runnerfleet::scheduler::{self, ActionError, Actions, BuildResult, CheckResult, DeployResult, State};
use runnerfleet::store::Store;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

type Hook = Box<dyn Fn(usize) -> Result<CheckResult, ActionError> + Send + Sync>;

/// Writes down what it was asked to do.
struct Written {
    log: Mutex<Vec<String>>,
    checks: AtomicUsize,
    inside: AtomicUsize,
    /// What the check of this number, counted from 0, finds.
    finds: Hook,
    lasts: Duration,
}

impl Written {
    fn new(finds: impl Fn(usize) -> Result<CheckResult, ActionError> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            log: Mutex::default(),
            checks: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            finds: Box::new(finds),
            lasts: Duration::from_millis(20),
        })
    }

    fn write(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    async fn checked(&self, times: usize) {
        until("so many checks", async || self.checks.load(Ordering::SeqCst) >= times).await;
    }
}

#[async_trait]
impl Actions for Written {
    async fn check(&self) -> Result<CheckResult, ActionError> {
        assert_eq!(self.inside.fetch_add(1, Ordering::SeqCst), 0, "two runs at once");
        tokio::time::sleep(self.lasts).await;
        self.inside.fetch_sub(1, Ordering::SeqCst);
        let number = self.checks.fetch_add(1, Ordering::SeqCst);
        self.write("check".to_owned());
        (self.finds)(number)
    }

    async fn build(&self, found: Option<&CheckResult>) -> Result<BuildResult, ActionError> {
        self.write(format!("build {:?}", found.map(|found| found.updates.len())));
        let applied = found.map(|found| found.updates.clone()).unwrap_or_default();
        Ok(BuildResult { applied, built: vec![PoolName::new("web")] })
    }

    async fn deploy(&self, built: Option<&BuildResult>) -> Result<DeployResult, ActionError> {
        self.write(format!("deploy {:?}", built.map(|built| built.built.len())));
        Ok(DeployResult { changed: 2 })
    }
}

fn update(to: &str) -> CheckResult {
    let (image, from) = ("ghcr.io/actions/actions-runner".to_owned(), "2.335.0".to_owned());
    CheckResult { updates: vec![Update { image, from, to: to.to_owned(), pools: vec![PoolName::new("web")] }] }
}

fn config(every: Duration, actions: &[Task]) -> Config {
    let mut config = fleet::config(std::env::temp_dir(), "test", Vec::new());
    config.scheduler = Some(Schedule { every, actions: actions.to_vec(), max_retries: 1, ..Schedule::default() });
    config
}

/// A loop that ends with the test.
struct Loop {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Loop {
    fn start(config: Config, store: &Arc<dyn Store>, actions: &Arc<Written>, notifier: &Notifier) -> Self {
        let stop = CancellationToken::new();
        let running = scheduler::run(Arc::new(config), store.clone(), actions.clone(), notifier.clone(), stop.clone());
        Self { stop, task: tokio::spawn(running) }
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it ends").expect("it does not break");
    }
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "not seen: {what}");
}

async fn ended(store: &Arc<dyn Store>, holds: impl Fn(&State) -> bool) -> State {
    until("a run's end", async || {
        let state = scheduler::read(store.as_ref()).await.unwrap();
        state.last.as_ref().is_some_and(|run| run.end.is_some()) && holds(&state)
    })
    .await;
    scheduler::read(store.as_ref()).await.unwrap()
}

fn embedded() -> Arc<dyn Store> {
    durable::embedded::in_memory().unwrap().store()
}

const NEVER: Duration = Duration::from_secs(86400);

#[tokio::test(flavor = "multi_thread")]
async fn a_run_does_its_actions_in_order_and_is_written_down() {
    let (store, told) = (embedded(), Told::start().await);
    let mut config = config(NEVER, &[Task::Check, Task::Notify, Task::Build, Task::Deploy]);
    config.notifications.recipients = vec![generic(&told.url())];
    let notifier = Notifier::start(&config);
    let actions = Written::new(|_| Ok(update("2.336.0")));
    let running = Loop::start(config.clone(), &store, &actions, &notifier);
    let state = ended(&store, |_| true).await;
    assert_eq!(actions.lines(), ["check", "build Some(1)", "deploy Some(1)"]);
    let run = state.last.clone().unwrap();
    let end = run.end.unwrap();
    assert_eq!(end.done, [Task::Check, Task::Notify, Task::Build, Task::Deploy]);
    assert_eq!(
        end.summary,
        "newer: ghcr.io/actions/actions-runner 2.335.0 -> 2.336.0; 1 images built; 2 runners changed"
    );
    assert_eq!((run.by, end.error, run.attempt), (HostId::new("here"), None, 0));
    let kinds: Vec<_> = told.until(2).await.iter().map(|got| got.json()["event_type"].clone()).collect();
    assert_eq!(kinds, ["update_available", "update_applied"]);

    // A person asks: it runs again, and does not tell of the same version twice.
    scheduler::ask(store.as_ref(), Timestamp::now()).await.unwrap();
    let before = run.began;
    let state = ended(&store, |state| state.last.as_ref().is_some_and(|run| run.began > before)).await;
    assert_eq!(state.asked, None);
    running.end().await;
    notifier.finish(PATIENCE).await;
    let available = |got: &Got| got.json()["event_type"] == "update_available";
    assert_eq!(told.got().iter().filter(|got| available(got)).count(), 1);
    assert_eq!(actions.checks.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_managers_with_one_redis_one_runs() {
    let server = RedisServer::start();
    let store = |name: &str| -> Arc<dyn Store> {
        durable::redis::connect(&server.config(), &HostId::new(name), NEVER).unwrap().store()
    };
    let (a, b) = (store("a"), store("b"));
    // One hand for both: it would see them do the same.
    let actions = Written::new(|_| Ok(CheckResult::default()));
    let every = Duration::from_millis(400);
    let managers: Vec<_> = [("a", &a), ("b", &b)]
        .into_iter()
        .map(|(name, store)| {
            let config = Config { host: HostId::new(name), ..config(every, &[Task::Check]) };
            Loop::start(config, store, &actions, &Notifier::silent())
        })
        .collect();
    actions.checked(5).await;
    for manager in managers {
        manager.end().await;
    }
    let state = scheduler::read(a.as_ref()).await.unwrap();
    assert_ne!(state.seed, 0);
    assert_eq!(state, scheduler::read(b.as_ref()).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_tried_again_told_once_and_stop_nothing() {
    let (store, told) = (embedded(), Told::start().await);
    let mut config = config(Duration::from_secs(1), &[Task::Check]);
    config.notifications.recipients = vec![generic(&told.url())];
    let notifier = Notifier::start(&config);
    // The second one breaks altogether.
    let actions = Written::new(|number| match number {
        1 => panic!("this is a test"),
        0 | 2 => Err(ActionError("the registry is away".into())),
        _ => Ok(CheckResult::default()),
    });
    let running = Loop::start(config, &store, &actions, &notifier);
    let got = told.until(1).await;
    assert_eq!(got[0].json()["event_type"], "update_error");
    assert!(actions.checks.load(Ordering::SeqCst) >= 2, "not before the last try");
    let state = ended(&store, |state| {
        state.last.as_ref().and_then(|run| run.end.as_ref()).is_some_and(|end| end.error.is_none())
    })
    .await;
    assert_eq!(state.last.unwrap().end.unwrap().summary, "base images are up to date");
    running.end().await;
    notifier.finish(PATIENCE).await;
    assert_eq!(told.got().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cut_off_by_the_end_of_the_program_is_done_by_the_next() {
    let store = embedded();
    let mut slow = Arc::into_inner(Written::new(|_| Ok(CheckResult::default()))).unwrap();
    slow.lasts = Duration::from_secs(3600);
    let slow = Arc::new(slow);
    let running = Loop::start(config(Duration::from_secs(2), &[Task::Check]), &store, &slow, &Notifier::silent());
    until("it is under way", async || slow.inside.load(Ordering::SeqCst) == 1).await;
    running.end().await;
    let state = scheduler::read(store.as_ref()).await.unwrap();
    let end = state.last.unwrap().end.expect("it is written down");
    assert_eq!(end.error.as_deref(), Some("the program was stopped meanwhile"));

    let actions = Written::new(|_| Ok(CheckResult::default()));
    let running = Loop::start(config(Duration::from_secs(2), &[Task::Check]), &store, &actions, &Notifier::silent());
    actions.checked(1).await;
    running.end().await;
}
