//! What the demo stands on: the simulated GitHub, the image, `serve`; and how all of it is cleared away again.

use super::{DemoArgs, patience};
use crate::app::{self, Running};
use crate::config::{self, Config, Network, file};
use crate::model::{HostId, InstanceId, JobKey, Scope, StateName};
use crate::provider::Provider;
use crate::provider::docker::Docker;
use crate::simulation::github::{App, Handle, JobSpec, Options, SimulatedGitHub, Stage as JobStage};
use crate::simulation::{agent, image, keys};
use anyhow::{Context, bail};
use futures_util::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

/// How often the progress is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Containers that are removed at the same time.
const AT_ONCE: usize = 8;

/// The secret of the demo's hook. It never leaves this machine's loopback.
const HOOK_SECRET: &str = "the demo's own secret";

/// Runners end by themselves after their job; what has not gone by then is told as left behind.
const CLEARED_WITHIN: Duration = Duration::from_secs(30);

/// Everything that the demo started.
pub(super) struct Stage {
    pub(super) github: Handle,
    pub(super) serve: Running,
    pub(super) pools: Vec<String>,
    pub(super) jobs: Mutex<Vec<(JobKey, String)>>,
    docker: Docker,
    folder: PathBuf,
    instance: InstanceId,
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) queued: u32,
    pub(super) running: u32,
    pub(super) completed: u32,
    pub(super) runners: usize,
}

impl Stage {
    pub(super) async fn set_up(args: &DemoArgs) -> anyhow::Result<Self> {
        let instance = InstanceId::new(format!("demo-{}", std::process::id()));
        let host = HostId::new("demo");
        let engine =
            config::Docker { url: None, max_runners: args.concurrency, reserve_memory: 0, concurrent_starts: None };
        let docker = Docker::connect(&engine, &instance, &host)?;
        docker.ping().await.context(
            "the demo needs a Docker engine (start it with `systemctl start docker`, or run `scripts/demo`, which installs one)",
        )?;
        let program = std::env::current_exe().context("finding this program's file")?;
        let image = image::ensure(&docker, &program, "runnerfleet/stand-in", agent::RUN_SH, agent::CONFIG_SH)
            .await
            .context("making the image of the stand-in agent")?;
        docker.prepare(&Network::Isolated).await.context("making the runners' network")?;
        let folder = std::env::temp_dir().join(format!("runnerfleet-{instance}"));
        let built = Self::build(args, &docker, &instance, &folder, &image).await;
        match built {
            Ok((github, serve, pools)) => {
                Ok(Self { github, serve, pools, jobs: Mutex::new(Vec::new()), docker, folder, instance })
            }
            Err(error) => {
                let _ = docker.remove_network().await;
                let _ = std::fs::remove_dir_all(&folder);
                Err(error)
            }
        }
    }

    async fn build(
        args: &DemoArgs,
        docker: &Docker,
        instance: &InstanceId,
        folder: &Path,
        image: &str,
    ) -> anyhow::Result<(Handle, Running, Vec<String>)> {
        // The agents are in containers: they reach the simulated GitHub at the gateway of their network.
        let gateway = docker.network_gateway(&Network::Isolated).await?;
        let key = keys::generate().map_err(|_| anyhow::anyhow!("no key could be made for the demo's App"))?;
        let app = App::with_public_key(&key.public_pem);
        let issuer = app.client_id.clone();
        let options = Options { agents: Some(SocketAddr::new(gateway, 0)), ..Options::acme(app) };
        let github = SimulatedGitHub::start(options).await.context("starting the simulated GitHub")?;

        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let pools: Vec<String> = (1..=args.pools).map(pool_name).collect();
        let config = configuration(args, instance, folder, image, &issuer, &key.private_pem, github.api_url(), &pools)?;
        let serve = app::start(config).await.context("starting `serve`")?;
        github.set_webhook(format!("http://{}/webhook", serve.addr), Some(SecretString::from(HOOK_SECRET)));
        Ok((github, serve, pools))
    }

    /// Queues all jobs at once, and waits until all are over and cleared.
    pub(super) async fn play(&self, args: &DemoArgs, mut show: impl FnMut(Tally)) -> anyhow::Result<()> {
        let lasting = Duration::from_secs_f64(args.job_seconds);
        for number in 0..args.jobs {
            let pool = &self.pools[number as usize % self.pools.len()];
            let spec = JobSpec::new(["acme/web", "acme/api"][number as usize % 2], ["self-hosted", pool.as_str()])
                .named(format!("build {}", number + 1))
                .lasting(lasting);
            let job = self.github.queue_job(spec);
            self.jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((job, pool.clone()));
        }
        let played = tokio::time::timeout(patience(args), async {
            loop {
                let tally = self.tally();
                show(tally);
                if tally.completed == args.jobs && tally.runners == 0 {
                    return;
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        if played.await.is_err() {
            bail!("not over after {} s; the simulated GitHub has:\n{}", patience(args).as_secs(), self.github.state());
        }
        Ok(())
    }

    fn tally(&self) -> Tally {
        let mut tally = Tally { runners: self.live_runners(), ..Tally::default() };
        for job in self.github.jobs() {
            match job.stage {
                JobStage::Waiting | JobStage::Queued | JobStage::Assigned { .. } => tally.queued += 1,
                JobStage::InProgress { .. } => tally.running += 1,
                JobStage::Completed => tally.completed += 1,
            }
        }
        tally
    }

    fn live_runners(&self) -> usize {
        let world = self.serve.memory.world();
        world.runners.values().filter(|runner| runner.state.name != StateName::Removed).count()
    }

    /// Ends everything. Returns what was still there: after a whole play, nothing should be.
    pub(super) async fn clear_away(self, patient: bool) -> anyhow::Result<Vec<String>> {
        let cleared = async {
            while patient && self.live_runners() > 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        let _ = tokio::time::timeout(CLEARED_WITHIN, cleared).await;
        self.serve.stop().await;
        std::fs::remove_dir_all(&self.folder).with_context(|| format!("removing {}", self.folder.display()))?;
        let found = self.docker.list().await.context("looking for containers that are left")?;
        let mut left: Vec<_> = found
            .iter()
            .map(|container| format!("container {} of instance {}", container.runner, self.instance))
            .collect();
        let removals = found.iter().map(|container| self.docker.remove(&container.id));
        for removed in futures_util::stream::iter(removals).buffered(AT_ONCE).collect::<Vec<_>>().await {
            removed.context("removing a container")?;
        }
        for runner in self.github.runners(&Scope::Organization("acme".to_owned())) {
            left.push(format!("registration {}", runner.name));
        }
        self.docker.remove_network().await.context("removing the runners' network")?;
        self.github.stop().await;
        Ok(left)
    }
}

fn pool_name(number: u32) -> String {
    let names = ["linux", "gpu", "large", "small", "arm"];
    let place = (number - 1) as usize;
    match names.get(place) {
        Some(name) => (*name).to_owned(),
        None => format!("pool{number}"),
    }
}

/// The configuration as a user would write it, read as a user's file is read.
#[expect(clippy::too_many_arguments, reason = "each is one value of the file")]
fn configuration(
    args: &DemoArgs,
    instance: &InstanceId,
    folder: &Path,
    image: &str,
    issuer: &str,
    key: &SecretString,
    api_url: &str,
    pools: &[String],
) -> anyhow::Result<Config> {
    let runners: Vec<_> = pools
        .iter()
        .map(|pool| {
            serde_json::json!({
                "id": pool,
                "labels": ["self-hosted", pool],
                "image": image,
                "pull_policy": "never",
                "resources": { "memory": "256m", "pids": 256 },
                "scaling": { "max": args.concurrency, "idle_timeout": "10s" },
            })
        })
        .collect();
    // JSON is YAML: one way to read, no text of ours to escape.
    let text = serde_json::json!({
        "version": 1,
        "runners_defaults": { "org_url": "https://github.com/acme", "base_image": image, "default_labels": false },
        "runners": runners,
        "github": {
            "auth": { "app": { "client_id": issuer, "private_key": "${DEMO_KEY}" } },
            "api_url": api_url,
            "poll": { "runners": "10s" },
        },
        "intake": { "secrets": ["${DEMO_SECRET}"] },
        "queue": { "backend": "embedded", "embedded": { "path": "demo.redb" } },
        "http": { "listen": "127.0.0.1:0", "admin": { "socket": "demo.sock" } },
        "hosts": [{ "name": "demo", "max_runners": args.concurrency, "reserve": { "memory": "0m" } }],
        "limits": { "disk_free_min": "0m" },
        "security": { "instance": instance },
    });
    let environment = |name: &str| match name {
        "DEMO_KEY" => Some(key.expose_secret().to_owned()),
        "DEMO_SECRET" => Some(HOOK_SECRET.to_owned()),
        _ => None,
    };
    let loaded =
        file::parse(&serde_json::to_string_pretty(&text)?, "the demo's configuration", folder, &environment, "demo")
            .map_err(|problems| anyhow::anyhow!("{problems}"))?;
    Ok(loaded.config)
}
