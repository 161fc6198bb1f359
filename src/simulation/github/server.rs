//! Listening, and the outages that can be switched on.

use super::model::{Model, Urls};
use super::options::Options;
use super::recorder::Recorder;
use super::webhooks::{Courier, Road};
use super::{Budgets, Faults, Shared, agent_api, api, clock, lock, pages};
use crate::simulation::changes::Changes;
use axum::Router;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The longest sleep between two looks at the deadlines.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// The shortest: deadlines are not met more exactly than this.
const SHORTEST_SLEEP: Duration = Duration::from_millis(5);

/// What of this GitHub is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outage {
    /// Nothing.
    None,
    /// The REST API answers 503; agents and deliveries go on.
    Api,
    /// New connections are closed at once, and open ones get a 503: also for the agents.
    Everything,
}

/// The present outage.
#[derive(Debug, Default)]
pub(super) struct OutageSwitch(AtomicU8);

impl OutageSwitch {
    pub(super) fn set(&self, outage: Outage) {
        self.0.store(outage as u8, Ordering::SeqCst);
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst) != Outage::None as u8
    }

    pub(super) fn is_total(&self) -> bool {
        self.0.load(Ordering::SeqCst) == Outage::Everything as u8
    }
}

/// A listener that closes what comes during a total outage.
struct Gate {
    listener: TcpListener,
    shared: Arc<Shared>,
}

impl axum::serve::Listener for Gate {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            // The trait's own implementation deals with failing accepts.
            let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
            if self.shared.outage.is_total() {
                continue;
            }
            // Small answers on kept connections would wait for the peer's delayed ACK otherwise.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "no TCP_NODELAY on a connection of the simulated GitHub");
            }
            return (stream, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Binds, and starts everything.
pub(super) async fn start(options: Options) -> io::Result<(Arc<Shared>, TaskTracker)> {
    let listener = TcpListener::bind(options.listen).await?;
    let agents = match options.agents {
        Some(address) => Some(TcpListener::bind(address).await?),
        None => None,
    };
    let web = url(listener.local_addr()?);
    let for_agents = match (&options.agent_url, &agents) {
        (Some(url), _) => url.trim_end_matches('/').to_owned(),
        (None, Some(listener)) => url(listener.local_addr()?),
        (None, None) => web.clone(),
    };
    let urls = Urls { api: format!("{web}{}", options.base_path), web, agents: for_agents };
    // Already installed where the program itself runs; a test may begin here.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let road = Road::wire(options.timings.webhook).map_err(io::Error::other)?;
    let shared = prepare(options, urls, road);
    let tasks = TaskTracker::new();
    for listener in std::iter::once(listener).chain(agents) {
        let routes: Router =
            agent_api::routes(&shared).merge(pages::routes()).fallback(api::serve).with_state(Arc::clone(&shared));
        let gate = Gate { listener, shared: Arc::clone(&shared) };
        let stop = shared.stop.clone().cancelled_owned();
        tasks.spawn(async move {
            if let Err(error) = axum::serve(gate, routes).with_graceful_shutdown(stop).await {
                tracing::error!(%error, "the simulated GitHub stopped listening");
            }
        });
    }
    tasks.spawn(keep_deadlines(Arc::clone(&shared)));
    Ok((shared, tasks))
}

/// Starts one that is reached by nothing but calls within this process.
pub(super) fn start_within(options: Options, road: Road) -> (Arc<Shared>, TaskTracker) {
    let web = "http://github.simulated".to_owned();
    let urls = Urls { api: format!("{web}{}", options.base_path), agents: web.clone(), web };
    let shared = prepare(options, urls, road);
    let tasks = TaskTracker::new();
    tasks.spawn(keep_deadlines(Arc::clone(&shared)));
    (shared, tasks)
}

fn prepare(options: Options, urls: Urls, road: Road) -> Arc<Shared> {
    let version = Arc::new(Changes::default());
    let stop = CancellationToken::new();
    let target = options.webhook.clone();
    let courier = Courier::new(&options.app, target, road, options.seed, Arc::clone(&version), stop.clone());
    Arc::new(Shared {
        model: Mutex::new(Model::new(&options, urls.clone())),
        version,
        faults: Faults::default(),
        recorder: Recorder::new(options.recorded),
        budgets: Mutex::new(Budgets::new(options.limits)),
        courier: Arc::new(courier),
        manifests: Mutex::new(HashMap::new()),
        personal_token: options.personal_token,
        urls,
        base_path: options.base_path,
        clock_ahead: options.clock_ahead,
        outage: OutageSwitch::default(),
        stop,
    })
}

/// Where a listener is reached from this machine.
fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://127.0.0.1:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// Lets the model settle whenever a deadline passes.
async fn keep_deadlines(shared: Arc<Shared>) {
    let mut version = shared.version.watch();
    loop {
        version.mark();
        let now = clock();
        let deadline = lock(&shared.model).next_deadline(now);
        let sleep = deadline.map_or(LONGEST_SLEEP, |deadline| {
            Duration::try_from(deadline.duration_since(now)).unwrap_or(Duration::ZERO)
        });
        tokio::select! {
            biased;
            () = tokio::time::sleep(sleep.clamp(SHORTEST_SLEEP, LONGEST_SLEEP)) => {
                shared.change(|_, _| ());
            }
            () = version.changed() => {}
            () = shared.stop.cancelled() => return,
        }
    }
}
