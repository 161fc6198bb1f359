//! The whole program on real parts: simulated GitHub, real Docker, the store that a test asks for, `serve` in this process.
//!
//! A story queues jobs at the simulated GitHub, waits for a state, and ends with [`TestApp::finish`], which holds that
//! nothing is left: no container, no network, no registration. Dropped without it (the test failed), it still clears away.

use super::docker::{TestFleet, docker};
use super::{fleet, process};
use runnerfleet::app::{self, Running};
use runnerfleet::config::{Backend, Config, GitHubAuth, Network, Pool};
use runnerfleet::model::{Container, JobKey, Runner, RunnerName, Scope, StateName};
use runnerfleet::provider::Provider;
use runnerfleet::simulation::github::{App, Handle, Options, SimulatedGitHub, Timings};
use runnerfleet::simulation::{agent, image, keys};
use secrecy::SecretString;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Longer than anything here takes on a busy machine with two processors; a story that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub const HOOK_SECRET: &str = "webhook-secret";

/// See the file's head.
pub struct TestApp {
    pub github: Handle,
    pub config: Config,
    pub serve: Option<Running>,
    pub fleet: TestFleet,
    pub folder: tempfile::TempDir,
}

/// A pool whose runners are stand-in agents.
pub fn pool(name: &str, labels: &[&str]) -> Pool {
    let mut pool = fleet::pool(name, labels);
    pool.resources.memory = 128 << 20;
    pool.network = Network::Isolated;
    pool.idle_timeout = Duration::from_secs(3);
    pool
}

impl TestApp {
    /// With these pools and the embedded store.
    pub async fn start(pools: Vec<Pool>) -> Self {
        Self::with(pools, |_, _| {}).await
    }

    /// With these pools; `change` sees the configuration and the simulated GitHub's options before anything starts.
    pub async fn with(pools: Vec<Pool>, change: impl FnOnce(&mut Config, &mut Options)) -> Self {
        let mut app = Self::set_up(pools, change).await;
        app.serve().await;
        app
    }

    /// Everything but `serve`.
    pub async fn set_up(pools: Vec<Pool>, change: impl FnOnce(&mut Config, &mut Options)) -> Self {
        // Shown where the test fails.
        let filter = tracing_subscriber::EnvFilter::try_from_default_env();
        let _ = tracing_subscriber::fmt()
            .with_env_filter(filter.unwrap_or_else(|_| "runnerfleet=info".into()))
            .with_ansi(false)
            .with_test_writer()
            .try_init();
        let fleet = TestFleet::start("app").await;
        let program = Path::new(env!("CARGO_BIN_EXE_runnerfleet"));
        let image = image::ensure(&fleet.docker, program, "runnerfleet/stand-in", agent::RUN_SH, agent::CONFIG_SH)
            .await
            .expect("the image of the stand-in agent");
        fleet.docker.prepare(&Network::Isolated).await.expect("the runners' network");
        let gateway = fleet.docker.network_gateway(&Network::Isolated).await.expect("its gateway");
        let folder = tempfile::tempdir().expect("a folder");
        let key = keys::generate().expect("a key");
        let hub = App::with_public_key(&key.public_pem);
        let mut config = fleet::config(folder.path().to_owned(), fleet.instance.as_str(), pools);
        config.github.auth =
            GitHubAuth::App { issuer: hub.client_id.clone(), private_key: key.private_pem, installation: None };
        config.github.poll_runners = Duration::from_secs(6);
        for pool in &mut config.pools {
            pool.image.clone_from(&image);
        }
        let mut options = Options {
            agents: Some(SocketAddr::new(gateway, 0)),
            timings: Timings { poll: Duration::from_secs(2), ..Timings::default() },
            ..Options::acme(hub)
        };
        change(&mut config, &mut options);
        let github = SimulatedGitHub::start(options).await.expect("the simulated GitHub");
        github.api_url().clone_into(&mut config.github.api_url);
        for pool in &mut config.pools {
            // An agent that registers itself asks the address that its container can reach.
            pool.scope_url = format!("{}/{}", github.agent_url(), pool.scope);
        }
        Self { github, config, serve: None, fleet, folder }
    }

    /// Starts `serve` in this process and points the hook at it.
    pub async fn serve(&mut self) {
        self.serve_without_store().await;
        self.ready().await;
    }

    /// The same where the store is away: it cannot be read yet.
    pub async fn serve_without_store(&mut self) {
        let serve = app::start(self.config.clone()).await.expect("`serve` starts");
        self.github.set_webhook(format!("http://{}/webhook", serve.addr), Some(SecretString::from(HOOK_SECRET)));
        self.serve = Some(serve);
    }

    /// Until the store was read: before that the world is empty because nobody has looked.
    async fn ready(&self) {
        let memory = &self.serve.as_ref().expect("`serve` runs").memory;
        let read = tokio::time::timeout(PATIENCE, async {
            while !memory.is_ready() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        read.await.expect("`serve` reads the store");
    }

    /// Stops `serve` as SIGTERM does.
    pub async fn stop_serve(&mut self) {
        if let Some(serve) = self.serve.take() {
            serve.stop().await;
        }
    }

    /// What `serve` knows.
    pub fn world(&self) -> runnerfleet::plan::World {
        self.serve.as_ref().expect("`serve` runs").memory.world()
    }

    /// The rows of all runners.
    pub fn runners(&self) -> Vec<Arc<Runner>> {
        let serve = self.serve.as_ref().expect("`serve` runs");
        serve.memory.world().runners.into_values().collect()
    }

    /// One runner's row.
    pub fn runner(&self, name: &str) -> Option<Arc<Runner>> {
        self.runners().into_iter().find(|runner| runner.name == RunnerName::new(name))
    }

    /// Until the world that `serve` sees is as wanted.
    pub async fn until(&self, what: &str, holds: impl Fn(&runnerfleet::plan::World) -> bool) {
        let serve = self.serve.as_ref().expect("`serve` runs");
        let looked = tokio::time::timeout(PATIENCE, async {
            while !holds(&serve.memory.world()) {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
        });
        if looked.await.is_err() {
            let world = serve.memory.world();
            let rows: Vec<_> =
                world.runners.values().map(|runner| format!("{}: {:?}", runner.name, runner.history)).collect();
            let jobs: Vec<_> =
                world.jobs.values().map(|job| format!("{} of {:?}: {:?}", job.key(), job.pool, job.state)).collect();
            panic!(
                "not seen within {PATIENCE:?}: {what}\nrunners:\n{}\njobs:\n{}\nGitHub:\n{}",
                rows.join("\n"),
                jobs.join("\n"),
                self.github.state()
            );
        }
    }

    /// Until every runner is removed.
    pub async fn settled(&self) {
        self.until("all runners removed", |world| {
            world.runners.values().all(|runner| runner.state.name == StateName::Removed)
        })
        .await;
    }

    /// Until a job is over; the name of the runner that had it.
    pub async fn served(&self, job: JobKey) -> Option<String> {
        let over = self.github.wait_for_job(job, PATIENCE).await;
        let job = over.unwrap_or_else(|error| panic!("{error}\n{}", process::logs(self.folder.path())));
        job.runner.map(|runner| runner.name)
    }

    /// The fleet's containers, as the engine lists them.
    pub async fn containers(&self) -> Vec<Container> {
        self.fleet.docker.list().await.expect("the engine answers")
    }

    /// Ends the story: nothing may be left.
    pub async fn finish(mut self) {
        self.settled().await;
        let acme = self.github.runners(&Scope::Organization("acme".to_owned()));
        assert!(acme.is_empty(), "registrations are left:\n{}", self.github.state());
        let left = self.containers().await;
        assert!(left.is_empty(), "containers are left: {left:?}");
        self.stop_serve().await;
        let ours = format!("label=runnerfleet.instance={}", self.fleet.instance);
        let networks = docker(&["network", "ls", "--format", "{{.Name}}", "--filter", &ours]);
        assert_eq!(networks.trim(), self.fleet.network(), "the fleet's own network, and no other");
    }
}

/// The file of the embedded store, for tests that look at it or start a process of their own.
pub fn store_file(config: &Config) -> Option<std::path::PathBuf> {
    match &config.store.backend {
        Backend::Embedded { path } => Some(path.clone()),
        Backend::Redis(_) => None,
    }
}
