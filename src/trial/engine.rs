//! A simulated engine: one host's containers, with an agent in each, and the news of them.

use super::agent::{self, Beginning, Work};
use super::dice::Dice;
use super::life::Life;
use super::stage::Stage;
use crate::clock;
use crate::config::Network;
use crate::model::{Capacity, Container, ContainerId, ContainerStatus, Evidence, ImageId, RunnerName};
use crate::provider::{ContainerNews, ContainerSpec, LogQuery, LogStream, Provider, ProviderError, StartCommand};
use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// As the real feed: news that nobody has read yet.
const UNREAD: usize = 256;

/// As the real feed: everything is looked at again after this time.
const AGAIN: Duration = Duration::from_secs(60);

/// As the real feed: between two attempts to reach the engine.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// One host's engine. It lives on when the program does not.
pub(super) struct Engine {
    pub(super) host: String,
    stage: OnceLock<Weak<Stage>>,
    dice: Dice,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    away: bool,
    made: u64,
    containers: BTreeMap<ContainerId, Made>,
    watchers: Vec<mpsc::UnboundedSender<Told>>,
}

struct Made {
    shown: Container,
    start: StartCommand,
    work: Arc<Work>,
    agent: Option<AbortHandle>,
}

/// What a feed hears.
enum Told {
    Touched(ContainerId),
    Cut,
}

impl Engine {
    pub(super) fn new(seed: u64, host: &str) -> Arc<Self> {
        let dice = Dice::new(seed, &format!("engine {host}"));
        Arc::new(Self { host: host.to_owned(), stage: OnceLock::new(), dice, inner: Mutex::default() })
    }

    /// To be said once.
    pub(super) fn belongs_to(&self, stage: &Arc<Stage>) {
        let _ = self.stage.set(Arc::downgrade(stage));
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stage(&self) -> Arc<Stage> {
        self.stage.get().and_then(Weak::upgrade).expect("the stage outlives the tasks that play on it")
    }

    /// All containers, as they are.
    pub(super) fn containers(&self) -> Vec<Container> {
        self.inner().containers.values().map(|made| made.shown.clone()).collect()
    }

    /// One that runs, if there is one.
    pub(super) fn any_running(&self, dice: &Dice) -> Option<ContainerId> {
        let running: Vec<ContainerId> = self
            .containers()
            .into_iter()
            .filter(|container| container.status == ContainerStatus::Running)
            .map(|container| container.id)
            .collect();
        dice.one_of(&running).cloned()
    }

    /// Events end; a reader has to begin anew.
    pub(super) fn cut_feeds(&self) {
        self.inner().watchers.drain(..).for_each(|watcher| drop(watcher.send(Told::Cut)));
    }

    /// It stops answering, with or without the containers.
    pub(super) fn go_away(&self, containers_live_on: bool) {
        self.inner().away = true;
        if !containers_live_on {
            let all: Vec<ContainerId> = self.inner().containers.keys().cloned().collect();
            for id in all {
                self.kill(&id, 137);
            }
        }
        self.cut_feeds();
    }

    /// Nothing is left of it.
    pub(super) fn burn_down(&self) {
        self.go_away(false);
        self.inner().containers.clear();
    }

    pub(super) fn come_back(&self) {
        self.inner().away = false;
    }

    fn is_away(&self) -> Option<&'static str> {
        self.inner().away.then_some("the engine does not answer")
    }

    fn touch(&self, id: &ContainerId) {
        self.inner().watchers.retain(|watcher| watcher.send(Told::Touched(id.clone())).is_ok());
    }

    /// A container's process ended. Nothing where it did not run.
    fn exited(&self, id: &ContainerId, code: i64) {
        {
            let mut inner = self.inner();
            let Some(made) = inner.containers.get_mut(id) else { return };
            if made.shown.status != ContainerStatus::Running {
                return;
            }
            made.shown.status = ContainerStatus::Exited { exit_code: code, oom_killed: false };
            made.agent = None;
            self.stage().note(&format!("{} ended with exit code {code}", made.shown.runner));
        }
        self.touch(id);
    }

    /// SIGKILL to a container's process.
    pub(super) fn kill(&self, id: &ContainerId, code: i64) {
        if let Some(agent) = self.inner().containers.get_mut(id).and_then(|made| made.agent.take()) {
            agent.abort();
        }
        self.exited(id, code);
    }

    /// Somebody else removes it.
    pub(super) fn vanish(&self, id: &ContainerId) {
        self.kill(id, 137);
        self.inner().containers.remove(id);
        self.touch(id);
    }

    fn make(&self, spec: &ContainerSpec) -> Result<ContainerId, ProviderError> {
        let id = {
            let mut inner = self.inner();
            if inner.containers.values().any(|made| made.shown.runner == spec.runner) {
                return Err(ProviderError::NameTaken(spec.runner.clone()));
            }
            inner.made += 1;
            let id = ContainerId::new(format!("{}-{:05}", self.host, inner.made));
            let shown = Container {
                id: id.clone(),
                runner: spec.runner.clone(),
                pool: spec.pool.clone(),
                scope: spec.scope.clone(),
                host: spec.host.clone(),
                created_for: spec.created_for,
                registration: spec.registration,
                image: spec.image.clone(),
                image_id: None,
                kept: spec.kept.clone(),
                created_at: clock::now(),
                status: ContainerStatus::Created,
            };
            inner
                .containers
                .insert(id.clone(), Made { shown, start: spec.start.clone(), work: Arc::default(), agent: None });
            id
        };
        self.stage().judge.container_made(&self.stage());
        self.touch(&id);
        Ok(id)
    }

    fn begin(self: &Arc<Self>, id: &ContainerId, credential: &str) -> Result<(), ProviderError> {
        let (work, beginning) = {
            let mut inner = self.inner();
            let Some(made) = inner.containers.get_mut(id) else {
                return Err(ProviderError::Refused(format!("No such container: {id}")));
            };
            if made.shown.status != ContainerStatus::Created {
                return Err(ProviderError::Refused("it was started before".to_owned()));
            }
            made.shown.status = ContainerStatus::Running;
            let name = made.shown.runner.to_string();
            (made.work.clone(), Beginning { name, start: made.start.clone(), credential: credential.to_owned() })
        };
        let (engine, stage, own) = (self.clone(), self.stage(), id.clone());
        let dice = Dice::new(self.dice.next(), "agent");
        let task = tokio::spawn(async move {
            let code = work.unless_still(agent::live(stage, beginning, work.clone(), dice)).await;
            engine.exited(&own, code);
        });
        if let Some(made) = self.inner().containers.get_mut(id) {
            made.agent = Some(task.abort_handle());
        }
        self.touch(id);
        Ok(())
    }

    /// One that has ended, or is gone, is no error.
    #[expect(clippy::unnecessary_wraps, reason = "it is the answer to a call that may fail on its way")]
    fn stand_still(&self, id: &ContainerId, still: bool) -> Result<(), ProviderError> {
        if let Some(made) = self.inner().containers.get(id) {
            made.work.stand_still(still);
        }
        Ok(())
    }

    fn take_away(&self, id: &ContainerId) {
        let Some(made) = self.inner().containers.remove(id) else { return };
        if made.shown.status == ContainerStatus::Running {
            let stage = self.stage();
            stage.judge.ended_from_outside(&stage, &made.shown.runner, made.work.job());
        }
        if let Some(agent) = made.agent {
            agent.abort();
        }
        self.touch(id);
    }

    fn find(&self, id: &ContainerId) -> Option<Container> {
        self.inner().containers.get(id).map(|made| made.shown.clone())
    }

    /// The feed of news, as the real one makes it.
    async fn tell(self: Arc<Self>, life: Arc<Life>, sender: mpsc::Sender<ContainerNews>) {
        let (mut wait, mut lost) = (BACK_OFF.0, false);
        loop {
            if self.is_away().is_none() {
                (wait, lost) = (BACK_OFF.0, false);
                if self.follow(&life, &sender).await.is_err() {
                    return;
                }
            }
            if !std::mem::replace(&mut lost, true)
                && sender.send(ContainerNews::Lost("the engine's events ended".to_owned())).await.is_err()
            {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACK_OFF.1);
        }
    }

    /// Until the events end. `Err`: nobody listens any more.
    async fn follow(&self, life: &Life, sender: &mpsc::Sender<ContainerNews>) -> Result<(), ()> {
        let (watcher, mut told) = mpsc::unbounded_channel();
        self.inner().watchers.push(watcher);
        life.gate().await;
        sender.send(ContainerNews::All(self.containers())).await.map_err(drop)?;
        let mut again = tokio::time::interval_at(tokio::time::Instant::now() + AGAIN, AGAIN);
        loop {
            let told = tokio::select! {
                biased;
                () = sender.closed() => return Err(()),
                _ = again.tick() => None,
                told = told.recv() => Some(told),
            };
            let late = self.stage().weather().late_news;
            let wait = if self.dice.happens(late) { self.dice.seconds(1, 15) } else { self.dice.millis(1, 40) };
            let news = match told {
                Some(None | Some(Told::Cut)) => return Ok(()),
                Some(Some(Told::Touched(id))) => {
                    tokio::time::sleep(wait).await;
                    match self.find(&id) {
                        Some(container) => ContainerNews::Changed(container),
                        None => ContainerNews::Gone(id),
                    }
                }
                None => ContainerNews::All(self.containers()),
            };
            if self.is_away().is_some() {
                return Ok(());
            }
            tokio::time::sleep(self.dice.millis(0, 20)).await;
            life.gate().await;
            sender.send(news).await.map_err(drop)?;
        }
    }
}

/// An engine as one process of the program reaches it.
pub(super) struct Reached {
    pub(super) life: Arc<Life>,
    pub(super) engine: Arc<Engine>,
}

impl Reached {
    async fn call<T: Send>(
        &self,
        what: &str,
        act: impl Future<Output = Result<T, ProviderError>> + Send,
    ) -> Result<T, ProviderError> {
        let rates = self.life.stage().weather().engine;
        self.life.call(what, rates, self.engine.is_away(), ProviderError::Unavailable, act).await
    }
}

#[async_trait]
impl Provider for Reached {
    async fn prepare(&self, _: &Network) -> Result<(), ProviderError> {
        self.call("prepare the network", async { Ok(()) }).await
    }

    async fn create(&self, spec: &ContainerSpec) -> Result<ContainerId, ProviderError> {
        tokio::time::sleep(self.engine.dice.millis(5, 400)).await;
        let refused = self.life.stage().weather().engine.refused;
        let act = async {
            if self.engine.dice.happens(refused / 2) {
                return Err(ProviderError::Refused("no space left on device".to_owned()));
            }
            self.engine.make(spec)
        };
        self.call(&format!("create {}", spec.runner), act).await
    }

    async fn start(&self, id: &ContainerId, credential: &SecretString) -> Result<(), ProviderError> {
        tokio::time::sleep(self.engine.dice.millis(50, 400)).await;
        let act = async { self.engine.begin(id, credential.expose_secret()) };
        self.call(&format!("start {id}"), act).await
    }

    async fn start_again(&self, _: &ContainerId) -> Result<(), ProviderError> {
        Err(ProviderError::Refused("persistent runners are not part of this".to_owned()))
    }

    async fn stop(&self, id: &ContainerId, _: Duration) -> Result<(), ProviderError> {
        let act = async {
            self.engine.kill(id, 143);
            Ok(())
        };
        self.call(&format!("stop {id}"), act).await
    }

    async fn keep_up(&self, _: &ContainerId, _: bool) -> Result<(), ProviderError> {
        Err(ProviderError::Refused("persistent runners are not part of this".to_owned()))
    }

    async fn list(&self) -> Result<Vec<Container>, ProviderError> {
        self.call("list", async { Ok(self.engine.containers()) }).await
    }

    async fn look(&self, id: &ContainerId) -> Result<Option<Container>, ProviderError> {
        self.call(&format!("look at {id}"), async { Ok(self.engine.find(id)) }).await
    }

    async fn find(&self, runner: &RunnerName) -> Result<Option<Container>, ProviderError> {
        let all = async { Ok(self.engine.containers().into_iter().find(|container| container.runner == *runner)) };
        self.call(&format!("find {runner}"), all).await
    }

    async fn logs(&self, _: &ContainerId, _: &LogQuery) -> Result<Option<LogStream>, ProviderError> {
        Ok(None)
    }

    async fn image_id(&self, _: &str) -> Result<Option<ImageId>, ProviderError> {
        Ok(None)
    }

    fn watch(&self) -> mpsc::Receiver<ContainerNews> {
        let (sender, receiver) = mpsc::channel(UNREAD);
        tokio::spawn(self.engine.clone().tell(self.life.clone(), sender));
        receiver
    }

    async fn runs_a_job(&self, id: &ContainerId) -> Result<bool, ProviderError> {
        let act = async {
            let inner = self.engine.inner();
            let made = inner.containers.get(id);
            Ok(made.is_some_and(|made| made.shown.status == ContainerStatus::Running && made.work.has_worker()))
        };
        self.call(&format!("look for a job in {id}"), act).await
    }

    async fn pause(&self, id: &ContainerId) -> Result<(), ProviderError> {
        self.call(&format!("pause {id}"), async { self.engine.stand_still(id, true) }).await
    }

    async fn unpause(&self, id: &ContainerId) -> Result<(), ProviderError> {
        self.call(&format!("unpause {id}"), async { self.engine.stand_still(id, false) }).await
    }

    async fn evidence(&self, id: &ContainerId) -> Result<Option<Evidence>, ProviderError> {
        let act = async {
            Ok(self.engine.find(id).map(|container| Evidence {
                exit_code: match container.status {
                    ContainerStatus::Exited { exit_code, .. } => Some(exit_code),
                    ContainerStatus::Created | ContainerStatus::Running => None,
                },
                ..Evidence::default()
            }))
        };
        self.call(&format!("evidence of {id}"), act).await
    }

    async fn remove(&self, id: &ContainerId) -> Result<(), ProviderError> {
        // One that hangs at its stop.
        if self.engine.dice.happens(self.life.stage().weather().engine.slow) {
            tokio::time::sleep(self.engine.dice.seconds(5, 90)).await;
        }
        let act = async {
            self.engine.take_away(id);
            Ok(())
        };
        self.call(&format!("remove {id}"), act).await
    }

    async fn capacity(&self) -> Result<Capacity, ProviderError> {
        let act = async { Ok(Capacity { cpus: 8, memory: 64 << 30, disk_free: Some(100 << 30) }) };
        self.call("capacity", act).await
    }

    async fn ping(&self) -> Result<String, ProviderError> {
        self.call("ping", async { Ok("simulated".to_owned()) }).await
    }
}
