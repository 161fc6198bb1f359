//! How long from a delivery to the first call of GitHub, to Docker's create and to the container's start; beside what
//! Docker itself takes for create and start, in the same run.
//!
//! ```text
//! cargo build --release && cargo run --release --example bench_latency -- [jobs]
//! ```
//!
//! One job at a time on a real engine, against the simulated GitHub. Everything stays on this machine, is bounded by the
//! number of jobs (default 20, at most 200), and clears away what it made.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock and its arguments")]

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use runnerfleet::app;
use runnerfleet::config::{self, Config, Network, Pool, file};
use runnerfleet::model::{Change, HostId, InstanceId, RunnerName, Scope, StateName};
use runnerfleet::provider::docker::Docker;
use runnerfleet::provider::{ContainerSpec, Provider, StartCommand};
use runnerfleet::simulation::github::{App, JobSpec, Options, SimulatedGitHub};
use runnerfleet::simulation::{agent, image, keys};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const SECRET: &str = "bench";
const PATIENCE: Duration = Duration::from_secs(60);
const JIT: &str = "POST /orgs/{org}/actions/runners/generate-jitconfig";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let jobs = std::env::args().nth(1).map_or(Ok(20), |text| text.parse()).context("the number of jobs")?;
    ensure!((1..=200_usize).contains(&jobs), "1 to 200 jobs");
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();

    let instance = InstanceId::new(format!("bench-{}", std::process::id()));
    let engine = config::Docker { url: None, max_runners: 50, reserve_memory: 0, concurrent_starts: None };
    let docker = Docker::connect(&engine, &instance, &HostId::new("bench"))?;
    println!("{}", docker.ping().await?);
    let folder = std::env::temp_dir().join(format!("runnerfleet-{instance}"));
    std::fs::create_dir_all(&folder)?;
    let result = measure(&docker, &instance, &folder, jobs).await;
    for container in docker.list().await? {
        docker.remove(&container.id).await?;
    }
    docker.remove_network().await?;
    std::fs::remove_dir_all(&folder)?;
    result
}

async fn measure(docker: &Docker, instance: &InstanceId, folder: &Path, jobs: usize) -> anyhow::Result<()> {
    // The program itself is the agent; it lies beside the examples' folder.
    let image = image::ensure(docker, &program()?, "runnerfleet/stand-in", agent::RUN_SH, agent::CONFIG_SH).await?;
    docker.prepare(&Network::Isolated).await?;
    let gateway = docker.network_gateway(&Network::Isolated).await?;
    let key = keys::generate().map_err(|_| anyhow::anyhow!("no key could be made"))?;
    let hub = App::with_public_key(&key.public_pem);
    let issuer = hub.client_id.clone();
    let options = Options { agents: Some(SocketAddr::new(gateway, 0)), ..Options::acme(hub) };
    let github = SimulatedGitHub::start(options).await?;
    let config = configuration(instance, folder, &image, &issuer, &key.private_pem, github.api_url())?;
    let (floor_create, floor_start) = floor(docker, &config.pools[0], jobs).await?;

    let serve = app::start(config).await?;
    github.set_webhook(format!("http://{}/webhook", serve.addr), Some(SecretString::from(SECRET)));
    let mut figures: BTreeMap<&str, Vec<Duration>> = BTreeMap::new();
    // The first job pays for the installation token and the first connections; it is not counted.
    for number in 0..=jobs {
        let calls = github.requests(JIT).len();
        let sent = Timestamp::now();
        let job = github.queue_job(JobSpec::new("acme/web", ["bench"]).lasting(Duration::from_millis(50)));
        let job = github.wait_for_job(job, PATIENCE).await?;
        let over = job.completed_at.context("a completed job has a time")?;
        let name = job.runner.context("a completed job had a runner")?.name;
        let seen = wait_for_removed(&serve, &name).await?;
        if number == 0 {
            continue;
        }
        let at = |state| seen.history.iter().find(|change| change.to == state).map(|change| change.at);
        let call = github.requests(JIT).get(calls).copied().context("a call for a JIT config")?;
        let ran = job.started_at.context("it ran")?;
        let mut note = |what, from, to| figures.entry(what).or_default().push(runnerfleet::model::age(to, from));
        note("1 delivery -> first call of GitHub", sent, call);
        note("2 delivery -> container made (Docker's time)", sent, seen.made);
        note("3 delivery -> container started", sent, at(StateName::Started).context("it started")?);
        note("4 delivery -> job runs", sent, ran);
        note("5 job over -> nothing left", over, at(StateName::Removed).context("it was removed")?);
    }
    serve.stop().await;
    ensure!(github.runners(&Scope::Organization("acme".into())).is_empty(), "registrations are left");

    println!("{jobs} jobs, one at a time; ms, counted from the moment at which GitHub has the event\n");
    println!("{:46} {:>8} {:>8} {:>8}", "", "p50", "p95", "max");
    for (what, values) in &figures {
        print_row(what, values);
    }
    print_row("Docker alone: create", &floor_create);
    print_row("Docker alone: create + start", &floor_start);
    github.stop().await;
    Ok(())
}

/// The same container, made and started by the engine alone.
async fn floor(docker: &Docker, pool: &Pool, times: usize) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let (mut create, mut start) = (Vec::new(), Vec::new());
    for number in 0..times {
        let spec = ContainerSpec {
            runner: RunnerName::new(format!("floor-{number}")),
            pool: pool.name.clone(),
            scope: pool.scope.clone(),
            host: HostId::new("bench"),
            created_for: None,
            registration: None,
            kept: None,
            image: pool.image.clone(),
            pull: false,
            env: BTreeMap::new(),
            start: StartCommand::Jit { command: vec!["/bin/sh".into(), "-c".into(), "exit 0".into()] },
            user: None,
            resources: pool.resources,
            security: pool.security.clone(),
            network: pool.network.clone(),
        };
        let began = Instant::now();
        let id = docker.create(&spec).await?;
        create.push(began.elapsed());
        docker.start(&id, &SecretString::from("nothing")).await?;
        start.push(began.elapsed());
        docker.remove(&id).await?;
    }
    Ok((create, start))
}

/// What was seen of one runner.
struct Seen {
    history: Vec<Change>,
    /// When Docker made its container.
    made: Timestamp,
}

/// Waits for the runner's end; the moment at which its container was made is read on the way.
async fn wait_for_removed(serve: &app::Running, name: &str) -> anyhow::Result<Seen> {
    let name = RunnerName::new(name);
    let mut made = None;
    let looked = tokio::time::timeout(PATIENCE, async {
        loop {
            let world = serve.memory.world();
            if let Some(containers) = world.containers.known() {
                made = containers.values().find(|c| c.runner == name).map(|c| c.created_at).or(made);
            }
            if let Some(row) = world.runners.get(&name).filter(|row| !row.is_live()) {
                return row.history.clone();
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let Ok(history) = looked.await else { bail!("runner {name} was not removed in time") };
    Ok(Seen { history, made: made.context("it had a container")? })
}

fn print_row(name: &str, values: &[Duration]) {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
        sorted.get(place).map_or(f64::NAN, |value| value.as_secs_f64() * 1000.0)
    };
    println!("{name:46} {:8.1} {:8.1} {:8.1}", at(50), at(95), at(100));
}

fn program() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder = here.parent().and_then(Path::parent).context("the folder of the build")?;
    let program = folder.join("runnerfleet");
    ensure!(program.exists(), "{} is not there: build it first (`cargo build --release`)", program.display());
    Ok(program)
}

fn configuration(
    instance: &InstanceId,
    folder: &Path,
    image: &str,
    issuer: &str,
    key: &SecretString,
    api_url: &str,
) -> anyhow::Result<Config> {
    let pool = serde_json::json!({
        "id": "bench", "labels": ["bench"], "image": image, "pull_policy": "never", "resources": { "memory": "256m" },
    });
    let text = serde_json::json!({
        "version": 1,
        "runners_defaults": { "org_url": "https://github.com/acme", "base_image": image, "default_labels": false },
        "runners": [pool],
        "github": {
            "auth": { "app": { "client_id": issuer, "private_key": "${KEY}" } },
            "api_url": api_url,
        },
        "intake": { "secrets": ["${SECRET}"] },
        "queue": { "backend": "embedded", "embedded": { "path": "bench.redb" } },
        "http": { "listen": "127.0.0.1:0", "admin": { "socket": "bench.sock" } },
        "limits": { "disk_free_min": "0m" },
        "security": { "instance": instance },
    });
    let environment = |name: &str| match name {
        "KEY" => Some(key.expose_secret().to_owned()),
        "SECRET" => Some(SECRET.to_owned()),
        _ => None,
    };
    let loaded = file::parse(&text.to_string(), "the benchmark's configuration", folder, &environment, "bench")
        .map_err(|problems| anyhow::anyhow!("{problems}"))?;
    Ok(loaded.config)
}
