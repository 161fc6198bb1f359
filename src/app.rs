//! The composition: which parts there are, and how they are joined. Reads top to bottom.

use crate::admin::{self, Desk};
use crate::config::{Backend, Config, IntakeMode};
use crate::credentials::Live;
use crate::github::Client;
use crate::inbound::Inbound;
use crate::ingest;
use crate::maintenance::Maintenance;
use crate::missed;
use crate::missed::report::Missed;
use crate::notify::Notifier;
use crate::persistent::{self, Keeper, Reread};
use crate::provider::Provider;
use crate::provider::docker::Docker;
use crate::queue::Queue;
use crate::readiness::Probes;
use crate::reconcile::execute::Executor;
use crate::reconcile::memory::Memory;
use crate::reconcile::{self, feeds, groups, installations};
use crate::registry::{self, DockerLogins};
use crate::scheduler::{self, Actions};
use crate::store::Store;
use crate::update::Environment;
use crate::webhook::{self, Receiver};
use anyhow::Context;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

/// After SIGTERM, requests that are being answered have so long. GitHub itself gives up after 10 seconds; longer would let a
/// sender that dawdles hold the program up.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// After SIGTERM, actions under way have so long to end. What is cut off, the next start recovers.
const LAST_ACTIONS: Duration = Duration::from_secs(60);

/// After SIGTERM, notifications that wait have so long.
const LAST_NOTICES: Duration = Duration::from_secs(5);

/// Everything that `serve` is made of, joined and not yet moving. The verbs that run without a `serve` use it as well.
pub struct Parts {
    /// The file.
    pub config: Arc<Config>,
    /// Events.
    pub queue: Arc<dyn Queue>,
    /// Rows.
    pub store: Arc<dyn Store>,
    /// Containers.
    pub provider: Arc<dyn Provider>,
    /// GitHub.
    pub client: Client,
    /// What is known.
    pub memory: Arc<Memory>,
    /// The hands.
    pub executor: Arc<Executor>,
    /// Looks after persistent runners.
    pub keeper: Keeper,
    /// Who is told.
    pub notifier: Notifier,
    /// What the scheduler does; without it there is no scheduler.
    pub scheduled: Option<Arc<dyn Actions>>,
}

/// Where the configuration came from, so that it can be read again and changed.
#[derive(Clone)]
pub struct FromFile {
    /// Reads it again.
    pub reread: Reread,
    /// The environment: for its `${…}`, and for where Docker's logins are.
    pub env: Environment,
}

/// The engine of the configuration, which is not asked anything yet; with the logins of registries where the environment is
/// known.
///
/// # Errors
/// Its address is none that this program can speak to.
pub fn engine(config: &Config, env: Option<&Environment>) -> anyhow::Result<Docker> {
    let docker = Docker::connect(&config.docker, &config.instance, &config.host).context("preparing Docker")?;
    Ok(match env {
        Some(env) => docker.with_credentials(Arc::new(DockerLogins::of_docker(&**env))),
        None => docker,
    })
}

/// The durable memory of the configuration.
///
/// # Errors
/// The embedded file is held by another process, damaged, or cannot be made. Redis is connected to lazily.
pub fn open_store(config: &Config) -> anyhow::Result<(Arc<dyn Queue>, Arc<dyn Store>)> {
    match &config.store.backend {
        Backend::Embedded { path } => {
            let db = crate::durable::embedded::open(path, config.store.visibility_timeout)?;
            Ok((db.queue(), db.store()))
        }
        Backend::Redis(redis) => {
            let db = crate::durable::redis::connect(redis, &config.host, config.store.visibility_timeout)?;
            Ok((db.queue(), db.store()))
        }
    }
}

impl Parts {
    /// Joins the parts. Nothing is asked of the network here: Docker, Redis and GitHub may all be away.
    /// `file` is read again before a deploy; none: the configuration stays as it is, and there is no scheduler.
    ///
    /// # Errors
    /// A key cannot be read, or Docker's address makes no sense.
    pub fn join(
        config: Arc<Config>,
        queue: Arc<dyn Queue>,
        store: Arc<dyn Store>,
        file: Option<&FromFile>,
    ) -> anyhow::Result<Self> {
        let client = Client::new(&config.github).context("preparing the GitHub client")?;
        let docker = engine(&config, file.map(|file| &file.env))?;
        let provider: Arc<dyn Provider> = Arc::new(docker.clone());
        let memory = Arc::new(Memory::new(config.host.clone()));
        // Measured on Docker 20.10: beyond two starts for each processor only the latency of each grows.
        let starts = config
            .docker
            .concurrent_starts
            .unwrap_or_else(|| 2 * std::thread::available_parallelism().map_or(2, std::num::NonZero::get));
        let starts = Arc::new(Semaphore::new(starts));
        let notifier = Notifier::start(&config);
        let executor = Arc::new(Executor {
            config: config.clone(),
            store: store.clone(),
            provider: provider.clone(),
            client: client.clone(),
            memory: memory.clone(),
            starts: starts.clone(),
            notifier: notifier.clone(),
        });
        let keeper = Keeper::new(persistent::Parts {
            config: config.clone(),
            store: store.clone(),
            provider: provider.clone(),
            client: client.clone(),
            memory: memory.clone(),
            starts,
            reread: file.map(|file| file.reread.clone()),
            notifier: notifier.clone(),
        });
        let scheduled = match file {
            None => None,
            Some(FromFile { reread, env }) => Some(Arc::new(Maintenance {
                docker,
                registries: registry::Client::new(DockerLogins::of_docker(&**env)).context("preparing registries")?,
                keeper: keeper.clone(),
                notifier: notifier.clone(),
                reread: reread.clone(),
                env: env.clone(),
                found: Mutex::default(),
            }) as Arc<dyn Actions>),
        };
        Ok(Self { config, queue, store, provider, client, memory, executor, keeper, notifier, scheduled })
    }
}

/// A `serve` that runs.
pub struct Running {
    /// Where it receives.
    pub addr: SocketAddr,
    /// What it knows.
    pub memory: Arc<Memory>,
    /// Looks after persistent runners.
    pub keeper: Keeper,
    /// Secrets and keys; none where the configuration came from no file.
    pub live: Option<Arc<Live>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Stops taking deliveries, lets what is being answered and actions under way end, leaves running jobs alone.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            warn!("the program's last task broke: {error}");
        }
    }
}

/// Starts everything with this configuration; it is never read again.
///
/// # Errors
/// As [`start_reading`].
pub async fn start(config: Config) -> anyhow::Result<Running> {
    start_reading(config, None).await
}

/// Starts everything: receiver, ingest, the feeds, the reconciler, the keeper, the scheduler, the local socket. `file` is read
/// again before a deploy.
///
/// # Errors
/// The address or the socket is taken, the store is held by another process, or a key cannot be read.
pub async fn start_reading(config: Config, file: Option<FromFile>) -> anyhow::Result<Running> {
    start_on(config, file, None).await
}

/// The same on a socket that somebody else holds, and keeps while this program is restarted; none: `http.listen` is opened.
///
/// # Errors
/// As [`start_reading`].
pub async fn start_on(
    config: Config,
    file: Option<FromFile>,
    handed_over: Option<std::net::TcpListener>,
) -> anyhow::Result<Running> {
    let config = Arc::new(config);
    // The socket first: a second `serve` on the same folder is told so before it touches anything.
    let (desk_listener, socket_file) = admin::listen(&config.http.admin_socket)
        .await
        .with_context(|| format!("opening the local socket {}", config.http.admin_socket.display()))?;
    let listener = listener(config.http.listen, handed_over).await?;
    let addr = listener.local_addr().context("asking for the address that was bound")?;
    let inbound = Inbound::open(&config.http).context("reading the certificate of http.tls")?;
    let scheme = inbound.scheme();

    // Durable memory, Docker, GitHub: joined, none of them asked yet.
    let (queue, store) = open_store(&config)?;
    let parts = Parts::join(config.clone(), queue, store, file.as_ref())?;
    let Parts { queue, store, provider, client, memory, executor, keeper, notifier, scheduled, .. } = parts;

    let stop = CancellationToken::new();
    let loops = TaskTracker::new();
    let actions = TaskTracker::new();
    // The receiver is the last to close: what it writes down meanwhile, the next start works off.
    let door = CancellationToken::new();

    // Feeds keep the memory current.
    loops.spawn(feeds::store(store.clone(), memory.clone(), stop.clone()));
    loops.spawn(feeds::lease(store.clone(), memory.clone(), config.clone(), stop.clone()));
    loops.spawn(feeds::containers(provider.clone(), memory.clone(), stop.clone()));
    loops.spawn(feeds::capacity(provider.clone(), memory.clone(), stop.clone()));
    loops.spawn(feeds::age_out(store.clone(), queue.clone(), config.clone(), stop.clone()));
    for scope in feeds::scopes(&config) {
        loops.spawn(feeds::registrations(client.clone(), memory.clone(), config.clone(), scope, stop.clone()));
    }
    loops.spawn(installations::follow(client.clone(), memory.clone(), config.clone(), stop.clone()));
    let groups = groups::follow(client.clone(), memory.clone(), config.clone(), store.clone(), stop.clone());
    loops.spawn(groups);
    // What all runners of a network share is made before the first of them.
    loops.spawn(feeds::networks(provider.clone(), config.clone(), stop.clone()));

    // Loop 1 and loop 2.
    loops.spawn(ingest::run(config.clone(), queue.clone(), store.clone(), memory.clone(), stop.clone()));
    loops.spawn(reconcile::run(config.clone(), memory.clone(), executor.clone(), actions.clone(), stop.clone()));

    // What GitHub sent and never arrived, and what it never sent.
    let missed = Missed::default();
    let missing = missed::Parts {
        config: config.clone(),
        queue: queue.clone(),
        store: store.clone(),
        client: client.clone(),
        memory: memory.clone(),
    };
    loops.spawn(missed::read_log(missing.clone(), missed.clone(), stop.clone()));
    loops.spawn(missed::list_jobs(missing, missed.clone(), stop.clone()));

    // Persistent runners: what they are wanted to be, they are.
    loops.spawn(keeper.clone().keep(stop.clone()));

    // What is done at regular times.
    if let Some(actions) = scheduled.filter(|_| config.scheduler.as_ref().is_some_and(|schedule| schedule.enabled)) {
        let (config, store, notifier, stop) = (config.clone(), store.clone(), notifier.clone(), stop.clone());
        loops.spawn(scheduler::run(config, store, actions, notifier, stop));
    }

    // The receiver, and the desk for the verbs.
    let readiness = Arc::new(Probes::new(store, provider, client.clone()).with_missed(missed.clone(), &config));
    let mut receiver = Receiver::new(config.clone(), Some(queue), readiness.clone());
    receiver.installations = memory.installations_bell();
    let known = client.clone();
    receiver.app = Arc::new(move || known.app_number());
    loops.spawn(receiver.sources.clone().keep_current(client.clone(), stop.clone()));
    // Secrets and keys may change while all this runs.
    let live = file.map(|file| Arc::new(Live::new(&config, file.reread, receiver.secrets.clone(), client.clone())));
    if let Some(live) = &live {
        loops.spawn(live.clone().follow(stop.clone()));
    }
    let desk = Desk { memory: memory.clone(), executor, keeper: keeper.clone(), live: live.clone(), readiness, missed };
    let desk = admin::router(desk);
    let desk_stop = stop.clone();
    let received = tokio::spawn(inbound.serve(listener, webhook::router(receiver), door.clone()));
    loops.spawn(async move {
        let served = axum::serve(desk_listener, desk).with_graceful_shutdown(desk_stop.cancelled_owned()).await;
        if let Err(error) = served {
            warn!("the local socket broke: {error}");
        }
    });
    if config.intake.mode == IntakeMode::Pull {
        info!(%addr, "jobs are read from GitHub's log, and none are received; /healthz and /readyz answer on {scheme}://{addr}");
    } else if config.intake.secrets.is_empty() {
        info!(%addr, "no pool is made for jobs, so none are received; /healthz and /readyz answer on {scheme}://{addr}");
    } else {
        info!(%addr, "listening on {scheme}://{addr}{}", config.intake.path);
    }

    let (stopped, ending) = (stop.clone(), keeper.clone());
    let task = tokio::spawn(async move {
        stopped.cancelled().await;
        ending.interrupt();
        loops.close();
        if tokio::time::timeout(LAST_ANSWERS, loops.wait()).await.is_err() {
            warn!("a loop was still not over after {} s; it is cut off", LAST_ANSWERS.as_secs());
        }
        actions.close();
        let under_way = async { tokio::join!(actions.wait(), ending.close()) };
        if tokio::time::timeout(LAST_ACTIONS, under_way).await.is_err() {
            warn!("actions were still under way after {} s; the next start recovers them", LAST_ACTIONS.as_secs());
        }
        notifier.finish(LAST_NOTICES).await;
        door.cancel();
        let cut = received.abort_handle();
        if tokio::time::timeout(LAST_ANSWERS, received).await.is_err() {
            warn!("a request was still not over after {} s; it is cut off", LAST_ANSWERS.as_secs());
            cut.abort();
        }
        drop(socket_file);
    });
    Ok(Running { addr, memory, keeper, live, stop, task })
}

/// Where the receiver takes connections.
async fn listener(address: SocketAddr, handed_over: Option<std::net::TcpListener>) -> anyhow::Result<TcpListener> {
    let Some(socket) = handed_over else {
        return TcpListener::bind(address).await.with_context(|| format!("listening on {address} (http.listen)"));
    };
    let listener = TcpListener::from_std(socket).context("taking the socket that was handed over")?;
    let given = listener.local_addr().context("asking for the address of the socket that was handed over")?;
    if given == address {
        info!("the socket on {given} was handed over by the service manager, who keeps it");
    } else {
        warn!(
            "the service manager handed over a socket on {given}, and that is where deliveries are taken; http.listen says \
             {address}: make the two the same"
        );
    }
    Ok(listener)
}
