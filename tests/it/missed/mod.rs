//! What GitHub sent and never arrived, and what it never sent: the two loops against the simulated GitHub, on real stores,
//! without Docker. Every request and answer is held against GitHub's description.

mod jobs;
mod log;
mod managers;
mod outage;
mod trouble;

use crate::support::fleet;
use crate::support::openapi::{check_request, check_response};
use jiff::Timestamp;
use runnerfleet::app::open_store;
use runnerfleet::config::{Config, GitHubAuth};
use runnerfleet::github::Client;
use runnerfleet::ingest;
use runnerfleet::missed::report::Missed;
use runnerfleet::missed::{Parts, list_jobs, read_log};
use runnerfleet::model::{JobKey, JobState, after};
use runnerfleet::queue::Queue;
use runnerfleet::reconcile::feeds::read_store;
use runnerfleet::reconcile::memory::Memory;
use runnerfleet::simulation::github::{App, Handle, JobSpec, Options, SimulatedGitHub};
use runnerfleet::simulation::keys;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Longer than anything here takes on a busy machine: a turn that a dead manager had lapses after a minute.
const PATIENCE: Duration = Duration::from_secs(100);

/// The log of deliveries, a page at a time.
const PAGES: &str = "GET /app/hook/deliveries";
/// One delivery with its payload.
const PAYLOADS: &str = "GET /app/hook/deliveries/{delivery_id}";
/// Lists of runs.
const RUNS: &str = "GET /repos/{owner}/{repo}/actions/runs";

/// Longer than an attempt may take: what is older is not under way any more.
const OVER: Duration = Duration::from_secs(60);

/// A GitHub whose deliveries arrive nowhere, and the configuration of a fleet.
struct Bed {
    github: Handle,
    config: Config,
    _folder: tempfile::TempDir,
}

/// One manager: the loops, ingest, and what they stand on. It ends when it is dropped.
struct Manager {
    queue: Arc<dyn Queue>,
    memory: Arc<Memory>,
    missed: Missed,
    stop: CancellationToken,
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl Bed {
    /// With one pool, `linux`, of organization acme, whose log is read every second; `change` sees all of it before it starts.
    async fn start(change: impl FnOnce(&mut Config, &mut Options)) -> Self {
        let filter = tracing_subscriber::EnvFilter::try_from_default_env();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter.unwrap_or_else(|_| "runnerfleet=debug".into()))
            .with_ansi(false)
            .with_test_writer()
            .try_init();
        let folder = tempfile::tempdir().unwrap();
        let key = keys::generate().unwrap();
        let app = App::with_public_key(&key.public_pem);
        let mut config = fleet::config(folder.path().to_owned(), "fleet", vec![fleet::pool("linux", &["linux"])]);
        config.github.auth =
            GitHubAuth::App { issuer: app.client_id.clone(), private_key: key.private_pem, installation: None };
        config.github.poll_deliveries = Some(Duration::from_secs(1));
        let mut options = Options::acme(app);
        change(&mut config, &mut options);
        let github = SimulatedGitHub::start(options).await.unwrap();
        // Nobody listens there.
        github.set_webhook("http://127.0.0.1:9/webhook", None);
        github.api_url().clone_into(&mut config.github.api_url);
        Self { github, config, _folder: folder }
    }

    /// So many jobs whose deliveries do not arrive, all of them long ago.
    async fn lose(&self, jobs: usize, ago: Duration) -> Vec<JobKey> {
        let keys = (0..jobs).map(|_| self.github.queue_job(job())).collect();
        self.github.webhooks_settled(PATIENCE).await.unwrap();
        self.github.backdate(ago);
        keys
    }

    async fn manager(&self) -> Manager {
        Manager::start(&self.config).await
    }

    /// How many requests of this kind there were. A list's pattern counts payloads as well, so those are taken off.
    fn count(&self, pattern: &str) -> usize {
        let all = self.github.requests(pattern).len();
        if pattern == PAGES { all - self.github.requests(PAYLOADS).len() } else { all }
    }

    /// Which deliveries were fetched, each as often as it was.
    fn fetched(&self) -> Vec<String> {
        let exchanges = self.github.exchanges().into_iter();
        exchanges
            .filter(|it| format!("GET {}", it.template) == PAYLOADS && it.status == 200)
            .map(|it| it.path)
            .collect()
    }

    /// Until so many readings of the log have begun since now.
    async fn readings(&self, more: usize) {
        let wanted = self.count(PAGES) + more;
        until(&format!("{wanted} readings"), || self.count(PAGES) >= wanted).await;
    }

    /// Ends the story: GitHub would have understood all that it was asked, and answered so.
    fn finish(self) {
        for exchange in self.github.exchanges() {
            let (method, path) = (&exchange.method, &exchange.path);
            check_request(method, path, &exchange.query, exchange.request.as_ref()).unwrap();
            if !exchange.faulty && exchange.status != 0 {
                check_response(method, path, exchange.status, exchange.response.as_ref()).unwrap();
            }
        }
    }
}

impl Manager {
    async fn start(config: &Config) -> Self {
        let config = Arc::new(config.clone());
        let (queue, store) = open_store(&config).unwrap();
        let memory = Arc::new(Memory::new(config.host.clone()));
        read_store(store.as_ref(), &memory).await.unwrap();
        memory.set_own_lease(after(Timestamp::now(), Duration::from_secs(3600)));
        let client = Client::new(&config.github).unwrap();
        let (missed, stop) = (Missed::default(), CancellationToken::new());
        let parts = Parts {
            config: config.clone(),
            queue: queue.clone(),
            store: store.clone(),
            client,
            memory: memory.clone(),
        };
        let ingest = ingest::run(config, queue.clone(), store, memory.clone(), stop.clone());
        let tasks = vec![
            AbortOnDropHandle::new(tokio::spawn(ingest)),
            AbortOnDropHandle::new(tokio::spawn(read_log(parts.clone(), missed.clone(), stop.clone()))),
            AbortOnDropHandle::new(tokio::spawn(list_jobs(parts, missed.clone(), stop.clone()))),
        ];
        Self { queue, memory, missed, stop, tasks }
    }

    /// As a crash does it: what was under way is cut off. Ends when the files are free.
    async fn kill(self) {
        let queue = Arc::downgrade(&self.queue);
        self.stop.cancel();
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
        drop((self.queue, self.memory));
        until("the files are free", || queue.strong_count() == 0).await;
    }

    fn is_queued(&self, job: JobKey) -> bool {
        self.memory.job(job).1.is_some_and(|job| job.is_queued())
    }

    /// Until all of these jobs are demand.
    async fn knows(&self, jobs: &[JobKey]) {
        until("all jobs are queued here", || jobs.iter().all(|job| self.is_queued(*job))).await;
    }

    fn state(&self, job: JobKey) -> Option<JobState> {
        self.memory.job(job).1.map(|job| job.state.clone())
    }

    fn made_good(&self) -> u64 {
        self.missed.report().log.map_or(0, |log| log.made_good)
    }
}

fn job() -> JobSpec {
    JobSpec::new("acme/web", ["linux"])
}

fn none_twice(fetched: &[String]) {
    let different: BTreeSet<_> = fetched.iter().collect();
    assert_eq!(different.len(), fetched.len(), "a payload was fetched twice");
}

/// Waits for a state, with a bound.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let looked = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(looked.await.is_ok(), "not seen within {PATIENCE:?}: {what}");
}
