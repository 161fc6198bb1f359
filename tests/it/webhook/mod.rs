//! The receiver through its front door: real HTTP, a real queue behind it, and where it matters ingest and the store.

/// Any bytes and headers get an answer.
mod anything;
/// A crowd comes to the whole program, which is then killed.
mod crowds;
/// What each kind of delivery is answered, and what it leaves in the queue.
mod deliveries;
/// Slow, silent, too many, too large: what clients may take up.
mod limits;
/// Ingest: orders, repetitions, re-runs.
mod order;
/// `/healthz` and `/readyz`.
mod probes;
/// Clients behind a proxy, and those who only say so.
mod proxies;
/// What is refused, and that nothing of it is stored.
mod refusals;
/// From where deliveries are taken.
mod sources;
/// Many at once, and the store away.
mod storms;
/// A certificate of its own.
mod tls;
/// HTTP by hand, for what no library does.
mod wire;

use crate::support::fleet;
use crate::support::payload::{Payload, sign};
use crate::support::redis::RedisServer;
use runnerfleet::config::{Backend, Config};
use runnerfleet::inbound::{Bodies, Inbound, Sources};
use runnerfleet::ingest;
use runnerfleet::model::{Job, JobId, JobKey};
use runnerfleet::queue::{Queue, QueuedEvent};
use runnerfleet::reconcile::memory::Memory;
use runnerfleet::store::{Store, Version};
use runnerfleet::webhook::{Readiness, Receiver, router};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// The secret of [`fleet::config`].
const SECRET: &str = "webhook-secret";

/// For a wait that ends at once when all is well, and later when a thousand wait on a busy machine.
const SOON: Duration = Duration::from_secs(60);

/// One delivery, as a hook would send it.
#[derive(Debug, Clone)]
struct Delivery {
    headers: BTreeMap<&'static str, String>,
    body: Vec<u8>,
}

impl Delivery {
    /// A `workflow_job` delivery whose GUID comes from its body, so that equal ones are one delivery.
    fn of(payload: &Payload) -> Self {
        Self::bytes("workflow_job", payload.bytes())
    }

    fn bytes(event: &str, body: Vec<u8>) -> Self {
        let signature = sign(SECRET, &body);
        let headers = [
            ("content-type", "application/json"),
            ("user-agent", "GitHub-Hookshot/044aadd"),
            ("x-github-hook-id", "42"),
            ("x-github-event", event),
            ("x-github-delivery", &signature[7..43]),
            ("x-hub-signature-256", &signature),
        ];
        Self { headers: headers.map(|(name, value)| (name, value.to_owned())).into(), body }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.insert(name, value.into());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    fn signed_with(self, secret: &str) -> Self {
        let signature = sign(secret, &self.body);
        self.header("x-hub-signature-256", signature)
    }
}

/// What the sender is told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    code: u16,
    status: String,
    why: String,
}

impl Answer {
    #[track_caller]
    fn is(&self, code: u16, status: &str, why: &str) {
        assert_eq!((self.code, self.status.as_str()), (code, status), "{self:?}");
        assert!(self.why.contains(why), "`{why}` is not in {self:?}");
        assert!(why.is_empty() == self.why.is_empty(), "{self:?}");
    }
}

/// Says that all is well.
struct AllWell;

#[async_trait::async_trait]
impl Readiness for AllWell {
    async fn check(&self) -> BTreeMap<&'static str, Result<String, String>> {
        BTreeMap::new()
    }
}

/// A receiver that listens on a port of the loopback, with queue and store; and ingest, once it is asked for.
struct Door {
    config: Arc<Config>,
    addr: SocketAddr,
    client: reqwest::Client,
    parts: Option<Parts>,
    dir: Arc<TempDir>,
}

struct Parts {
    queue: Arc<dyn Queue>,
    store: Arc<dyn Store>,
    memory: Arc<Memory>,
    ingest: Option<AbortOnDropHandle<()>>,
    bodies: Arc<Bodies>,
    sources: Arc<Sources>,
    stop: CancellationToken,
    server: AbortOnDropHandle<()>,
}

impl Door {
    /// With one pool, `linux` and `x64`, of organization `acme`, and the embedded file.
    async fn open() -> Self {
        Self::open_with(|_| ()).await
    }

    /// With a configuration that was changed.
    async fn open_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mut config = fleet::config(dir.path().to_owned(), "fleet", vec![fleet::pool("linux", &["linux", "x64"])]);
        change(&mut config);
        Self::serve(Arc::new(config), dir).await
    }

    /// With Redis instead of the file.
    async fn open_on(redis: &RedisServer) -> Self {
        Self::open_with(|config| config.store.backend = Backend::Redis(redis.config())).await
    }

    async fn serve(config: Arc<Config>, dir: Arc<TempDir>) -> Self {
        let (queue, store) = runnerfleet::app::open_store(&config).unwrap();
        let memory = Arc::new(Memory::new(config.host.clone()));
        let listener = tokio::net::TcpListener::bind(config.http.listen).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let receiver = Receiver::new(config.clone(), Some(queue.clone()), Arc::new(AllWell));
        let (bodies, sources) = (receiver.bodies.clone(), receiver.sources.clone());
        let inbound = Inbound::open(&config.http).unwrap();
        let stop = CancellationToken::new();
        let server = inbound.serve(listener, router(receiver), stop.clone());
        let server = AbortOnDropHandle::new(tokio::spawn(server));
        let client = http_client();
        let parts = Parts { queue, store, memory, ingest: None, bodies, sources, stop, server };
        Self { config, addr, client, parts: Some(parts), dir }
    }

    /// The same program after it ended and started again, on the same files.
    async fn restarted(mut self) -> Self {
        let Parts { queue, store, memory, ingest, server, .. } = self.parts.take().unwrap();
        for task in [Some(server), ingest].into_iter().flatten() {
            task.abort();
            let _ = task.await;
        }
        // Connections that are served outlive the listener; the file is free when the last of them has gone.
        drop((store, memory));
        let client = std::mem::take(&mut self.client);
        drop(client);
        let queue = Arc::downgrade(&{ queue });
        until("the old process is gone", async || (queue.strong_count() == 0).then_some(())).await;
        Self::serve(self.config, self.dir).await
    }

    fn parts(&self) -> &Parts {
        self.parts.as_ref().unwrap()
    }

    async fn deliver(&self, delivery: &Delivery) -> Answer {
        let mut request = self.client.post(format!("http://{}/webhook", self.addr)).body(delivery.body.clone());
        for (name, value) in &delivery.headers {
            request = request.header(*name, value);
        }
        let answer = request.send().await.unwrap();
        let code = answer.status().as_u16();
        let body: Value = answer.json().await.unwrap();
        let text = |field: &str| body[field].as_str().unwrap_or_default().to_owned();
        Answer { code, status: text("status"), why: text("why") }
    }

    /// Delivers what must be queued.
    async fn queued(&self, payload: &Payload) {
        self.deliver(&Delivery::of(payload)).await.is(202, "queued", "");
    }

    /// All events in the queue, in order. Taken out for good.
    async fn stored(&self) -> Vec<QueuedEvent> {
        let queue = &self.parts().queue;
        let mut events = Vec::new();
        while queue.depth().await.unwrap() > 0 {
            let some = tokio::time::timeout(SOON, queue.receive(10_000)).await.expect("there is an event").unwrap();
            queue.ack(&some.iter().map(|event| event.id.clone()).collect::<Vec<_>>()).await.unwrap();
            events.extend(some.into_iter().map(|received| received.event.unwrap()));
        }
        events
    }

    /// Starts ingest.
    fn ingest(&mut self) {
        let config = self.config.clone();
        let parts = self.parts.as_mut().unwrap();
        let (queue, store, memory) = (parts.queue.clone(), parts.store.clone(), parts.memory.clone());
        let run = ingest::run(config, queue, store, memory, CancellationToken::new());
        parts.ingest = Some(AbortOnDropHandle::new(tokio::spawn(run)));
    }

    /// Until everything is applied.
    async fn settled(&self) {
        let empty = async || (self.parts().queue.depth().await.unwrap() == 0).then_some(());
        until("every event is applied", empty).await;
    }

    /// A job as it lies in the store, which memory must know as well.
    async fn job(&self, id: u64, attempt: u32) -> Option<(Version, Job)> {
        let key = JobKey { id: JobId(id), attempt };
        let mut snapshot = self.parts().store.load().await.unwrap();
        let stored = snapshot.jobs.remove(&key).map(|job| (job.version, job.row));
        let (version, known) = self.parts().memory.job(key);
        assert_eq!(stored, known.map(|job| (version, job.as_ref().clone())), "store and memory agree");
        stored
    }
}

/// As the command line does for the program.
fn provide_cryptography() {
    // An error only says that another test of this process was first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client that goes nowhere but where it is sent.
fn http_client() -> reqwest::Client {
    provide_cryptography();
    reqwest::Client::builder().no_proxy().timeout(SOON).build().unwrap()
}

/// Waits for a state, with a bound.
async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(SOON, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited for this in vain: {what}"))
}
